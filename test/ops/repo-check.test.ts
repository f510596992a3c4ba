// repo check, repair and unlock on repositories that were damaged, or left by a writer that was killed.

import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, truncate, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { encodeLockFile } from '../../src/format/repository.ts';
import { forget } from '../../src/ops/forget.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { type RepairOptions, repairRepository } from '../../src/ops/repo-repair.ts';
import { unlock } from '../../src/ops/repo-unlock.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { writeIntent } from '../../src/repo/intent.ts';
import { takeLock } from '../../src/repo/lock.ts';
import { openRepository, type Repository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { noise } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const vm = nameOf('vm');
let world: RepoWorld;
let ids: [string, string, string];

/** A full and two increments. */
beforeAll(async () => {
  world = await makeRepoWorld();
  await (await world.image('vm', 1 << 20)).close();
  const points: string[] = [];
  for (const seed of [1, 2, 3]) {
    const image = await world.cluster.openToWrite(specOf('vm'));
    await image.write(seed * 100_000, noise(seed, 50_000));
    await image.close();
    points.push((await world.backup('vm')).point);
  }
  ids = points as typeof ids;
});

afterAll(() => world.close());

interface Copy {
  repository: Repository;
  /** A path in it. */
  at: (...parts: string[]) => string;
  /** All files, hidden ones too. */
  files: () => Promise<string[]>;
  /** `problem damaged <point>`, … of what is found but for what every directory has. */
  check: () => Promise<string[]>;
  repair: (options?: RepairOptions) => Promise<string[]>;
}

/** The repository of the world, in a place of its own. */
async function copy(): Promise<Copy> {
  const dir = await mkdtemp(join(world.dir, 'copy-'));
  await cp(world.repoDir, dir, { recursive: true });
  const store = await openDirectoryStore(dir);
  const repository = await openRepository(store);
  onTestFinished(async () => {
    await store.close();
    await rm(dir, { recursive: true });
  });
  return {
    repository,
    at: (...parts) => join(dir, ...parts),
    async files() {
      const entries = await readdir(dir, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(dir.length + 1))
        .sort();
    },
    async check() {
      const { findings } = await checkRepository(repository);
      return findings.map(({ state, kind, point }) => [state, kind, point].filter(Boolean).join(' '));
    },
    async repair(options) {
      return (await repairRepository(repository, options)).map(({ state, text }) => `${state}: ${text}`);
    },
  };
}

const damages: [string, (at: Copy['at'], id: string) => Promise<void>][] = [
  ['a segment is gone', (at, id) => rm(at('rbd/vm', id, '000000.rbdiff.zst'))],
  ['a segment is cut off', (at, id) => truncate(at('rbd/vm', id, '000000.rbdiff.zst'), 100)],
  ['the index is gone', (at, id) => rm(at('rbd/vm', id, 'index'))],
  ['the manifest is gone', (at, id) => rm(at('rbd/vm', id, 'manifest.json'))],
  ['the manifest is empty', (at, id) => truncate(at('rbd/vm', id, 'manifest.json'), 0)],
  ['all is gone', (at, id) => rm(at('rbd/vm', id), { recursive: true })],
];

describe('a point of a chain is damaged', () => {
  test.each(damages)('%s: the points above it are lost, those below are not', async (_, damage) => {
    const { at, check, repair, files, repository } = await copy();
    await damage(at, ids[1]);
    const { images } = await checkRepository(repository);
    expect(images).toEqual([{ image: vm, points: 3, restorable: 1 }]);
    expect(await check()).toEqual([`problem damaged ${ids[1]}`, `problem affected ${ids[2]}`]);
    const before = await files();
    const done = await repair({ dryRun: true });
    expect(await repair()).toHaveLength(done.length);
    expect(done.filter((text) => text.startsWith('lost'))).toHaveLength(2);
    // nothing of the damaged point goes: there may be something to rescue
    expect(await files()).toEqual(before);
  });

  test.each(damages)('%s, and so is the catalog: still nothing of it is taken for rubbish', async (_, damage) => {
    const { at, check, repair, files } = await copy();
    await damage(at, ids[1]);
    await rm(at('rbd/vm/catalog.json'));
    const before = await files();
    await repair();
    expect(await files()).toEqual([...before, 'rbd/vm/catalog.json'].sort());
    expect(await check()).toContain(`problem affected ${ids[2]}`);
  });

  test.each(damages)('%s: the remedy that is told of leaves a good repository', async (_, damage) => {
    const { at, check, repair, repository } = await copy();
    await damage(at, ids[1]);
    const { findings } = await checkRepository(repository);
    const told = findings[0]?.hint ?? '';
    const named = ids.filter((id) => told.includes(`rbd/vm@${id}`));
    if (named.length > 0) await forget(repository, vm, new Set(named), { version: '0.0.0', nowMs: Date.now });
    await repair();
    if (named.length === 0) await forget(repository, vm, new Set([ids[2]]), { version: '0.0.0', nowMs: Date.now });
    expect(await check()).toEqual([]);
    expect((await readPoints(repository, vm)).map(({ id }) => id)).toEqual([ids[0]]);
  });

  test.each(damages)('%s, and the catalog as well: force removes what nothing tells of', async (_, damage) => {
    const { at, check, repair, repository } = await copy();
    await damage(at, ids[1]);
    await rm(at('rbd/vm/catalog.json'));
    await repair({ force: true });
    const { findings } = await checkRepository(repository);
    expect(findings.map(({ kind }) => kind).sort()).toEqual(
      findings.length === 1 ? ['affected'] : ['affected', 'damaged'],
    );
    const lost = findings.flatMap(({ point }) => (point === null ? [] : [point]));
    await forget(repository, vm, new Set(lost), { version: '0.0.0', nowMs: Date.now });
    expect(await check()).toEqual([]);
    expect((await readPoints(repository, vm)).map(({ id }) => id)).toEqual([ids[0]]);
  });

  test('a point in the place of another', async () => {
    const { at, check } = await copy();
    await cp(at('rbd/vm', ids[0]), at('rbd/vm', ids[1]), { recursive: true, force: true });
    expect((await check()).slice(0, 2)).toEqual([`problem damaged ${ids[1]}`, `problem affected ${ids[2]}`]);
  });

  test('points that are not lost are never to be forgotten', async () => {
    const hints = async (repository: Repository): Promise<(string | null)[]> =>
      (await checkRepository(repository)).findings.filter(({ kind }) => kind === 'damaged').map(({ hint }) => hint);
    const newer = await copy();
    const path = newer.at('rbd/vm', ids[1], 'manifest.json');
    await writeFile(path, (await readFile(path, 'utf8')).replace('"format": 1', '"format": 2'));
    expect(await hints(newer.repository)).toEqual(['a newer rbdelta may read it']);
    const exchanged = await copy();
    await rename(exchanged.at('rbd/vm', ids[1]), exchanged.at('rbd/vm/other'));
    await rename(exchanged.at('rbd/vm', ids[2]), exchanged.at('rbd/vm', ids[1]));
    await rename(exchanged.at('rbd/vm/other'), exchanged.at('rbd/vm', ids[2]));
    const back = 'put it back where it belongs, or the right one here';
    expect(await hints(exchanged.repository)).toEqual([back, back]);
    const { repository } = await copy();
    const another = { ...repository, id: '00000000-0000-4000-8000-000000000000' };
    expect(await hints(another)).toEqual(Array(3).fill(expect.stringMatching(/^nothing of it is lost: put the rbd/)));
  });

  test('a base with another state', async () => {
    const { at, check } = await copy();
    const path = at('rbd/vm', ids[0], 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    await writeFile(path, JSON.stringify({ ...manifest, fingerprint: 'ab'.repeat(32) }));
    expect((await check()).slice(0, 2)).toEqual([`problem damaged ${ids[1]}`, `problem affected ${ids[2]}`]);
  });

  test('points that build on each other', async () => {
    const { at, check } = await copy();
    const path = at('rbd/vm', ids[0], 'manifest.json');
    const manifest = JSON.parse(await readFile(path, 'utf8'));
    const { fingerprint, snapshot } = JSON.parse(await readFile(at('rbd/vm', ids[2], 'manifest.json'), 'utf8'));
    const base = { point: ids[2], snapshot: snapshot.name, fingerprint };
    await writeFile(path, JSON.stringify({ ...manifest, base }));
    expect((await check()).filter((text) => text.startsWith('problem'))).toHaveLength(3);
  });
});

test('a point of which only the catalog tells is told of once, and then it is gone from there, too', async () => {
  const { at, check, repair } = await copy();
  await rm(at('rbd/vm', ids[2]), { recursive: true });
  expect(await check()).toEqual([`problem damaged ${ids[2]}`]);
  expect(await repair()).toMatchObject([
    expect.stringContaining('wrote the catalog'),
    expect.stringMatching(/^lost: .*all its files are missing/),
  ]);
  expect(await check()).toEqual([]);
});

describe('nothing is damaged', () => {
  test('check finds nothing, and changes nothing', async () => {
    const { check, files, repair } = await copy();
    const before = await files();
    expect(await check()).toEqual([]);
    expect(await repair()).toEqual([]);
    expect(await files()).toEqual(before);
  });

  test.each([
    ['gone', (path: string) => rm(path)],
    ['cut off', (path: string) => truncate(path, 50)],
    ['outdated', (path: string) => writeFile(path, '{"format":1,"points":[]}\n')],
  ])('a catalog that is %s is made anew', async (_, damage) => {
    const { at, check, repair, repository } = await copy();
    const before = await readPoints(repository, vm);
    await damage(at('rbd/vm/catalog.json'));
    expect(await check()).toEqual(['note catalog']);
    expect(await repair({ dryRun: true })).toHaveLength(1);
    expect(await check()).toEqual(['note catalog']);
    expect(await repair()).toHaveLength(1);
    expect(await check()).toEqual([]);
    expect(await readPoints(repository, vm)).toEqual(before);
  });

  test('what is left of a point that never was is removed, what is none of ours is not', async () => {
    const { at, check, repair, files } = await copy();
    const before = await files();
    const id = '20261122T235959Z-abcdef';
    await mkdir(at('rbd/vm', id));
    for (const name of ['000000.rbdiff.zst', '000000.index']) await writeFile(at('rbd/vm', id, name), 'x');
    await writeFile(at('rbd/vm', ids[0], '000007.rbdiff.zst'), 'x');
    const foreign = ['notes.txt', 'rbd/vm/README', `rbd/vm/${ids[0]}/photo.jpg`];
    for (const path of foreign) await writeFile(at(path), 'x');
    expect((await check()).sort()).toEqual([
      'note foreign',
      'note foreign',
      'note foreign',
      `note unfinished ${id}`,
      `note unnamed ${ids[0]}`,
    ]);
    await repair();
    expect(await files()).toEqual([...before, ...foreign].sort());
  });

  test('files under hidden names go, unless they are young and perhaps somebody’s who waits', async () => {
    const { at, check, repair, files } = await copy();
    const before = await files();
    const hidden = (await hiddenName()) ?? '';
    for (const folder of [`rbd/vm/${ids[0]}`, 'rbd/vm/lock', '']) {
      await mkdir(at(folder), { recursive: true });
      await writeFile(at(folder, hidden), 'x');
    }
    expect(await check()).toEqual(['note temporary', 'note temporary', 'note temporary']);
    await repair();
    expect(await files()).toEqual([...before, hidden, `rbd/vm/lock/${hidden}`].sort());
    const old = new Date(Date.now() - 7200_000);
    for (const path of [hidden, `rbd/vm/lock/${hidden}`]) await utimes(at(path), old, old);
    await repair();
    expect(await files()).toEqual(before);
  });

  test('proofs that cannot be read', async () => {
    const { at, check, repair } = await copy();
    await writeFile(at('rbd/vm', ids[0], 'proofs.json'), '{');
    expect(await check()).toEqual([`note proofs ${ids[0]}`]);
    await repair();
    expect(await check()).toEqual([]);
  });
});

/** What a killed writer leaves: found out from a write that is under way. */
async function hiddenName(): Promise<string | undefined> {
  const dir = await mkdtemp(join(world.dir, 'hidden-'));
  const store = await openDirectoryStore(dir, { create: true });
  let name: string | undefined;
  async function* pieces(): AsyncGenerator<Uint8Array> {
    [name] = await readdir(dir);
    yield Buffer.from('x');
  }
  await store.write('000001.rbdiff.zst', pieces(), { maxBytes: 10 });
  await store.close();
  return name;
}

describe('interrupted writers', () => {
  const about = { nowMs: Date.now(), version: '0.0.0' };

  test('a removal is finished', async () => {
    const { check, repair, repository, files } = await copy();
    await writeIntent(repository, vm, { operation: 'delete', points: [ids[2]] }, about);
    expect(await check()).toEqual(['note intent']);
    await repair();
    expect(await check()).toEqual([]);
    expect((await readPoints(repository, vm)).map(({ id }) => id)).toEqual(ids.slice(0, 2));
    expect((await files()).filter((name) => name.includes(ids[2]))).toEqual([]);
  });

  test('a rewriting is finished', async () => {
    const { at, check, repair, repository } = await copy();
    await writeFile(at('rbd/vm', ids[1], '000003.rbdiff.zst'), 'x');
    await writeIntent(repository, vm, { operation: 'rewrite', point: ids[1] }, about);
    expect(await check()).toEqual(['note intent']);
    await repair();
    expect(await check()).toEqual([]);
  });

  test('a backup is left to the next one, and removed by force', async () => {
    const { at, check, repair, repository } = await copy();
    const id = '20261122T235959Z-abcdef';
    await mkdir(at('rbd/vm', id));
    await writeFile(at('rbd/vm', id, '000000.rbdiff.zst'), 'x');
    const snapshot = { name: 'some', id: 7, ours: true };
    const base = { base: ids[2], baseSnapshot: 'other' };
    await writeIntent(repository, vm, { operation: 'backup', point: id, snapshot, ...base, plan: {} }, about);
    expect(await check()).toEqual([`note intent ${id}`]);
    expect(await repair()).toMatchObject([expect.stringContaining('left to the next backup')]);
    expect(await check()).toEqual([`note intent ${id}`]);
    await repair({ force: true });
    expect(await check()).toEqual([]);
  });

  test('an intent that nobody can read is removed, and with it what it was about', async () => {
    const { at, check, repair } = await copy();
    const id = '20261122T235959Z-abcdef';
    await mkdir(at('rbd/vm/intent'));
    await mkdir(at('rbd/vm', id));
    await writeFile(at('rbd/vm/intent/backup.json'), '{');
    await writeFile(at('rbd/vm', id, '000000.rbdiff.zst'), 'x');
    expect((await check()).sort()).toEqual(['note intent', `note unfinished ${id}`]);
    await repair();
    expect(await check()).toEqual([]);
  });
});

describe('locks', () => {
  const deadLock = (id: string): Buffer =>
    encodeLockFile({
      format: 1,
      owner: { host: 'elsewhere', pid: 7, startTime: null, id },
      operation: 'backup',
      acquired: new Date().toISOString(),
      leaseSeconds: 300,
    });

  test('a live one is respected: nothing is repaired, nor unlocked without force', async () => {
    const { at, check, repair, repository } = await copy();
    await rm(at('rbd/vm/catalog.json'));
    const lock = await takeLock(repository, vm, { operation: 'backup' });
    expect(await check()).toEqual(['note lock']);
    expect(await repair()).toMatchObject([expect.stringMatching(/^busy: rbd\/vm was left as it is/)]);
    expect(await unlock(repository)).toMatchObject([{ removed: false, lock: { isDead: false } }]);
    expect(await unlock(repository, { force: true, dryRun: true })).toMatchObject([{ removed: false }]);
    expect(await unlock(repository, { force: true })).toMatchObject([{ removed: true }]);
    await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'busy' });
    await lock.release();
    expect(await repair()).toHaveLength(1);
    expect(await check()).toEqual([]);
  });

  test('dead ones are removed', async () => {
    const { at, check, repair, repository } = await copy();
    const old = new Date(Date.now() - 3600_000);
    for (const action of [() => repair(), () => unlock(repository, { name: 'vm' })]) {
      await mkdir(at('rbd/vm/lock'), { recursive: true });
      await writeFile(at('rbd/vm/lock/0123456789abcdef.json'), deadLock('0123456789abcdef'));
      await utimes(at('rbd/vm/lock/0123456789abcdef.json'), old, old);
      expect(await check()).toEqual(['note lock']);
      expect(await action()).toHaveLength(1);
      expect(await check()).toEqual([]);
    }
  });

  test('one that was renewed since it was listed is not dead', async () => {
    const { at, repository } = await copy();
    const path = at('rbd/vm/lock/0123456789abcdef.json');
    await mkdir(at('rbd/vm/lock'), { recursive: true });
    await writeFile(path, deadLock('0123456789abcdef'));
    await utimes(path, new Date(0), new Date(0));
    const store = {
      ...repository.store,
      async *list(prefix: string) {
        yield* repository.store.list(prefix);
        await utimes(path, new Date(), new Date());
      },
    };
    const looked = await unlock({ ...repository, store });
    expect(looked).toMatchObject([{ removed: false, lock: { isDead: false } }]);
    expect(await unlock(repository)).toMatchObject([{ removed: false }]);
  });
});
