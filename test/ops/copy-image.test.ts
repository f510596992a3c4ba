// Copies beyond one sound cluster: between two of them, and when a call fails. What copies are is in suites/copies.ts.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { type LocalPool, openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster, ClusterImage } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { copyImage } from '../../src/ops/copy-image.ts';
import { deepCopyImage } from '../../src/ops/deep-copy.ts';
import { noise } from '../kit/noise.ts';
import { contentOf } from '../suites/content.ts';

const KiB = 1024;
const size = 256 * KiB;
const vm: ImageSpec = { pool: 'volumes', namespace: '', image: 'vm', snap: null };
const copy = { ...vm, image: 'copy' };

async function makePool(): Promise<LocalPool> {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-copy-'));
  const cluster = await openLocalPool(dir);
  await cluster.createPool('volumes');
  onTestFinished(async () => {
    await cluster.close();
    await rm(dir, { recursive: true });
  });
  return cluster;
}

/** An image with a snapshot; with `clone`, of a parent. */
async function makeSource(cluster: Cluster, { clone = false } = {}): Promise<void> {
  const parent = { ...vm, image: clone ? 'parent' : 'vm' };
  await cluster.create(parent, { size, order: 16 });
  await cluster.setMetadata(parent, 'color', 'blue');
  if (clone) {
    const image = await cluster.openToWrite(parent);
    await image.write(0, noise(1, size));
    await image.createSnapshot('base');
    await image.protectSnapshot('base');
    await image.close();
    await cluster.clone({ ...parent, snap: 'base' }, vm, {});
  }
  const image = await cluster.openToWrite(vm);
  await image.write(70 * KiB, noise(2, 10 * KiB));
  await image.createSnapshot('s1');
  await image.protectSnapshot('s1');
  await image.resize(size / 2);
  await image.writeZeroes(64 * KiB, 8 * KiB);
  await image.write(0, noise(3, 5 * KiB));
  await image.close();
}

async function read(cluster: Cluster, spec: ImageSpec, snap: string | null = null): Promise<Buffer> {
  const image = await cluster.open({ ...spec, snap });
  try {
    return await contentOf(image);
  } finally {
    await image.close();
  }
}

test('from one cluster to another, with snapshots and metadata', async () => {
  const [from, to] = [await makePool(), await makePool()];
  await makeSource(from);
  await deepCopyImage(from, vm, to, copy);
  for (const snap of ['s1', null]) {
    expect((await read(to, copy, snap)).equals(await read(from, vm, snap))).toBe(true);
  }
  expect(await to.metadata(copy)).toEqual(new Map([['color', 'blue']]));
  await copyImage(from, { ...vm, snap: 's1' }, to, vm);
  expect((await read(to, vm)).equals(await read(from, vm, 's1'))).toBe(true);
});

test('a clone goes to another cluster when it is flattened, and not without its parent', async () => {
  const [from, to] = [await makePool(), await makePool()];
  await makeSource(from, { clone: true });
  await expect(deepCopyImage(from, vm, to, copy)).rejects.toMatchObject({ code: 'unsupported' });
  expect(await to.list('volumes', '')).toEqual([]);
  await deepCopyImage(from, vm, to, copy, { flatten: true });
  for (const snap of ['s1', null]) {
    expect((await read(to, copy, snap)).equals(await read(from, vm, snap))).toBe(true);
  }
});

test('a parent that is in the trash gets no more clones', async () => {
  const cluster = await makePool();
  await makeSource(cluster, { clone: true });
  const parent = { ...vm, image: 'parent' };
  await cluster.clone({ ...parent, snap: 'base' }, { ...vm, image: 'second' }, { cloneFormat: 2 });
  await cluster.remove({ ...vm, image: 'second' });
  const image = await cluster.openToWrite(parent);
  const kid = { ...vm, image: 'kid' };
  await image.createSnapshot('other');
  await image.close();
  await cluster.clone({ ...parent, snap: 'other' }, kid, { cloneFormat: 2 });
  const again = await cluster.openToWrite(parent);
  await again.removeSnapshot('other');
  await again.close();
  await expect(deepCopyImage(cluster, kid, cluster, copy)).rejects.toMatchObject({
    code: 'unsupported',
    hint: expect.stringContaining('--flatten'),
  });
  await deepCopyImage(cluster, kid, cluster, copy, { flatten: true });
  expect((await read(cluster, copy)).equals(await read(cluster, kid))).toBe(true);
});

const changing = new Set<PropertyKey>([
  'create',
  'clone',
  'rename',
  'setMetadata',
  'removeMetadata',
  'openToWrite',
  'write',
  'writeZeroes',
  'resize',
  'flush',
  'createSnapshot',
  'protectSnapshot',
]);

/** A cluster of which the n-th call that changes something fails, and no other. */
function failingAt(cluster: Cluster, n: number): { cluster: Cluster; failed: () => boolean } {
  let calls = 0;
  const around = <T extends object>(real: T): T =>
    new Proxy(real, {
      get(target, name) {
        const value = Reflect.get(target, name);
        if (typeof value !== 'function' || !changing.has(name)) return value;
        return async (...args: unknown[]) => {
          calls += 1;
          if (calls === n) throw new RbdeltaError('io', `call ${n} failed: ${String(name)}`);
          const result: unknown = await value.apply(target, args);
          return name === 'openToWrite' ? around(result as ClusterImage) : result;
        };
      },
    });
  return { cluster: around(cluster), failed: () => calls >= n };
}

test.each([
  ['cp', { clone: false }],
  ['deep cp', { clone: false }],
  ['deep cp', { clone: true }],
] as const)(
  '%s (%o): whichever call fails, nothing is left of the copy, and a second try makes it',
  async (verb, shape) => {
    const cluster = await makePool();
    await makeSource(cluster, shape);
    const before = await cluster.list('volumes', '');
    const run = verb === 'cp' ? copyImage : deepCopyImage;
    let n = 1;
    for (; ; n += 1) {
      const faulty = failingAt(cluster, n);
      const result = await run(faulty.cluster, vm, faulty.cluster, copy).catch((error: unknown) => error);
      if (!faulty.failed()) break;
      expect(result).toMatchObject({ code: 'io', message: expect.stringContaining(`call ${n} failed`) });
      expect(await cluster.list('volumes', '')).toEqual(before);
      expect((await cluster.check(null)).findings).toEqual([]);
      expect(await cluster.sweep()).toEqual({ files: 0, bytes: 0 });
    }
    expect(n).toBeGreaterThan(6);
    expect((await read(cluster, copy)).equals(await read(cluster, vm))).toBe(true);
    expect((await cluster.check(null)).findings).toEqual([]);
  },
);
