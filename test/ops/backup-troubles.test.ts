// What others do to an image, a repository and the clock between and during backups.

import { execFileSync, spawnSync } from 'node:child_process';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, test } from 'vitest';
import { closing } from '../../src/cli/cluster.ts';
import { RbdeltaError } from '../../src/error.ts';
import type { WritableImage } from '../../src/image/port.ts';
import { backup, type BackupOptions, type BackupResult } from '../../src/ops/backup.ts';
import { type BackupSource, imageSource } from '../../src/ops/backup-source.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { initRepository, openRepository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { stateOf } from '../kit/chain-state.ts';
import { start } from '../kit/command.ts';
import { segmentBytes } from '../kit/fault-world.ts';
import { type AtMoment, watchedStore } from '../kit/faulty-store.ts';
import { noise } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const KiB = 1024;
const size = 6 * 1024 * KiB;
const timeout = 300_000;
const vm = nameOf('vm');

const worlds: RepoWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

interface Made extends RepoWorld {
  head(use: (image: WritableImage) => Promise<void>): Promise<void>;
  /** Data in each block from there on: some frames, few bytes. */
  scatter(seed: number, from?: number): Promise<void>;
  /** A backup that is stopped in the middle: at least a segment is finished, another one is not. */
  interrupted(options?: Partial<BackupOptions>): Promise<void>;
  /** A backup whose store is watched, of a source that may be another one. */
  watched(at: AtMoment, options?: Partial<BackupOptions>, source?: BackupSource): Promise<BackupResult>;
  again(options?: Partial<BackupOptions>): Promise<BackupResult>;
}

/** With an image `vm`, of which `points` backups were made. */
async function world(points: number): Promise<Made> {
  const made = await makeRepoWorld();
  worlds.push(made);
  await made.cluster.create(specOf('vm'), { size, order: 20 });
  const head: Made['head'] = async (use) => {
    const image = await made.cluster.openToWrite(specOf('vm'));
    await closing(image, use);
  };
  const scatter: Made['scatter'] = (seed, from = 0) =>
    head(async (image) => {
      for (let offset = from; offset < size; offset += 64 * KiB)
        await image.write(offset, noise(seed + offset, 4 * KiB));
    });
  const watched: Made['watched'] = (at, options = {}, source = imageSource(made.cluster, specOf('vm'))) => {
    const repository = { ...made.repository, store: watchedStore(made.repository.store, at) };
    return backup(repository, source, { version: 'test', segmentBytes, ...options });
  };
  const interrupted: Made['interrupted'] = async (options) => {
    const stopped = watched(({ what, key }) => {
      if (what === 'write: done' && key.endsWith('000000.index')) throw new RbdeltaError('io', 'stopped');
    }, options);
    await expect(stopped).rejects.toMatchObject({ message: 'stopped' });
  };
  const again: Made['again'] = (options) => watched(() => {}, options);
  for (let i = 0; i < points; i++) {
    await scatter(1000 * i);
    await again();
  }
  return { ...made, head, scatter, interrupted, watched, again };
}

/** The point is what the image is at its snapshot; nothing is left over; no snapshots but `stay` and that of the newest point. */
async function expectRight(made: Made, result: BackupResult, stay: string[] = []): Promise<void> {
  const { content, fingerprint, proven } = await stateOf(made.repository, vm, result.point);
  expect(content.equals(await made.content(`vm@${result.snapshot}`))).toBe(true);
  expect(proven).toBe(fingerprint);
  expect((await checkRepository(made.repository)).findings).toEqual([]);
  const image = await made.cluster.open(specOf('vm'));
  const { snapshots } = await closing(image, (one) => one.info());
  expect(snapshots.map(({ name }) => name).sort()).toEqual([...stay, result.snapshot].sort());
}

const snapshotOfNewest = async ({ repository }: Made): Promise<string> =>
  (await readPoints(repository, vm)).at(-1)?.snapshot ?? '';

test('a clock that jumps: points are in the order in which they were made', { timeout }, async () => {
  const made = await world(0);
  const ids: string[] = [];
  for (const [i, year] of [2026, 2040, 1999, 2026].entries()) {
    await made.scatter(i * 100_000, 4096 * KiB);
    const result = await made.again({ nowMs: () => Date.UTC(year) });
    expect(result.base).toBe(ids.at(-1) ?? null);
    ids.push(result.point);
    await expectRight(made, result);
  }
  expect(ids).toEqual(ids.toSorted());
  expect((await readPoints(made.repository, vm)).map(({ id }) => id)).toEqual(ids);
});

describe('two backups at once', () => {
  const runner = ['--import', 'tsx', new URL('./repo-killed.ts', import.meta.url).pathname];

  /** For other processes: they open it by its directory. */
  const withOther = async (made: Made): Promise<void> => {
    await initRepository(await openDirectoryStore(join(made.dir, 'other'), { create: true }), Date.now());
  };

  test('the second is told who has the image, whatever its clock says', { timeout }, async () => {
    const made = await world(1);
    await withOther(made);
    const said: string[] = [];
    const pre = async (): Promise<void> => {
      const { stdout } = await start(process.execPath, [...runner, made.dir, 'backup', 'run']).result;
      said.push(stdout.toString().trim());
    };
    const result = await made.again({ hooks: { pre }, nowMs: () => Date.UTC(1999) });
    expect(said).toEqual(['busy']);
    await expectRight(made, result);
  });

  test('those that wait are made one after the other', { timeout }, async () => {
    const made = await world(1);
    await withOther(made);
    const both = ['1', '2'].map(() => start(process.execPath, [...runner, made.dir, 'backup --wait', 'run']).result);
    for (const { stdout, stderr } of await Promise.all(both)) {
      expect({ stdout: stdout.toString(), stderr }).toEqual({ stdout: 'done\n', stderr: '' });
    }
    expect((await readPoints(made.repository, vm)).length).toBe(3);
    await expectRight(made, await made.again());
  });
});

test('a lock that is taken away: nothing is committed, the next run goes on', { timeout }, async () => {
  const made = await world(1);
  await made.scatter(77);
  const isTaken: Promise<void>[] = [];
  const robbed = made.watched(({ what, key }) => {
    if (what !== 'write: done' || !key.endsWith('000000.index')) return;
    isTaken.push(rm(join(made.repoDir, 'rbd/vm/lock'), { recursive: true }));
  });
  await expect(robbed).rejects.toMatchObject({
    code: 'busy',
    message: expect.stringContaining('nothing is committed'),
  });
  await Promise.all(isTaken);
  expect((await readPoints(made.repository, vm)).length).toBe(1);
  const result = await made.again();
  expect(result.resumed?.resumedBytes).toBeGreaterThan(0);
  await expectRight(made, result);
});

describe('--compare', () => {
  test('finds what object maps and listings do not tell of, also of earlier points', { timeout }, async () => {
    const made = await world(1);
    const source = imageSource(made.cluster, specOf('vm'));
    const lying: BackupSource = {
      ...source,
      async open(snap) {
        const image = await source.open(snap);
        const changedExtents: typeof image.changedExtents = async (from, ...rest) => {
          if (from === null) await image.changedExtents(from, ...rest);
        };
        return { ...image, changedExtents };
      },
    };
    await made.scatter(31, 2048 * KiB);
    const deceived = await made.watched(() => {}, {}, lying);
    const { content } = await stateOf(made.repository, vm, deceived.point);
    expect(content.equals(await made.content(`vm@${deceived.snapshot}`))).toBe(false);
    await made.scatter(32, 4096 * KiB);
    const result = await made.watched(() => {}, { compare: true }, lying);
    expect(result).toMatchObject({ method: 'compare', base: deceived.point });
    expect(result.dataBytes).toBeLessThan(size);
    await expectRight(made, result);
    // the next one is an increment on it, with the snapshot that it left
    await made.scatter(33, 5120 * KiB);
    const next = await made.again();
    expect(next).toMatchObject({ method: 'increment', base: result.point });
    await expectRight(made, next);
  });

  test('does not go on with an increment that was interrupted', { timeout }, async () => {
    const made = await world(1);
    await made.scatter(41);
    await made.interrupted();
    const result = await made.again({ compare: true });
    expect(result).toMatchObject({ method: 'compare', resumed: null });
    await expectRight(made, result);
  });
});

describe('the snapshot of the last backup', () => {
  test('goes while it is needed: that backup fails, the next one compares', { timeout }, async () => {
    const made = await world(1);
    await made.scatter(78);
    const gone = await snapshotOfNewest(made);
    const source = imageSource(made.cluster, specOf('vm'));
    let head: WritableImage | null = null;
    let removed: Promise<void> | null = null;
    const disturbed: BackupSource = {
      ...source,
      head: async () => (head = await source.head!()),
      open: async (snap) => {
        const image = await source.open(snap);
        return {
          ...image,
          async read(offset, into) {
            await (removed ??= head!.removeSnapshot(gone));
            return image.read(offset, into);
          },
        };
      },
    };
    await expect(made.watched(() => {}, {}, disturbed)).rejects.toMatchObject({ code: 'notFound' });
    expect((await readPoints(made.repository, vm)).length).toBe(1);
    const result = await made.again();
    expect(result.method).toBe('compare');
    await expectRight(made, result);
  });

  test.each([
    ['between backups', false],
    ['while one is interrupted', true],
  ])('is another one of the same name, made %s', { timeout }, async (_, isInterrupted) => {
    const made = await world(1);
    const name = await snapshotOfNewest(made);
    await made.scatter(79);
    if (isInterrupted) await made.interrupted();
    await made.head(async (image) => {
      await image.removeSnapshot(name);
      await image.createSnapshot(name);
    });
    const result = await made.again();
    expect(result.method).toBe('compare');
    await expectRight(made, result);
  });
});

describe('the image is another one of the same name', () => {
  const replace = async (made: Made): Promise<void> => {
    await made.head(async (image) => {
      for (const { name } of (await image.info()).snapshots) await image.removeSnapshot(name);
    });
    await made.cluster.remove(specOf('vm'));
    await made.cluster.create(specOf('vm'), { size, order: 20 });
  };

  test('made between backups: everything is compared', { timeout }, async () => {
    const made = await world(1);
    await replace(made);
    await made.scatter(80);
    const result = await made.again();
    expect(result.method).toBe('compare');
    await expectRight(made, result);
  });

  test.each([0, 1])('made while a backup of a snapshot is interrupted; %i points', { timeout }, async (points) => {
    const made = await world(points);
    await made.scatter(81);
    await made.head((image) => image.createSnapshot('monday'));
    await made.interrupted({ snap: 'monday' });
    const ids = async (): Promise<number[]> => {
      const image = await made.cluster.open(specOf('vm'));
      const { snapshots } = await closing(image, (one) => one.info());
      return snapshots.map(({ id }) => id);
    };
    const [last] = (await ids()).slice(-1);
    await replace(made);
    await made.scatter(82);
    // Ids of snapshots may come again, too.
    await made.head(async (image) => {
      for (let id = 0; id < 10; id++) {
        await image.createSnapshot('monday');
        if ((await image.info()).snapshots.at(-1)!.id >= last!) return;
        await image.removeSnapshot('monday');
      }
    });
    const result = await made.again({ snap: 'monday' });
    expect(result.resumed).toBe(null);
    await expectRight(made, result);
  });
});

describe('hooks', () => {
  const fails = async (): Promise<void> => {
    throw new RbdeltaError('io', 'the hook failed');
  };

  test(
    'the first one fails: the second is called, there is no snapshot, and the next backup is made',
    async () => {
      const made = await world(1);
      let called = 0;
      const post = async (): Promise<void> => {
        called += 1;
      };
      await expect(made.again({ hooks: { pre: fails, post } })).rejects.toMatchObject({ message: 'the hook failed' });
      expect(called).toBe(1);
      expect((await readPoints(made.repository, vm)).length).toBe(1);
      await expectRight(made, await made.again());
    },
    timeout,
  );

  test('the second one fails: the next backup is that of the snapshot', { timeout }, async () => {
    const made = await world(1);
    await expect(made.again({ hooks: { post: fails } })).rejects.toMatchObject({ message: 'the hook failed' });
    await made.scatter(83);
    await expectRight(made, await made.again());
  });

  test('both fail: the first failure is told', { timeout }, async () => {
    const made = await world(0);
    const post = async (): Promise<void> => {
      throw new RbdeltaError('io', 'so did the other one');
    };
    await expect(made.again({ hooks: { pre: fails, post } })).rejects.toMatchObject({ message: 'the hook failed' });
  });
});

test('a disk that is full: nothing half is left, and with room the next run goes on', { timeout }, async ({ skip }) => {
  const made = await world(1);
  await made.scatter(84);
  const mounted = join(made.dir, 'small');
  await mkdir(mounted);
  const mount = (options: string): boolean =>
    spawnSync('mount', ['-t', 'tmpfs', '-o', options, 'none', mounted], { stdio: 'ignore' }).status === 0;
  if (!mount('size=1m')) skip();
  try {
    execFileSync('cp', ['-r', `${made.repoDir}/.`, mounted]);
    const repository = await openRepository(await openDirectoryStore(mounted));
    const small = { ...made, repository, repoDir: mounted };
    const back = (): Promise<BackupResult> =>
      backup(repository, imageSource(made.cluster, specOf('vm')), { version: 'test', segmentBytes });
    // Room for a beginning.
    const free = Number(execFileSync('df', ['--output=avail', '-B1', mounted]).toString().split('\n')[1]);
    execFileSync('fallocate', ['-l', String(free - 340 * KiB), join(mounted, '.ballast')]);
    await expect(back()).rejects.toMatchObject({ code: 'noSpace' });
    const names = await readdir(mounted, { recursive: true });
    expect(names.filter((name) => name.includes('.rbdelta-'))).toEqual([]);
    expect((await readPoints(repository, vm)).length).toBe(1);
    await rm(join(mounted, '.ballast'));
    const result = await back();
    expect(result.resumed).not.toBe(null);
    await expectRight(small, result);
  } finally {
    spawnSync('umount', ['-l', mounted]);
  }
});
