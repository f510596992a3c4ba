// Images of a cluster by specs that may be patterns: `volumes/vm-*`.

import { globMatches, isGlob } from '../bytes/glob.ts';
import { RbdeltaError } from '../error.ts';
import type { Cluster } from '../image/port.ts';
import { formatSpec, type ImageSpec, parseSpec } from '../image/spec.ts';
import { printable } from '../bytes/text.ts';

/**
 * The images that the words name, each once, in the order of the words. `*` stands for any characters of an image's name,
 * `?` for one; an image that is called just so is meant itself. A word that names none (a pattern that matches nothing is
 * `notFound`) fails it, or is passed over if there is `onFailure` to tell.
 */
export async function matchImages(
  cluster: Cluster,
  words: readonly string[],
  defaultPool: string,
  onFailure?: (word: string, error: RbdeltaError) => void,
): Promise<ImageSpec[]> {
  const found = new Map<string, ImageSpec>();
  for (const word of words) {
    try {
      for (const one of await matching(cluster, word, defaultPool)) found.set(formatSpec(one), one);
    } catch (error) {
      if (onFailure === undefined || !(error instanceof RbdeltaError) || error.code === 'interrupted') throw error;
      onFailure(word, error);
    }
  }
  return [...found.values()];
}

async function matching(cluster: Cluster, word: string, defaultPool: string): Promise<ImageSpec[]> {
  const spec = parseSpec(word, { pool: defaultPool });
  if (spec.snap !== null) {
    throw new RbdeltaError('invalid', `"${printable(word)}" names a snapshot, where an image is meant`, {
      hint: 'a backup makes its own snapshot; --snap names one that is there',
    });
  }
  if (!isGlob(spec.image)) return [spec];
  const names = await cluster.list(spec.pool, spec.namespace);
  if (names.includes(spec.image)) return [spec];
  const matched = names.filter((name) => globMatches(spec.image, name)).map((image) => ({ ...spec, image }));
  if (matched.length > 0) return matched;
  throw new RbdeltaError('notFound', `no image matches "${printable(formatSpec(spec))}"`, {
    hint: `rbdelta ls ${printable(spec.pool)} shows the images`,
  });
}
