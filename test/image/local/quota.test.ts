// The quota of a pool, with several processes that write to it at once.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import type { Quota } from '../../../src/image/local/quota.ts';
import type { ClusterImage } from '../../../src/image/port.ts';

const objectBytes = 4096;
const objects = 200;
let dir: string;
let pool: LocalPool;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-quota-'));
  pool = await openLocalPool(dir);
});
afterAll(async () => {
  await pool.close();
  await rm(dir, { recursive: true });
});

test.for<[string, Quota]>([
  ['bytes', { maxBytes: objects * objectBytes, maxObjects: null }],
  ['objects', { maxBytes: null, maxObjects: objects }],
])('three processes fill a pool up to its quota of %s, exactly', async ([, quota]) => {
  await pool.createPool('volumes');
  await pool.setQuota('volumes', quota);
  const names = ['a', 'b', 'c'];
  for (const image of names) {
    await pool.create({ pool: 'volumes', namespace: '', image, snap: null }, { size: 1 << 24, order: 12 });
  }
  const program = join(import.meta.dirname, 'quota-writer.ts');
  const writers = names.map((name) =>
    spawn(process.execPath, ['--import', 'tsx', program, dir, name], { stdio: ['pipe', 'pipe', 'inherit'] }),
  );
  const told = writers.map(() => '');
  for (const [i, { stdout }] of writers.entries()) stdout.on('data', (text: Buffer) => (told[i] += text.toString()));
  await Promise.all(writers.map(({ stdout }) => once(stdout, 'readable')));
  const ends = writers.map((writer) => once(writer, 'close'));
  for (const { stdin } of writers) stdin.write('\n');
  expect(await Promise.all(ends)).toEqual(names.map(() => [0, null]));
  const counts = told.map((text) => Number(text.split('\n')[1]));
  const data = (await pool.objects('volumes')).filter(({ name }) => name.startsWith('rbd_data.'));
  const bytes = data.reduce((sum, object) => sum + object.bytes, 0);
  expect({ objects: data.length, bytes }).toEqual({ objects, bytes: objects * objectBytes });
  // what was refused, was so as a whole; and what was not refused is there
  expect(counts.reduce((sum, count) => sum + count, 0)).toBe(objects);
  await pool.removePool('volumes', { force: true });
});

test('a flatten past the quota is refused, and done once there is more room', async () => {
  await pool.createPool('others');
  const spec = (image: string, snap: string | null = null) => ({ pool: 'others', namespace: '', image, snap });
  await pool.create(spec('base'), { size: 8 * objectBytes, order: 12 });
  const base = await pool.openToWrite(spec('base'));
  const bytes = Buffer.alloc(8 * objectBytes);
  bytes.fill(7, 0, 5 * objectBytes);
  await base.write(0, bytes);
  await base.createSnapshot('s');
  await base.close();
  await pool.clone(spec('base', 's'), spec('kid'), { cloneFormat: 2 });
  const kid = await pool.openToWrite(spec('kid'));
  await pool.setQuota('others', { maxObjects: 8 + 4 });
  await expect(kid.flatten()).rejects.toMatchObject({ code: 'quota' });
  const found = Buffer.alloc(bytes.length);
  await kid.read(0, found);
  expect(found.equals(bytes)).toBe(true);
  // what the parent has as zeros takes nothing
  await pool.setQuota('others', { maxObjects: 8 + 5 });
  await kid.flatten();
  expect((await kid.info()).parent).toBe(null);
  await kid.read(0, found);
  expect(found.equals(bytes)).toBe(true);
  await kid.close();
});

describe('in a full pool', () => {
  const full = (image: string, snap: string | null = null) => ({ pool: 'full', namespace: '', image, snap });
  const whole = Buffer.alloc(4 * objectBytes, 3);

  beforeEach(async () => {
    await pool.createPool('full');
    await pool.create(full('disk'), { size: 4 * objectBytes, order: 12 });
    const image = await pool.openToWrite(full('disk'));
    await image.write(0, whole);
    await image.createSnapshot('s');
    await image.close();
    await pool.clone(full('disk', 's'), full('kid'), { cloneFormat: 2 });
    await pool.setQuota('full', { maxObjects: 4 });
  });
  afterEach(() => pool.removePool('full', { force: true }));

  test.for<[string, 'disk' | 'kid', (image: ClusterImage) => Promise<void>]>([
    ['zeros in an object that a snapshot keeps', 'disk', (image) => image.writeZeroes(100, 200)],
    ['a cut in an object that a snapshot keeps', 'disk', (image) => image.resize(2 * objectBytes + 100)],
    ['zeros over a parent', 'kid', (image) => image.writeZeroes(objectBytes, objectBytes)],
    ['a cut over a parent', 'kid', (image) => image.resize(2 * objectBytes + 100)],
  ])('%s: refused as a whole', async ([, name, change]) => {
    const image = await pool.openToWrite(full(name));
    await expect(change(image)).rejects.toMatchObject({ code: 'quota' });
    const found = Buffer.alloc(whole.length);
    await image.read(0, found);
    expect(found.equals(whole)).toBe(true);
    expect((await image.info()).size).toBe(whole.length);
    await image.close();
    expect((await pool.check('full')).findings).toEqual([]);
    await pool.setQuota('full', { maxObjects: 5 });
    const again = await pool.openToWrite(full(name));
    await change(again);
    await again.close();
  });

  test('what takes no more room is done: whole objects go, objects of the head alone are changed', async () => {
    const image = await pool.openToWrite(full('disk'));
    await image.writeZeroes(0, 2 * objectBytes);
    await image.resize(3 * objectBytes);
    await image.close();
    const found = Buffer.alloc(3 * objectBytes);
    const reader = await pool.open(full('disk'));
    await reader.read(0, found);
    expect(found.equals(Buffer.concat([Buffer.alloc(2 * objectBytes), whole.subarray(0, objectBytes)]))).toBe(true);
    await reader.close();
  });
});
