// rbdelta repo copy: points into another repository.

import { printable } from '../../bytes/text.ts';
import { copyPoints, planCopy } from '../../ops/copy-points.ts';
import { readPoints } from '../../repo/catalog.ts';
import { findImages, findPoint } from '../../repo/find-point.ts';
import { type ImageName, isPointId, textOf } from '../../repo/keys.ts';
import type { Repository } from '../../repo/repository.ts';
import type { Command } from '../command.ts';
import { bytesText, list, object, optional, toJson, type Tree } from '../print.ts';
import { placeOf, repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { forgetOptions } from './repo-prune.ts';

export const command: Command = {
  positionals: ['<repository>', '<to>', '[point...]'],
  options: ['wait', 'dry-run', 'json', 'no-progress', ...storeOptions],
  describe: { 'dry-run': 'say what would be copied; change nothing' },
  examples: [
    ['repo copy /backups s3://bucket/prod', 'all points of all images that are not there yet'],
    ['repo copy /backups /mnt/usb volumes/vm-1@latest', 'one point: what it needs of others comes with it'],
    ['repo copy /backups /mnt/usb volumes/vm-1', 'all points of one image'],
  ],
  notes:
    'The other repository is made by `repo init`; with `repo init --like` it has the same key, and frames are copied as ' +
    'they are. With another key the points are decompressed, digested and compressed again. A point whose base is not copied ' +
    'gets what it needs, and builds on the nearest one that is there.',
  async run(call) {
    const from = repositoryFrom(call);
    const to = placeOf(call.positionals.take());
    const words = call.positionals.rest();
    const results: Tree[] = [];
    await withRepository(call, from, (source) =>
      withRepository(call, to, async (target) => {
        for (const { image, ids } of await chosen(source, words)) {
          const name = textOf(image);
          if (call.args.has('dry-run')) {
            const plan = planCopy(await readPoints(source, image), ids, await readPoints(target, image));
            for (const { point, base } of plan) {
              results.push(object(['image', name], ['point', point.id], optional('base', base)));
              const on = base === null ? 'as a full' : `on ${base}`;
              if (!call.args.has('json')) await call.stdout.write(`${printable(name)} ${point.id} ${on}\n`);
            }
            continue;
          }
          const progress = call.progress(`Copying ${printable(name)}`);
          const { onProgress: _, ...options } = forgetOptions(call);
          const copied = await copyPoints(source, target, image, ids, {
            ...options,
            onProgress: (_point, reached, size) => progress.update(reached, size),
          });
          const bytes = copied.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
          progress.finish(`copied ${copied.length} points of ${printable(name)}, ${bytesText(bytes)}`);
          for (const { point, base, storedBytes } of copied)
            results.push(
              object(['image', name], ['point', point], optional('base', base), ['stored_bytes', storedBytes]),
            );
        }
      }),
    );
    if (call.args.has('json')) await call.stdout.write(toJson(list('point', results), false));
  },
};

/** Words name points (with an @, or by id) or images; none means everything. */
async function chosen(
  source: Repository,
  words: readonly string[],
): Promise<{ image: ImageName; ids: ReadonlySet<string> }[]> {
  const found = new Map<string, { image: ImageName; ids: Set<string> }>();
  const add = (image: ImageName, ids: readonly string[]): void => {
    const of = found.get(textOf(image)) ?? { image, ids: new Set() };
    for (const id of ids) of.ids.add(id);
    found.set(textOf(image), of);
  };
  const addImages = async (name: string | null): Promise<void> => {
    for (const image of await findImages(source, name))
      add(
        image,
        (await readPoints(source, image)).map(({ id }) => id),
      );
  };
  if (words.length === 0) await addImages(null);
  for (const word of words) {
    if (word.includes('@') || isPointId(word)) {
      const { image, entry } = await findPoint(source, word, { nowMs: Date.now() });
      add(image, [entry.id]);
    } else await addImages(word);
  }
  return [...found.values()];
}
