import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { encodeLockFile } from '../../src/format/repository.ts';
import { listLocks, takeLock } from '../../src/repo/lock.ts';
import type { Repository } from '../../src/repo/repository.ts';
import type { Store, StoredObject } from '../../src/store/port.ts';
import { makeRepoWorld, nameOf, type RepoWorld } from '../kit/repo-world.ts';

const image = nameOf('vm');
let world: RepoWorld;
beforeEach(async () => {
  world = await makeRepoWorld();
});
afterEach(() => world.close());

const lockOf = (id: string, more: object = {}): Buffer =>
  encodeLockFile({
    format: 1,
    owner: { host: hostname(), pid: 1, startTime: null, id },
    operation: 'backup',
    acquired: '2026-11-22T00:00:00.000Z',
    leaseSeconds: 300,
    ...more,
  });

test('one at a time; it is there until it is released', async () => {
  const lock = await takeLock(world.repository, image, { operation: 'backup' });
  await lock.assertHeld();
  await expect(takeLock(world.repository, image, { operation: 'prune' })).rejects.toMatchObject({
    code: 'busy',
    message: expect.stringContaining(`backup by process ${process.pid} on ${hostname()}`),
  });
  expect(await listLocks(world.repository, image)).toHaveLength(1);
  await lock.release();
  expect(await listLocks(world.repository, image)).toEqual([]);
});

test('who tries beside it takes nothing away, who stays does', async () => {
  const { repository } = world;
  const lock = await takeLock(repository, image, { operation: 'backup' });
  const [own] = await listLocks(repository, image);
  const other = own!.key.replace(/[0-9a-f]+\.json$/u, '0000000000000000.json');
  await repository.store.put(other, lockOf('0'));
  let isSure = false;
  const held = lock.assertHeld().then(() => (isSure = true));
  await sleep(300);
  expect(isSure).toBe(false);
  await repository.store.remove([other]);
  await held;
  await repository.store.put(other, lockOf('0'));
  await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'busy' });
  await lock.release();
});

test('of many at once that do not wait, one gets it', async () => {
  for (let round = 0; round < 10; round++) {
    // All have put their files before any of them lists.
    let put = 0;
    const { store } = world.repository;
    const inStep: Store = {
      ...store,
      put: async (...args) => {
        await store.put(...args);
        put += 1;
        while (put < 3) await sleep(1);
      },
    };
    const repository = { ...world.repository, store: inStep };
    const taken = await Promise.allSettled([1, 2, 3].map(() => takeLock(repository, image, { operation: 'backup' })));
    const locks = taken.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
    expect(locks).toHaveLength(1);
    await locks[0]!.assertHeld();
    await locks[0]!.release();
  }
});

test('of many at once one gets it, and all get it in turn who wait', async () => {
  const turns = Array.from({ length: 5 }, async () => {
    const lock = await takeLock(world.repository, image, { operation: 'backup', waitMs: 100_000 });
    await lock.assertHeld();
    await lock.release();
  });
  await Promise.all(turns);
  expect(await listLocks(world.repository, image)).toEqual([]);
});

describe('a lock of somebody else', () => {
  test.each([
    ['of a process of this host that is gone is dead at once', true],
    ['of a process that lives holds', false],
  ])('%s', async (_, isGone) => {
    const mine = await takeLock(world.repository, image, { operation: 'backup' });
    const [{ file } = { file: null }] = await listLocks(world.repository, image);
    await mine.release();
    const owner = { ...file!.owner, id: 'other', pid: isGone ? 2 ** 30 : file!.owner.pid };
    await world.repository.store.put('rbd/vm/lock/other.json', lockOf('other', { owner }));
    const notices: string[] = [];
    const taken = takeLock(world.repository, image, { operation: 'backup', onNotice: (text) => notices.push(text) });
    const outcome = await taken.then(
      (lock) => lock.release().then(() => 'taken'),
      (error: { code: string }) => error.code,
    );
    expect(outcome).toBe(isGone ? 'taken' : 'busy');
    expect(notices).toHaveLength(isGone ? 1 : 0);
  });

  test('that is older than its lease is dead', async () => {
    await world.repository.store.put('rbd/vm/lock/old.json', lockOf('old', { leaseSeconds: 1 }));
    await sleep(1100);
    const lock = await takeLock(world.repository, image, { operation: 'backup' });
    expect(await listLocks(world.repository, image)).toMatchObject([{ isDead: false }]);
    await lock.release();
  });
});

test('a renewal that comes late puts the lock back beside that of another: neither is sure of it', async () => {
  const { store } = world.repository;
  let letGo = (): void => {};
  const held = new Promise<void>((resolve) => {
    letGo = resolve;
  });
  let puts = 0;
  const slow: Store = {
    ...store,
    put: async (key, bytes, options) => {
      puts += 1;
      if (puts === 2) await held;
      return store.put(key, bytes, options);
    },
  };
  const repository: Repository = { ...world.repository, store: slow };
  const first = await takeLock(repository, image, { operation: 'backup', leaseSeconds: 1 });
  while (puts < 2) await sleep(50);
  await sleep(1100);
  const second = await takeLock(world.repository, image, { operation: 'backup' });
  letGo();
  await expect.poll(async () => (await listLocks(world.repository, image)).length).toBe(2);
  await expect(first.assertHeld()).rejects.toMatchObject({ code: 'busy' });
  await first.release();
  await second.release();
});

test('who loses the lock is told while it works', async () => {
  const lock = await takeLock(world.repository, image, { operation: 'backup', leaseSeconds: 1 });
  await world.repository.store.remove((await listLocks(world.repository, image)).map(({ key }) => key));
  await expect.poll(() => lock.lost.aborted, { timeout: 10_000 }).toBe(true);
  await expect(lock.assertHeld()).rejects.toThrow('was taken away from us');
  await lock.release();
});

test("one's own lock is not read to take it, but to be sure of it: a list may show what is gone", async () => {
  const { store } = world.repository;
  const read: string[] = [];
  const shown = new Map<string, StoredObject>();
  const stale: Store = {
    ...store,
    get: async (key, maxBytes) => {
      read.push(key);
      return store.get(key, maxBytes);
    },
    async *list(prefix) {
      for await (const object of store.list(prefix)) shown.set(object.key, object);
      yield* shown.values();
    },
  };
  const lock = await takeLock({ ...world.repository, store: stale }, image, { operation: 'backup' });
  expect(read).toEqual([]);
  await lock.assertHeld();
  expect(read).toEqual([...shown.keys()]);
  await store.remove([...shown.keys()]);
  await expect(lock.assertHeld()).rejects.toMatchObject({ code: 'busy' });
  await lock.release();
});
