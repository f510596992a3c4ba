// What a full disk does to the database of a local pool: it is refused, and what frees space still works.

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { initialiseStore, openStore } from '../../../src/image/local/store.ts';
import { rbdeltaProgram, run } from '../../kit/command.ts';
import { fill, type SmallDisk, smallDisk } from '../../kit/small-disk.ts';

let disk: SmallDisk | string;
let place: string;
let count = 0;
/** Gives back what a test has taken of the disk. */
let free = () => {};

beforeAll(async () => {
  disk = await smallDisk(24);
});
beforeEach(({ skip }) => {
  if (typeof disk === 'string') return skip(disk);
  place = join(disk.path, String((count += 1)));
});
afterEach(() => {
  free();
  free = () => {};
});
afterAll(async () => {
  if (typeof disk !== 'string') await disk.unmount();
});

const rbdelta = (...args: string[]) => run(process.execPath, [rbdeltaProgram, '--cluster-dir', place, ...args]);

test('a new pool on a full disk is refused, whatever room is left, and can be made once there is some', async () => {
  const found = new Set<number | null>();
  for (const pages of [0, 1, 15, 17, 20, 100, 527, 600]) {
    place = join((disk as SmallDisk).path, `new-${pages}`);
    free = fill((disk as SmallDisk).path, pages);
    const { status, signal, stderr } = await rbdelta('pool', 'create', 'volumes');
    free();
    const isRight = status === 0 || (status === 28 && /^rbdelta: .*\nhint: free some space/.test(stderr));
    expect({ pages, status, signal, stderr, isRight }).toMatchObject({ isRight: true });
    found.add(status);
    const again = await rbdelta('pool', 'create', 'others');
    expect({ pages, ...again, stdout: '' }).toMatchObject({ status: 0, stderr: '' });
    expect((await rbdelta('pool', 'check')).status).toBe(0);
  }
  expect(found).toEqual(new Set([28, 0]));
});

test('on a full disk images can be listed, read and closed, snapshots and images removed', async () => {
  for (const line of ['pool create rbd', 'create --size 64M disk', 'snap create disk@s', 'create --size 1M other']) {
    expect(await rbdelta(...line.split(' '))).toMatchObject({ status: 0 });
  }
  free = fill((disk as SmallDisk).path);
  for (const line of ['ls', 'info disk', 'export --no-progress disk -', 'snap rm disk@s', 'rm other']) {
    const result = await rbdelta(...line.split(' '));
    expect({ line, status: result.status, stderr: result.stderr }).toMatchObject({ line, status: 0 });
  }
  const refused = await rbdelta('create', '--size', '1G', 'more');
  free();
  free = () => {};
  expect(refused.status === 0 || refused.status === 28).toBe(true);
  expect((await rbdelta('ls')).stdout.toString()).toContain('disk');
  expect((await rbdelta('pool', 'check')).status).toBe(0);
});

test('more than what is kept free: nothing of it is there, and the store goes on, and closes', async () => {
  await initialiseStore(place);
  const store = await openStore(place);
  store.transact(() => void store.cluster.put(Buffer.from('old'), Buffer.from('value')));
  free = fill((disk as SmallDisk).path);
  const many = (name: string) => () => [
    store.cluster.remove(Buffer.from(name)),
    ...Array.from({ length: 300 }, (_, i) => store.maps.put(Buffer.from(`${name}${i}`), Buffer.alloc(4096, 1))),
    store.cluster.remove(Buffer.from('old')),
  ];
  const results = await Promise.allSettled(['a', 'b', 'c'].map((name) => store.commit(many(name))));
  for (const result of results) expect(result).toMatchObject({ reason: { code: 'noSpace' } });
  await store.flushed();
  expect(store.cluster.get(Buffer.from('old'))?.toString()).toBe('value');
  expect(store.maps.get(Buffer.from('a1'))).toBe(undefined);
  free();
  await store.commit(many('d'));
  expect(store.maps.get(Buffer.from('d1'))?.length).toBe(4096);
  await store.close();
});

test('no part of the mapped table of readers is a hole', async () => {
  await initialiseStore(place);
  await (await openStore(place)).close();
  const { size, blocks } = await stat(join(place, 'omap', 'lock.mdb'));
  expect(blocks * 512).toBeGreaterThanOrEqual(size);
});
