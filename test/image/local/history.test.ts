// Whatever happens to an image of the local pool, each version reads as it must, and the diffs leave nothing out.

import fc from 'fast-check';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { geometryOf, objectCount, objectExtents } from '../../../src/diff/striping.ts';
import { decodeObjectMap, EXISTS_CLEAN, NONEXISTENT, objectState } from '../../../src/format/object-map.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import type { CreateOptions, ImageInfo, WritableImage } from '../../../src/image/port.ts';
import { Bytes, perform, steps } from './history.ts';

const KiB = 1024;
const objectBytes = 4 * KiB;
const most = 8 * objectBytes;

const shapes: Record<string, Omit<CreateOptions, 'size'>> = {
  plain: { order: 12 },
  'larger objects': { order: 14 },
  striped: { order: 13, stripeUnit: 2 * KiB, stripeCount: 3 },
  'with a data pool': { order: 12, dataPool: 'data' },
  'without an object map': { order: 12, features: 0x5 },
};

let dir: string;
let pool: LocalPool;
let made = 0;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-history-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  await pool.createPool('data');
});
afterAll(async () => {
  await pool.close();
  await rm(dir, { recursive: true });
});

for (const [shape, options] of Object.entries(shapes)) {
  test(`an image (${shape}) is the model after any history, and no diff misses a byte`, async () => {
    await fc.assert(
      fc.asyncProperty(steps(most, objectBytes), async (history) => {
        const at = { pool: 'volumes', namespace: '', image: `image-${++made}`, snap: null };
        const model = new Bytes(most / 2);
        await pool.create(at, { ...options, size: most / 2 });
        let image = await pool.openToWrite(at);
        for (const asked of history) {
          const step = model.apply(asked);
          if (step === null) continue;
          if (step.do !== 'reopen') await perform(image, step);
          else {
            await image.close();
            await pool.close();
            pool = await openLocalPool(dir);
            image = await pool.openToWrite(at);
          }
        }
        await compare(model, at, image);
        await image.close();
        expect(await pool.sweep(), 'a file is left that nothing names').toEqual({ files: 0, bytes: 0 });
        await removeWhole(at);
      }),
      { numRuns: 25 },
    );
  });
}

test('an image that is removed leaves no files', async () => {
  const left = await readdir(join(dir, 'objects'), { recursive: true, withFileTypes: true });
  expect(left.filter((entry) => entry.isFile())).toEqual([]);
});

async function compare(model: Bytes, at: { pool: string; namespace: string; image: string }, image: WritableImage) {
  const versions: [string | null, Uint8Array][] = [...model.snapshots, [null, model.head]];
  let before: { name: string | null; content: Uint8Array } = { name: null, content: new Uint8Array(0) };
  for (const [name, content] of versions) {
    const opened = await pool.open({ ...at, snap: name });
    const info = await opened.info();
    expect(info.size).toBe(content.length);
    const read = Buffer.alloc(content.length, 0xff);
    await opened.read(0, read);
    expect(Buffer.compare(read, content), `content of ${name ?? 'the head'}`).toBe(0);
    const map = await opened.objectMap(info.snapshot?.id ?? null);
    if (map !== null) checkMap(info, map, before.content, content);
    for (const [from, old] of [[null, new Uint8Array(0)] as const, ...model.snapshots]) {
      if (from !== null && name !== null && Number(from.slice(1)) > Number(name.slice(1))) continue;
      const extents: [number, number, boolean][] = [];
      await opened.changedExtents(from, { offset: 0, length: info.size }, (...extent) => extents.push(extent));
      checkExtents(extents, old, content, `${from ?? 'nothing'} to ${name ?? 'the head'}`);
    }
    before = { name, content };
    await opened.close();
  }
  const own = Buffer.alloc(model.head.length);
  await image.read(0, own);
  expect(Buffer.compare(own, model.head)).toBe(0);
}

/** A clean object is what it was in the version before, one that does not exist is zeros. */
function checkMap(info: ImageInfo, bytes: Uint8Array, before: Uint8Array, content: Uint8Array): void {
  const { count, states } = decodeObjectMap(bytes);
  expect(count).toBe(objectCount(geometryOf(info)));
  for (let object = 0; object < count; object += 1) {
    const state = objectState(states, object);
    for (const { offset, length } of objectExtents(geometryOf(info), object)) {
      const now = padded(content, offset, length);
      if (state === NONEXISTENT) expect(now.every((byte) => byte === 0)).toBe(true);
      if (state === EXISTS_CLEAN) expect(now.equals(padded(before, offset, length))).toBe(true);
    }
  }
}

function checkExtents(extents: [number, number, boolean][], old: Uint8Array, now: Uint8Array, which: string): void {
  const covered = new Uint8Array(now.length);
  let end = 0;
  for (const [offset, length, exists] of extents) {
    expect(offset, `${which}: extents rise`).toBeGreaterThanOrEqual(end);
    expect(length).toBeGreaterThan(0);
    end = offset + length;
    covered.fill(1, offset, end);
    if (!exists)
      expect(
        now.subarray(offset, end).every((byte) => byte === 0),
        `${which}: zeros`,
      ).toBe(true);
  }
  expect(end).toBeLessThanOrEqual(now.length);
  for (let at = 0; at < now.length; at += 1) {
    if (now[at] !== (old[at] ?? 0) && covered[at] === 0) expect.fail(`${which}: byte ${at} changed and is left out`);
  }
}

function padded(content: Uint8Array, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes.set(content.subarray(Math.min(offset, content.length), offset + length));
  return bytes;
}

async function removeWhole(at: { pool: string; namespace: string; image: string; snap: null }): Promise<void> {
  const image = await pool.openToWrite(at);
  for (const { name } of (await image.info()).snapshots) await image.removeSnapshot(name);
  await image.close();
  await pool.remove(at);
}
