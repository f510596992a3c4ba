// An object map that is wrong is found and flagged, and one that is made anew says what RBD's would.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { findImage } from '../../../src/image/local/header.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { mapKey, OpenMap, removeMap } from '../../../src/image/local/object-maps.ts';
import { openStore } from '../../../src/image/local/store.ts';
import { statesOf } from '../../suites/content.ts';

const objectBytes = 4096;
const at = { pool: 'volumes', namespace: '', image: 'disk', snap: null };
const [GONE, EXISTS, CLEAN] = [0, 1, 3];

let dir: string;
let pool: LocalPool;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-maps-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
});
afterAll(async () => {
  await pool.close();
  await rm(dir, { recursive: true });
});

test('a wrong map is flagged; a new one is right, and trusted', async () => {
  await pool.create(at, { size: 5 * objectBytes, order: 12 });
  let image = await pool.openToWrite(at);
  await image.write(0, Buffer.alloc(3 * objectBytes, 'x'));
  await image.createSnapshot('one');
  await image.write(objectBytes, Buffer.alloc(objectBytes, 'y'));
  await image.writeZeroes(2 * objectBytes, objectBytes);
  await image.createSnapshot('two');
  await image.write(3 * objectBytes, Buffer.alloc(10, 'z'));
  const expected = new Map<string | null, number[]>([
    ['one', [EXISTS, EXISTS, EXISTS, GONE, GONE]],
    ['two', [CLEAN, EXISTS, GONE, GONE, GONE]],
    [null, [CLEAN, CLEAN, GONE, EXISTS, GONE]],
  ]);
  const idOf = async (snap: string | null) =>
    (await image.info()).snapshots.find(({ name }) => name === snap)?.id ?? null;
  for (const [snap, states] of expected) {
    expect(await image.checkObjectMap(snap)).toBe(0);
    expect(await statesOf(image, await idOf(snap))).toEqual(states);
  }
  const ids = await Promise.all(['one', 'two'].map(idOf));
  await image.close();

  const store = await openStore(dir);
  const ref = findImage(store, at);
  await new OpenMap(store, mapKey(ref, null)).set(3, GONE as 0);
  await new OpenMap(store, mapKey(ref, ids[1] ?? null)).set(1, CLEAN as 3);
  store.transact(() => removeMap(store, mapKey(ref, ids[0] ?? null)));
  await store.close();

  image = await pool.openToWrite(at);
  expect(await image.checkObjectMap(null)).toBe(1);
  expect(await image.checkObjectMap('two')).toBe(1);
  expect(await image.checkObjectMap('one')).toBe(5);
  expect((await image.info()).flags).toBe(3);
  expect((await image.info()).snapshots.map(({ flags }) => flags)).toEqual([3, 3]);
  for (const [snap, states] of expected) {
    await image.rebuildObjectMap(snap);
    expect(await statesOf(image, await idOf(snap))).toEqual(states);
  }
  expect((await image.info()).flags).toBe(0);
  expect((await image.info()).snapshots.map(({ flags }) => flags)).toEqual([0, 0]);
  await expect(image.rebuildObjectMap('three')).rejects.toMatchObject({ code: 'notFound' });
  await image.close();
});

test('an image without maps has none to be checked', async () => {
  await pool.create({ ...at, image: 'plain' }, { size: 1, features: 1 });
  const image = await pool.openToWrite({ ...at, image: 'plain' });
  await expect(image.checkObjectMap(null)).rejects.toMatchObject({ code: 'invalid' });
  await expect(image.rebuildObjectMap(null)).rejects.toMatchObject({ code: 'invalid' });
  await image.close();
});
