// rbdelta repo copy: points into another repository.

import { resolve } from 'node:path';
import { counted, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { CatalogEntry } from '../../format/repository.ts';
import { type CopiedPoint, copyPoints, planCopy } from '../../ops/copy-points.ts';
import { readPoints } from '../../repo/catalog.ts';
import { findImages, findPoint } from '../../repo/find-point.ts';
import { type ImageName, isPointId, textOf } from '../../repo/keys.ts';
import type { Repository } from '../../repo/repository.ts';
import type { Call, Command } from '../command.ts';
import { attempt, conclude, type Outcome } from '../per-image.ts';
import { bytesText, type Field, list, object, optional } from '../print.ts';
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
    'gets what it needs, and builds on the nearest one that is there. An image that fails does not keep the others from being ' +
    'copied, nor does it take back its points that were copied before; the status is that of the first failure.',
  async run(call) {
    const from = repositoryFrom(call);
    const to = placeOf(call.positionals.take(), 'repository to copy to');
    if (placeText(from) === placeText(to)) {
      throw new RbdeltaError('invalid', `'${to}' cannot be copied to itself`, { hint: 'name another repository' });
    }
    const words = call.positionals.rest();
    const outcomes: Outcome<readonly Field[]>[] = [];
    await withRepository(call, from, (source) =>
      withRepository(call, to, async (target) => {
        for (const one of await chosen(call, source, words, outcomes)) {
          const name = textOf(one.image);
          if (call.args.has('dry-run')) {
            outcomes.push(await attempt(call, name, () => planOne(call, source, target, one)));
            continue;
          }
          const copied: CopiedPoint[] = [];
          const copy = () => copyOne(call, source, target, one, copied);
          outcomes.push(await attempt(call, name, copy, () => (copied.length === 0 ? null : copiedFields(copied))));
        }
      }),
    );
    return conclude(call, outcomes, (fields) => fields);
  },
};

async function planOne(call: Call, source: Repository, target: Repository, chosen: Chosen): Promise<Field[]> {
  const { image } = chosen;
  const points = await readPoints(source, image);
  const plan = planCopy(points, idsOf(chosen, points), await readPoints(target, image));
  for (const { point, base } of plan) {
    const on = base === null ? 'as a full' : `on ${base}`;
    if (!call.args.has('json')) await call.stdout.write(`${printable(textOf(image))} ${point.id} ${on}\n`);
  }
  const trees = plan.map(({ point, base }) => object(['point', point.id], optional('base', base)));
  return [['copy', list('point', trees)]];
}

/** `copied` gets what was copied, and what of it is told in one line, whatever becomes of the rest. */
async function copyOne(
  call: Call,
  source: Repository,
  target: Repository,
  chosen: Chosen,
  copied: CopiedPoint[],
): Promise<Field[]> {
  const { image } = chosen;
  const name = printable(textOf(image));
  const ids = idsOf(chosen, await readPoints(source, image));
  const progress = call.progress(`Copying ${name}`);
  const { onProgress: _, ...options } = forgetOptions(call);
  try {
    await copyPoints(source, target, image, ids, {
      ...options,
      onProgress: (_point, reached, size) => progress.update(reached, size),
      onCopied: (one) => copied.push(one),
    });
  } finally {
    progress.clear();
    const bytes = copied.reduce((sum, { storedBytes }) => sum + storedBytes, 0);
    if (copied.length > 0) call.notice(`${name}: copied ${counted(copied.length, 'point')}, ${bytesText(bytes)}`);
  }
  return copiedFields(copied);
}

const copiedFields = (copied: readonly CopiedPoint[]): Field[] => {
  const trees = copied.map(({ point, base, storedBytes }) =>
    object(['point', point], optional('base', base), ['stored_bytes', storedBytes]),
  );
  return [['copied', list('point', trees)]];
};

const placeText = (where: string): string => (where.startsWith('s3://') ? where.replace(/\/+$/u, '') : resolve(where));

interface Chosen {
  image: ImageName;
  /** null: all. */
  ids: Set<string> | null;
}

const idsOf = ({ ids }: Chosen, points: readonly CatalogEntry[]): Set<string> =>
  ids ?? new Set(points.map(({ id }) => id));

/** Words name points (with an @, or by id) or images; none means everything. Words that name nothing are told of. */
async function chosen(
  call: Call,
  source: Repository,
  words: readonly string[],
  outcomes: Outcome<readonly Field[]>[],
): Promise<Iterable<Chosen>> {
  const found = new Map<string, Chosen>();
  const addImages = async (word: string | null): Promise<void> => {
    for (const image of await findImages(source, word)) found.set(textOf(image), { image, ids: null });
  };
  const addPoint = async (word: string): Promise<void> => {
    const { image, entry } = await findPoint(source, word, { nowMs: Date.now() });
    const of = found.get(textOf(image)) ?? { image, ids: new Set() };
    of.ids?.add(entry.id);
    found.set(textOf(image), of);
  };
  if (words.length === 0) await addImages(null);
  for (const word of words) {
    const isPoint = word.includes('@') || isPointId(word);
    const added = await attempt(call, word, () => (isPoint ? addPoint(word) : addImages(word)));
    if (added.status !== 0) outcomes.push({ ...added, result: null });
  }
  return found.values();
}
