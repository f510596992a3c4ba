// rbdelta repo list: the points of a repository, or its images.

import { exitStatus } from '../../error.ts';
import type { CatalogEntry } from '../../format/repository.ts';
import { lastProof, type ListedImage, listPoints } from '../../ops/repo-list.ts';
import { textOf } from '../../repo/keys.ts';
import type { Call, Command } from '../command.ts';
import { nameText } from '../output.ts';
import {
  ageText,
  bytesText,
  type Column,
  list,
  object,
  optional,
  table,
  toJson,
  type Tree,
  utcText,
} from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';

export const command: Command = {
  positionals: ['<repository>', '[image]'],
  options: ['images', 'tag', 'json', ...storeOptions],
  describe: { tag: 'only points with this tag (or one of these)' },
  examples: [
    ['repo list /backups', 'all points, oldest first'],
    ["repo list s3://bucket/prod 'volumes/vm-*'", 'of some images'],
    ['repo list --images /backups', 'a line for each image'],
  ],
  notes:
    'Times are UTC. CHANGED is what a point tells of, STORED what its segments and its index take; PROVED is how long ' +
    'ago repo verify last proved something of it, FAILED that it, or what it builds on, was found damaged then. A manifest that cannot be read is ' +
    'named on standard error. In both cases the status is 74. The catalogs are what is asked: repo check looks further.',
  async run(call) {
    const where = repositoryFrom(call);
    const name = call.positionals.take();
    const images: ListedImage[] = [];
    await withRepository(call, where, async (repository) => {
      const listed = listPoints(repository, { name, tags: call.args.texts('tag'), signal: call.signal });
      for await (const one of listed) images.push(one);
    });
    const wanted = call.args.has('tag') ? images.filter(({ points }) => points.length > 0) : images;
    await (call.args.has('images') ? printImages(call, wanted) : printPoints(call, wanted));
    const damaged = images.flatMap((one) => one.damaged);
    for (const { error } of damaged) call.notice(error.message);
    const isFailed = wanted.some(({ points, failed }) => points.some(({ id }) => failed.has(id)));
    return damaged.length > 0 || isFailed ? exitStatus.corrupt : 0;
  },
};

async function printPoints(call: Call, images: readonly ListedImage[]): Promise<void> {
  const points = images.flatMap((one) => one.points.map((entry) => ({ entry, isFailed: one.failed.has(entry.id) })));
  if (call.args.has('json')) return call.stdout.write(toJson(list('point', points.map(pointTree)), false));
  if (points.length === 0) return;
  const [shown, nowMs] = [nameText(call), Date.now()];
  const rows = points.map(({ entry, isFailed }) => [
    shown(nameOf(entry)),
    entry.id,
    utcText(entry.created),
    kindOf(entry),
    bytesText(entry.size),
    bytesText(entry.dataBytes),
    bytesText(entry.storedBytes),
    shown(entry.tags.join(',')),
    entry.pinned ? 'yes' : '',
    isFailed ? 'FAILED' : provedText(lastProof(entry), nowMs),
  ]);
  await call.stdout.write(table(pointColumns, rows));
}

async function printImages(call: Call, images: readonly ListedImage[]): Promise<void> {
  if (call.args.has('json')) return call.stdout.write(toJson(list('image', images.map(imageTree)), false));
  if (images.length === 0) return;
  const [shown, nowMs] = [nameText(call), Date.now()];
  const rows = images.map((one) => {
    const newest = one.points.at(-1);
    return [
      shown(textOf(one.image)),
      String(one.points.length),
      newest?.id ?? '',
      newest === undefined ? '' : ageText(newest.created, nowMs),
      newest === undefined ? '' : bytesText(newest.size),
      bytesText(storedBytes(one)),
      one.failed.size > 0 ? 'FAILED' : newest === undefined ? '' : provedText(lastOf(one), nowMs),
    ];
  });
  await call.stdout.write(table(imageColumns, rows));
}

const nameOf = ({ pool, namespace, image }: CatalogEntry): string => textOf({ pool, namespace, image });
const kindOf = ({ base }: CatalogEntry): string => (base === null ? 'full' : 'increment');
const provedText = (time: string | null, nowMs: number): string => (time === null ? 'never' : ageText(time, nowMs));
const storedBytes = ({ points }: ListedImage): number => points.reduce((sum, one) => sum + one.storedBytes, 0);

/** The newest proof of any of its points. */
const lastOf = ({ points }: ListedImage): string | null =>
  points.map(lastProof).reduce((last, time) => (last === null || (time !== null && time > last) ? time : last), null);

const left = (title: string): Column => ({ title, align: 'left' });
const right = (title: string): Column => ({ title, align: 'right' });

const pointColumns = [
  left('IMAGE'),
  left('POINT'),
  left('CREATED (UTC)'),
  left('KIND'),
  right('SIZE'),
  right('CHANGED'),
  right('STORED'),
  left('TAGS'),
  left('PINNED'),
  right('PROVED'),
];

const imageColumns = [
  left('IMAGE'),
  right('POINTS'),
  left('NEWEST'),
  right('AGE'),
  right('SIZE'),
  right('STORED'),
  right('PROVED'),
];

const pointTree = ({ entry, isFailed }: { entry: CatalogEntry; isFailed: boolean }): Tree => {
  const { pool, namespace, image, id, created, base, snapshot, size, dataBytes } = entry;
  const { failed = [], ...proofs } = entry.proofs;
  return object(
    ...names({ pool, namespace, image }),
    ['point', id],
    ['created', created],
    ['kind', kindOf(entry)],
    optional('base', base),
    ['snapshot', snapshot],
    ['size', size],
    ['data_bytes', dataBytes],
    ['stored_bytes', entry.storedBytes],
    ['seconds', entry.seconds],
    ['fingerprint', entry.fingerprint],
    ['tags', list('tag', entry.tags)],
    ['pinned', entry.pinned],
    ['proofs', object(...Object.entries(proofs))],
    ['failed', isFailed],
    ['failed_levels', list('level', failed)],
    optional('last_proof', lastProof(entry)),
  );
};

const imageTree = (one: ListedImage): Tree => {
  const newest = one.points.at(-1);
  return object(
    ...names(one.image),
    ['points', one.points.length],
    optional('newest', newest?.id ?? null),
    optional('newest_created', newest?.created ?? null),
    optional('size', newest?.size ?? null),
    ['stored_bytes', storedBytes(one)],
    optional('last_proof', lastOf(one)),
  );
};

const names = (name: ListedImage['image']): (readonly [string, Tree])[] => [
  ['pool', name.pool],
  ['namespace', name.namespace],
  ['image', name.image],
];
