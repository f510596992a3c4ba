// What copies of images must be in every cluster: `cp` and `deep cp`, src/ops/copy-image.ts and deep-copy.ts.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { Cluster, ClusterImage, CreateOptions, Image } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { copyImage } from '../../src/ops/copy-image.ts';
import { deepCopyImage } from '../../src/ops/deep-copy.ts';
import { noise } from '../kit/noise.ts';
import type { ClusterUnderTest } from './cluster.ts';
import { contentOf, statesOf } from './content.ts';

const KiB = 1024;
const objectBytes = 64 * KiB;
const objects = 8;
const size = objects * objectBytes;
const [GONE, EXISTS, CLEAN] = [0, 1, 3];

export function copiesSuite(name: string, make: () => Promise<ClusterUnderTest>): void {
  describe(`${name}, with copies`, () => {
    let under: ClusterUnderTest;
    let cluster: Cluster;
    let made = 0;
    let source: ImageSpec;
    let copy: ImageSpec;

    beforeAll(async () => {
      under = await make();
      cluster = under.cluster;
    });
    afterAll(() => under?.dispose());
    beforeEach(() => {
      made += 1;
      source = { pool: under.pool, namespace: '', image: `source-${made}`, snap: null };
      copy = { ...source, image: `copy-${made}` };
    });

    async function using<T, I extends Image>(opening: Promise<I>, use: (image: I) => Promise<T>): Promise<T> {
      const image = await opening;
      try {
        return await use(image);
      } finally {
        await image.close();
      }
    }
    const writing = <T>(spec: ImageSpec, use: (image: ClusterImage) => Promise<T>) =>
      using(cluster.openToWrite(spec), use);
    const info = (spec: ImageSpec) => using(cluster.open(spec), (image) => image.info());
    const read = (spec: ImageSpec, snap: string | null = null) => using(cluster.open({ ...spec, snap }), contentOf);
    const states = (spec: ImageSpec, snap: string | null = null) =>
      using(cluster.open(spec), async (image) => {
        const { snapshots } = await image.info();
        return statesOf(image, snap === null ? null : snapshots.find((one) => one.name === snap)!.id);
      });
    const cp = (spec: ImageSpec, options = {}) => copyImage(cluster, spec, cluster, copy, options);
    const deep = (spec: ImageSpec, options = {}) => deepCopyImage(cluster, spec, cluster, copy, options);

    /** Something in the even objects, half of the first one zeros, snapshot `s1`; then changed, grown, `s2`; then changed. */
    async function makeSource(options: Partial<CreateOptions> = {}): Promise<void> {
      await cluster.create(source, { size, order: 16, ...options });
      await cluster.setMetadata(source, 'color', 'blue');
      await writing(source, async (image) => {
        for (let object = 0; object < objects; object += 2) {
          await image.write(object * objectBytes, noise(object + 1, objectBytes));
        }
        await image.write(0, Buffer.alloc(objectBytes / 2));
        await image.createSnapshot('s1');
        await image.protectSnapshot('s1');
        await image.resize(size + objectBytes);
        await image.write(objectBytes, noise(20, 4 * KiB));
        await image.writeZeroes(2 * objectBytes, objectBytes);
        await image.createSnapshot('s2');
        await image.write(size, noise(30, 1000));
        await image.writeZeroes(4 * objectBytes + 100, 5000);
      });
    }

    /** Those versions (null is the head) that do not read as the source's do. */
    async function different(snaps: (string | null)[]): Promise<(string | null)[]> {
      const found: (string | null)[] = [];
      for (const snap of snaps) if (!(await read(copy, snap)).equals(await read(source, snap))) found.push(snap);
      return found;
    }

    describe('cp', () => {
      test('has the bytes, geometry, features and metadata of its source, and no snapshots', async () => {
        await makeSource({ features: 0x5 });
        const done = await cp(source);
        expect(done).toEqual({ size: size + objectBytes, snapshots: [], writtenBytes: expect.any(Number) });
        expect(await different([null])).toEqual([]);
        const { order, features, stripeUnit, stripeCount } = await info(source);
        expect(await info(copy)).toMatchObject({ order, features, stripeUnit, stripeCount, snapshots: [] });
        expect(await cluster.metadata(copy)).toEqual(new Map([['color', 'blue']]));
      });

      test('of a snapshot, is as that one was', async () => {
        await makeSource();
        await cp({ ...source, snap: 's1' });
        expect((await read(copy)).equals(await read(source, 's1'))).toBe(true);
        expect(await states(copy)).toEqual([EXISTS, GONE, EXISTS, GONE, EXISTS, GONE, EXISTS, GONE]);
      });

      test('takes no space for zeros', async () => {
        await cluster.create(source, { size, order: 16 });
        await writing(source, async (image) => {
          await image.write(0, Buffer.alloc(objectBytes)); // zeros that are there
          await image.write(objectBytes, noise(1, 4 * KiB));
        });
        expect(await cp(source)).toMatchObject({ writtenBytes: 4 * KiB });
        expect(await states(source)).toEqual([EXISTS, EXISTS, ...Array(objects - 2).fill(GONE)]);
        expect(await states(copy)).toEqual([GONE, EXISTS, ...Array(objects - 2).fill(GONE)]);
      });

      test('writes zeros that are there when it is told to', async () => {
        await cluster.create(source, { size, order: 16 });
        await writing(source, (image) => image.write(0, Buffer.alloc(objectBytes)));
        expect(await cp(source, { sparseBytes: 0 })).toMatchObject({ writtenBytes: objectBytes });
        expect((await states(copy))[0]).toBe(EXISTS);
      });

      test('may have other objects, stripes and features', async () => {
        await makeSource();
        const create = { order: 15, stripeUnit: 4 * KiB, stripeCount: 3, features: 0x5 };
        await cp(source, { create });
        expect(await different([null])).toEqual([]);
        expect(await info(copy)).toMatchObject({ order: 15, stripeUnit: 4 * KiB, stripeCount: 3, features: 0x7 });
      });

      test('with larger objects, is not striped when its source is not', async () => {
        await makeSource();
        await cp(source, { create: { order: 18 } });
        expect(await different([null])).toEqual([]);
        expect(await info(copy)).toMatchObject({ order: 18, stripeCount: 1, features: 0x3d });
      });

      test('of a clone, holds what the clone shows', async () => {
        await makeSource();
        const clone = { ...source, image: `clone-${made}` };
        await cluster.clone({ ...source, snap: 's1' }, clone, {});
        await writing(clone, (image) => image.write(5000, noise(40, 5000)));
        await cp(clone);
        expect((await read(copy)).equals(await read(clone))).toBe(true);
        expect((await info(copy)).parent).toBeNull();
      });
    });

    describe.each(['cp', 'deep cp'] as const)('%s', (verb) => {
      const run = verb === 'cp' ? cp : deep;
      const others = async () => (await cluster.list(under.pool, '')).filter((one) => !one.startsWith('source-'));

      test('refuses a name that is taken, and what is not there', async () => {
        await makeSource();
        await expect(run(source, {})).resolves.toBeDefined();
        const before = await info(copy);
        await expect(run(source, {})).rejects.toMatchObject({ code: 'exists' });
        await expect(run({ ...source, snap: 'none' }, {})).rejects.toMatchObject({ code: 'notFound' });
        await expect(run({ ...source, image: 'none' }, {})).rejects.toMatchObject({ code: 'notFound' });
        expect(await info(copy)).toEqual(before);
        copy = { ...copy, namespace: 'none' };
        await expect(run(source, {})).rejects.toMatchObject({ code: 'notFound' });
      });

      test('leaves nothing when it is interrupted, or what is asked for cannot be made', async () => {
        await makeSource();
        const before = await others();
        const controller = new AbortController();
        const interrupted = { signal: controller.signal, onProgress: () => controller.abort() };
        await expect(run(source, interrupted)).rejects.toMatchObject({ code: 'interrupted' });
        expect(await others()).toEqual(before);
        const impossible = { create: { order: 16, stripeUnit: 5000, stripeCount: 2 } };
        await expect(run(source, impossible)).rejects.toMatchObject({ code: 'invalid' });
        expect(await others()).toEqual(before);
      });
    });

    describe('deep cp', () => {
      test('has all snapshots as they were, with their sizes, protection and maps', async () => {
        await makeSource();
        expect(await deep(source)).toMatchObject({ size: size + objectBytes, snapshots: ['s1', 's2'] });
        expect(await different(['s1', 's2', null])).toEqual([]);
        expect(await info(copy)).toMatchObject({
          features: 0x3d,
          snapshots: [
            { name: 's1', size, protection: 'protected' },
            { name: 's2', size: size + objectBytes, protection: 'unprotected' },
          ],
        });
        expect(await cluster.metadata(copy)).toEqual(new Map([['color', 'blue']]));
        for (const snap of ['s1', 's2', null]) expect(await states(copy, snap)).toEqual(await states(source, snap));
        expect(await states(copy, 's2')).toEqual([CLEAN, EXISTS, GONE, GONE, CLEAN, GONE, CLEAN, GONE, GONE]);
      });

      test('up to a snapshot, reads as that one and has none after it', async () => {
        await makeSource();
        expect(await deep({ ...source, snap: 's1' })).toMatchObject({ size, snapshots: ['s1'] });
        expect((await read(copy)).equals(await read(source, 's1'))).toBe(true);
        expect(await info(copy)).toMatchObject({ size, snapshots: [{ name: 's1' }] });
      });

      test('may have other objects and stripes', async () => {
        await makeSource();
        await deep(source, { create: { order: 15, stripeUnit: 4 * KiB, stripeCount: 3 } });
        expect(await different(['s1', 's2', null])).toEqual([]);
        expect(await info(copy)).toMatchObject({ order: 15, stripeUnit: 4 * KiB, stripeCount: 3 });
      });

      test('with smaller objects, is not striped when its source is not', async () => {
        await makeSource();
        await deep(source, { create: { order: 14 } });
        expect(await different(['s1', 's2', null])).toEqual([]);
        expect(await info(copy)).toMatchObject({ order: 14, stripeCount: 1, features: 0x3d });
      });

      /** A clone of s1 that hides one of the parent's objects, was shrunk and grown between its snapshots. */
      async function makeClone(options: { cloneFormat?: 1 | 2; features?: number } = {}): Promise<ImageSpec> {
        await makeSource();
        const clone = { ...source, image: `source-${made}-clone` };
        await cluster.clone({ ...source, snap: 's1' }, clone, options);
        await cluster.setMetadata(clone, 'shape', 'round');
        await writing(clone, async (image) => {
          await image.write(3 * objectBytes, noise(50, 100));
          await image.write(4 * objectBytes + 8 * KiB, noise(51, 4 * KiB));
          await image.writeZeroes(2 * objectBytes, objectBytes);
          await image.write(7 * objectBytes, noise(52, objectBytes));
          await image.createSnapshot('k1');
          await image.resize(5 * objectBytes);
          await image.createSnapshot('k2');
          await image.resize(size);
          await image.write(6 * objectBytes, noise(53, 1000));
        });
        return clone;
      }

      test.each([1, 2] as const)('of a clone of format %i, is a clone of the same parent', async (cloneFormat) => {
        const clone = await makeClone({ cloneFormat });
        source = { ...clone };
        await deep(clone, { cloneFormat });
        expect(await different(['k1', 'k2', null])).toEqual([]);
        const { parent, opFeatures, snapshots } = await info(clone);
        expect(await info(copy)).toMatchObject({
          parent: { image: parent?.image, snap: 's1', overlap: 5 * objectBytes },
          opFeatures,
          snapshots: snapshots.map(({ name, parentOverlap, size: bytes }) => ({ name, parentOverlap, size: bytes })),
        });
        expect(await cluster.metadata(copy)).toEqual(await cluster.metadata(clone));
        const children = await cluster.children({ ...clone, image: parent!.image, snap: 's1' });
        expect(children.map(({ image }) => image).sort()).toEqual([clone.image, copy.image].sort());
        for (const snap of ['k1', 'k2', null]) {
          const there = (found: number[]) => found.map((state) => state !== GONE);
          expect(there(await states(copy, snap))).toEqual(there(await states(clone, snap)));
        }
      });

      test('of a clone, flattened, holds what the clone shows', async () => {
        const clone = await makeClone();
        source = { ...clone };
        await deep(clone, { flatten: true });
        expect(await different(['k1', 'k2', null])).toEqual([]);
        expect((await info(copy)).parent).toBeNull();
        const { parent } = await info(clone);
        expect(await cluster.children({ ...clone, image: parent!.image, snap: null })).toHaveLength(1);
      });

      test('of a clone that was rolled back after it was shrunk, has what came back', async () => {
        const clone = await makeClone();
        source = { ...clone };
        await writing(clone, async (image) => {
          await image.rollback('k1');
          await image.write(100, noise(60, 100));
        });
        await deep(clone);
        expect(await different(['k1', 'k2', null])).toEqual([]);
      });

      test('of a clone whose head was flattened, keeps the parent for its snapshots', async () => {
        const clone = await makeClone({ features: 0x1d });
        source = { ...clone };
        await writing(clone, (image) => image.flatten());
        await deep(clone);
        expect(await different(['k1', 'k2', null])).toEqual([]);
        expect((await info(copy)).parent).toBeNull();
        expect((await info({ ...copy, snap: 'k1' })).parent).toMatchObject({ snap: 's1', overlap: size });
      });

      test.each([1, 2, 3])('of a random history (%i), every version reads the same', async (seed) => {
        await makeHistory(seed);
        await deep(source);
        const { snapshots } = await info(source);
        expect(await different([...snapshots.map((snap) => snap.name), null])).toEqual([]);
      });

      async function makeHistory(seed: number): Promise<void> {
        const numbers = noise(seed, 8000);
        let next = 0;
        const below = (limit: number): number => numbers.readUInt32LE((next += 4) % 7990) % limit;
        await makeSource();
        const clone = { ...source, image: `source-${made}-clone` };
        await cluster.clone({ ...source, snap: 's1' }, clone, { features: seed % 2 === 0 ? 0x3d : 0x1d });
        source = clone;
        const snaps: string[] = [];
        await writing(clone, async (image) => {
          for (let step = 0; step < 40; step += 1) {
            const { size: now } = await image.info();
            const kind = below(12);
            const offset = below(now);
            const length = Math.min(now - offset, 1 + below(below(3) === 0 ? 3 * objectBytes : 9000));
            if (kind < 5) await image.write(offset, noise(1000 + step, length));
            else if (kind < 7) await image.writeZeroes(offset, length);
            else if (kind < 8) await image.resize((1 + below(objects + 2)) * objectBytes - below(2) * 700);
            else if (kind < 9 && snaps.length > 0) await image.rollback(snaps[below(snaps.length)]!);
            else if (kind < 11) {
              snaps.push(`h${step}`);
              await image.createSnapshot(`h${step}`);
            } else if (snaps.length > 1) await image.removeSnapshot(snaps.splice(below(snaps.length), 1)[0]!);
          }
        });
      }
    });
  });
}
