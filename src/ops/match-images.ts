// Images of a cluster by specs that may be patterns: `volumes/vm-*`.

import { RbdeltaError } from '../error.ts';
import type { Cluster } from '../image/port.ts';
import { formatSpec, type ImageSpec, parseSpec } from '../image/spec.ts';
import { printable } from '../bytes/text.ts';

/**
 * The images that the words name, each once, in the order of the words. `*` stands for any characters of an image's name,
 * `?` for one; an image that is called just so is meant itself. A pattern that matches nothing is `notFound`.
 */
export async function matchImages(
  cluster: Cluster,
  words: readonly string[],
  defaultPool: string,
): Promise<ImageSpec[]> {
  const found = new Map<string, ImageSpec>();
  for (const word of words) {
    const spec = parseSpec(word, { pool: defaultPool });
    if (spec.snap !== null) {
      throw new RbdeltaError('invalid', `"${printable(word)}" names a snapshot, where an image is meant`, {
        hint: 'a backup makes its own snapshot; --snap names one that is there',
      });
    }
    const specs = /[*?]/u.test(spec.image) ? await matching(cluster, spec) : [spec];
    for (const one of specs) found.set(formatSpec(one), one);
  }
  return [...found.values()];
}

async function matching(cluster: Cluster, spec: ImageSpec): Promise<ImageSpec[]> {
  const names = await cluster.list(spec.pool, spec.namespace);
  if (names.includes(spec.image)) return [spec];
  const source = spec.image
    .replaceAll(/[.+^${}()|[\]\\]/gu, String.raw`\$&`)
    .replaceAll('*', '.*')
    .replaceAll('?', '.');
  const pattern = new RegExp(`^${source}$`, 'su');
  const matched = names.filter((name) => pattern.test(name)).map((image) => ({ ...spec, image }));
  if (matched.length > 0) return matched;
  throw new RbdeltaError('notFound', `no image matches "${printable(formatSpec(spec))}"`, {
    hint: `rbdelta ls ${printable(spec.pool)} shows the images`,
  });
}
