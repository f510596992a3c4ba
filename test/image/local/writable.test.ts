// An image that is open to write: until when it can be written, and what a crash may have left of its files.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { openStore } from '../../../src/image/local/store.ts';
import type { WritableImage } from '../../../src/image/port.ts';

const at = { pool: 'volumes', namespace: '', image: 'disk', snap: null };
const objectBytes = 4096;

let dir: string;
let pool: LocalPool;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-writable-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  await pool.create(at, { size: 64 * objectBytes, order: 12 });
});
afterEach(async () => {
  await pool.close();
  await rm(dir, { recursive: true });
});

const changes: Record<string, (image: WritableImage) => Promise<void>> = {
  write: (image) => image.write(0, Buffer.from('late')),
  'write of nothing': (image) => image.write(0, Buffer.alloc(0)),
  writeZeroes: (image) => image.writeZeroes(0, objectBytes),
  flush: (image) => image.flush(),
  resize: (image) => image.resize(objectBytes),
  createSnapshot: (image) => image.createSnapshot('late'),
  removeSnapshot: (image) => image.removeSnapshot('s'),
  protectSnapshot: (image) => image.protectSnapshot('s'),
  unprotectSnapshot: (image) => image.unprotectSnapshot('s'),
  rollback: (image) => image.rollback('s'),
};

test.each(Object.entries(changes))('%s is refused once close was called, and changes nothing', async (_, change) => {
  const first = await pool.openToWrite(at);
  await first.write(0, Buffer.from('kept'));
  await first.createSnapshot('s');
  const closing = first.close();
  await expect(change(first)).rejects.toThrow(TypeError);
  await closing;
  const second = await pool.openToWrite(at);
  await expect(change(first)).rejects.toThrow(TypeError);
  const read = Buffer.alloc(4);
  await second.read(0, read);
  expect(read.toString()).toBe('kept');
  expect(await second.info()).toMatchObject({ size: 64 * objectBytes, snapshots: [{ name: 's' }] });
  await second.close();
});

test('closing waits for what was called before it', async () => {
  const image = await pool.openToWrite(at);
  let done = 0;
  const calls = [
    image.createSnapshot('s'),
    image.write(0, Buffer.from('data')),
    image.writeZeroes(objectBytes, objectBytes),
    image.resize(32 * objectBytes),
    image.write(4, Buffer.from('more')),
  ].map((call) => call.then(() => (done += 1)));
  await image.close();
  expect(done).toBe(calls.length);
  await Promise.all(calls);
  const reader = await pool.open(at);
  const read = Buffer.alloc(8);
  await reader.read(0, read);
  expect(read.toString()).toBe('datamore');
  await reader.close();
});

/** As a power loss may leave it: the records of three objects are there, their files are not, nothing was flushed. */
async function loseUnflushed(): Promise<void> {
  const first = await pool.openToWrite(at);
  await first.write(0, Buffer.alloc(3 * objectBytes, 'a'));
  const store = await openStore(dir);
  const notes = [...store.cluster.getKeys()].map((key) => Buffer.from(key)).filter((key) => key.includes('unflushed/'));
  expect(notes.length).toBe(3);
  await first.close();
  store.transact(() => {
    for (const key of notes) void store.cluster.put(key, Buffer.alloc(0));
  });
  await store.close();
  await rm(join(dir, 'objects'), { recursive: true });
}

test('an object whose file a power loss took reads as zeros, and the pool is sound', async () => {
  await loseUnflushed();
  expect(await pool.check(null)).toEqual({ images: 1, findings: [] });
  const reader = await pool.open(at);
  const read = Buffer.alloc(objectBytes, 1);
  await reader.read(0, read);
  expect(read.equals(Buffer.alloc(objectBytes))).toBe(true);
  await reader.close();
});

test('a file that was flushed and is gone is damage to whoever reads, lists or writes it', async () => {
  const first = await pool.openToWrite(at);
  await first.write(0, Buffer.alloc(3 * objectBytes, 'a'));
  await first.close();
  await rm(join(dir, 'objects'), { recursive: true });
  const lost = { code: 'corrupt', message: expect.stringMatching(/^object 0 of image .* is gone$/) as string };
  const reader = await pool.open(at);
  await expect(reader.read(0, Buffer.alloc(16))).rejects.toMatchObject(lost);
  await expect(reader.changedExtents(null, { offset: 0, length: 100 }, () => {})).rejects.toMatchObject(lost);
  await reader.close();
  const image = await pool.openToWrite(at);
  await expect(image.writeZeroes(100, objectBytes - 100)).rejects.toMatchObject(lost);
  await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject({ code: 'corrupt' });
  await image.createSnapshot('s');
  await expect(image.write(0, Buffer.from('x'))).rejects.toMatchObject(lost);
  await image.close();
});

test('an object whose file a power loss took can be written', async () => {
  await loseUnflushed();
  const image = await pool.openToWrite(at);
  const read = Buffer.alloc(objectBytes);
  await image.read(0, read);
  expect(read.equals(Buffer.alloc(objectBytes))).toBe(true);
  await image.write(16, Buffer.from('again'));
  await image.writeZeroes(objectBytes + 100, objectBytes - 100);
  await image.createSnapshot('s');
  await image.write(2 * objectBytes, Buffer.from('after'));
  await image.close();
  const reader = await pool.open(at);
  await reader.read(0, read);
  expect(read.subarray(16, 21).toString()).toBe('again');
  await reader.read(2 * objectBytes, read);
  expect(read.subarray(0, 5).toString()).toBe('after');
  await reader.close();
});
