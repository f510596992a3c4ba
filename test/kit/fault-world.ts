// A directory with a pool and two repositories, which can be copied as it is; and what writers do to it until they die.

import { join } from 'node:path';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster } from '../../src/image/port.ts';
import { backup, type BackupOptions, type BackupResult } from '../../src/ops/backup.ts';
import { imageSource } from '../../src/ops/backup-source.ts';
import { copyPoints } from '../../src/ops/copy-points.ts';
import { flatten, forget } from '../../src/ops/forget.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { openRepository, type Repository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { type AtMoment, watchedSource, watchedStore } from './faulty-store.ts';
import { nameOf, specOf } from './repo-world.ts';

export interface FaultWorld {
  pool: Cluster;
  repository: Repository;
  /** Where points are copied to. */
  other: Repository;
  /** A backup of `vm`. */
  backup(options?: Partial<BackupOptions>): Promise<BackupResult>;
  close(): Promise<void>;
}

export const vm = nameOf('vm');
/** A frame is longer, and ends its segment. */
export const segmentBytes = 10 << 10;

/** As it is in `dir`; `at` is told of all that is done with it from then on. */
export async function openFaultWorld(dir: string, at: AtMoment = () => {}): Promise<FaultWorld> {
  const pool = await openLocalPool(join(dir, 'pool'));
  let isOpen = false;
  const watch: AtMoment = (moment) => {
    if (isOpen) at(moment);
  };
  const open = async (name: string): Promise<Repository> =>
    openRepository(watchedStore(await openDirectoryStore(join(dir, name)), watch));
  const [repository, other] = [await open('repo'), await open('other')];
  isOpen = true;
  return {
    pool,
    repository,
    other,
    backup: (options = {}) =>
      backup(repository, watchedSource(imageSource(pool, specOf('vm')), watch), {
        version: 'test',
        segmentBytes,
        ...options,
      }),
    async close() {
      await repository.store.close();
      await other.store.close();
      await pool.close();
    },
  };
}

const about = { version: 'test', nowMs: () => Date.now(), segmentBytes };

/** Ids of the points of `vm`, with or without the tag. */
const idsOf = async (repository: Repository, tag: string, isTagged = true): Promise<Set<string>> => {
  const points = await readPoints(repository, vm);
  return new Set(points.filter(({ tags }) => tags.includes(tag) === isTagged).map(({ id }) => id));
};

/** What may die. Done again, each does what is left to do. */
export const operations = {
  backup: (world) => world.backup(),
  'backup --wait': (world) => world.backup({ waitMs: 120_000 }),
  'backup --snap': (world) => world.backup({ snap: 'monday' }),
  forget: async ({ repository }) => {
    await forget(repository, vm, await idsOf(repository, 'goes'), about);
  },
  flatten: async ({ repository }) => {
    for (const id of await idsOf(repository, 'flat')) await flatten(repository, vm, id, about);
  },
  copy: async ({ repository, other }) => {
    await copyPoints(repository, other, vm, await idsOf(repository, 'goes', false), about);
  },
} satisfies Record<string, (world: FaultWorld) => Promise<unknown>>;

export type Operation = keyof typeof operations;
