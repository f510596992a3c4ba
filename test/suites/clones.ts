// What every cluster must do with clones. Written against src/image/port.ts alone.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { CloneOptions, Cluster, ClusterImage, CreateOptions, Image } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { noise } from '../kit/noise.ts';
import type { ClusterUnderTest } from './cluster.ts';
import { contentOf, statesOf } from './content.ts';

const KiB = 1024;
const objectBytes = 64 * KiB;
const objects = 8;
const size = objects * objectBytes;
const [GONE, EXISTS, CLEAN] = [0, 1, 3];

export function clonesSuite(name: string, make: () => Promise<ClusterUnderTest>): void {
  describe(`${name}, with clones`, () => {
    let under: ClusterUnderTest;
    let cluster: Cluster;
    let made = 0;
    let parent: ImageSpec;
    let child: ImageSpec;
    /** What the parent's snapshot `base` reads as: something in the even objects. */
    let base: Buffer;

    beforeAll(async () => {
      under = await make();
      cluster = under.cluster;
    });
    afterAll(() => under?.dispose());
    beforeEach(() => {
      made += 1;
      parent = { pool: under.pool, namespace: '', image: `parent-${made}`, snap: null };
      child = { ...parent, image: `child-${made}` };
    });

    const at = (snap: string): ImageSpec => ({ ...parent, snap });

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
    const read = (spec: ImageSpec, snap: string | null = null) => using(cluster.open({ ...spec, snap }), contentOf);
    const states = (spec: ImageSpec, snap: string | null = null) =>
      using(cluster.open(spec), async (image) => {
        const { snapshots } = await image.info();
        return statesOf(image, snap === null ? null : snapshots.find((one) => one.name === snap)!.id);
      });

    async function makeParent(options: Partial<CreateOptions> = {}): Promise<void> {
      await cluster.create(parent, { size, order: 16, ...options });
      base = Buffer.alloc(size);
      await writing(parent, async (image) => {
        for (let object = 0; object < objects; object += 2) {
          const data = noise(object + 1, objectBytes);
          data.copy(base, object * objectBytes);
          await image.write(object * objectBytes, data);
        }
        await image.createSnapshot('base');
        await image.protectSnapshot('base');
        await image.write(0, noise(99, size)); // nothing of this shows
      });
    }

    async function makeChild(options: CloneOptions = {}): Promise<void> {
      await makeParent();
      await cluster.clone(at('base'), child, options);
    }

    describe.each([1, 2] as const)('of format %i', (cloneFormat) => {
      test('a clone reads as its parent, and says what it is', async () => {
        await makeChild({ cloneFormat });
        expect((await read(child)).equals(base)).toBe(true);
        await using(cluster.open(child), async (image) => {
          expect(await image.info()).toMatchObject({
            size,
            order: 16,
            features: cloneFormat === 1 ? 0x3d : 0x13d,
            opFeatures: cloneFormat === 1 ? 0 : 2,
            parent: { pool: parent.pool, namespace: '', image: parent.image, snap: 'base', overlap: size },
          });
          const opened = await image.parent();
          expect((await contentOf(opened!)).equals(base)).toBe(true);
          await opened!.close();
          expect(await statesOf(image, null)).toEqual(Array(objects).fill(GONE));
        });
        await using(cluster.open(parent), async (image) => {
          expect((await image.info()).opFeatures).toBe(cloneFormat === 1 ? 0 : 1);
        });
      });

      test('children are listed, until they are removed or flattened', async () => {
        await makeChild({ cloneFormat });
        const other = { ...child, image: `${child.image}-z` };
        await cluster.clone(at('base'), other, { cloneFormat });
        const names = async (spec: ImageSpec) => (await cluster.children(spec)).map(({ image }) => image);
        expect(await names(parent)).toEqual([child.image, other.image]);
        expect(await names(at('base'))).toEqual([child.image, other.image]);
        await writing(child, (image) => image.flatten());
        expect(await names(at('base'))).toEqual([other.image]);
        await cluster.remove(other);
        expect(await names(at('base'))).toEqual([]);
        await writing(parent, async (image) => {
          await image.unprotectSnapshot('base');
          await image.removeSnapshot('base');
          expect(await image.info()).toMatchObject({ opFeatures: 0, features: 0x3d, snapshots: [] });
        });
        expect((await read(child)).equals(base)).toBe(true);
        await cluster.remove(parent);
      });
    });

    test('format 1 asks for protection, and keeps it', async () => {
      await makeParent();
      await writing(parent, (image) => image.unprotectSnapshot('base'));
      await expect(cluster.clone(at('base'), child, { cloneFormat: 1 })).rejects.toMatchObject({ code: 'invalid' });
      await writing(parent, (image) => image.protectSnapshot('base'));
      await cluster.clone(at('base'), child, { cloneFormat: 1 });
      await expect(cluster.clone(at('base'), child, { cloneFormat: 1 })).rejects.toMatchObject({ code: 'exists' });
      await expect(cluster.clone(at('none'), child, {})).rejects.toMatchObject({ code: 'notFound' });
      await writing(parent, async (image) => {
        await expect(image.unprotectSnapshot('base')).rejects.toMatchObject({ code: 'busy' });
        await expect(image.removeSnapshot('base')).rejects.toMatchObject({ code: 'busy' });
        expect((await image.info()).snapshots).toMatchObject([{ name: 'base', protection: 'protected' }]);
      });
      await expect(cluster.remove(parent)).rejects.toMatchObject({ code: 'notEmpty' });
    });

    test('of format 2, a removed snapshot stays in the trash until its last clone has left', async () => {
      await makeParent();
      await writing(parent, (image) => image.unprotectSnapshot('base'));
      await cluster.clone(at('base'), child, { cloneFormat: 2 });
      await writing(parent, async (image) => {
        await image.removeSnapshot('base');
        expect(await image.info()).toMatchObject({ opFeatures: 9, snapshots: [{ namespace: 'trash' }] });
      });
      expect((await read(child)).equals(base)).toBe(true);
      await expect(cluster.open(at('base'))).rejects.toMatchObject({ code: 'notFound' });
      await expect(cluster.remove(parent)).rejects.toMatchObject({ code: 'notEmpty' });
      await writing(child, (image) => image.flatten());
      expect((await using(cluster.open(parent), (image) => image.info())).snapshots).toEqual([]);
      await cluster.remove(parent);
      expect((await read(child)).equals(base)).toBe(true);
    });

    test('the first write copies the object up, for snapshots as well', async () => {
      await makeChild();
      const before = Buffer.from(base);
      await writing(child, async (image) => {
        await image.createSnapshot('one');
        await image.createSnapshot('two');
        for (const offset of [2 * objectBytes + 1000, 3 * objectBytes + 1000]) {
          const data = noise(offset, 5000);
          data.copy(base, offset);
          await image.write(offset, data);
        }
        await image.flush();
        expect((await contentOf(image)).equals(base)).toBe(true);
        expect(await statesOf(image, null)).toEqual([GONE, GONE, EXISTS, EXISTS, GONE, GONE, GONE, GONE]);
      });
      // only what is not zero in the parent is kept for them
      expect(await states(child, 'one')).toEqual([GONE, GONE, EXISTS, GONE, GONE, GONE, GONE, GONE]);
      expect(await states(child, 'two')).toEqual([GONE, GONE, CLEAN, GONE, GONE, GONE, GONE, GONE]);
      for (const snap of ['one', 'two']) expect((await read(child, snap)).equals(before)).toBe(true);
      expect((await read(child)).equals(base)).toBe(true);
      expect((await read(parent, 'base')).equals(before)).toBe(true);
    });

    test('what is zeroed hides the parent', async () => {
      await makeChild();
      await writing(child, async (image) => {
        for (const [offset, length] of [
          [0, objectBytes],
          [objectBytes, objectBytes],
          [2 * objectBytes + 1000, objectBytes - 1000],
          [4 * objectBytes + 1000, 2000],
          [5 * objectBytes + 1000, 2000],
        ] as const) {
          await image.writeZeroes(offset, length);
          base.fill(0, offset, offset + length);
        }
        await image.flush();
        expect(await statesOf(image, null)).toEqual([EXISTS, EXISTS, EXISTS, GONE, EXISTS, EXISTS, GONE, GONE]);
        await image.createSnapshot('one');
        for (const object of [6, 7]) await image.writeZeroes(object * objectBytes, objectBytes);
        await image.flush();
        expect((await statesOf(image, null)).slice(6)).toEqual([EXISTS, EXISTS]);
      });
      expect((await states(child, 'one')).slice(6)).toEqual([EXISTS, GONE]);
      expect((await read(child, 'one')).equals(base)).toBe(true);
      base.fill(0, 6 * objectBytes);
      expect((await read(child)).equals(base)).toBe(true);
    });

    test('the overlap shrinks with the image, and does not come back', async () => {
      await makeChild();
      const before = Buffer.from(base);
      const cut = 4 * objectBytes + 1000;
      await writing(child, async (image) => {
        await image.createSnapshot('one');
        await image.resize(cut);
        expect((await image.info()).parent).toMatchObject({ overlap: cut });
        await image.resize(size);
        expect((await image.info()).parent).toMatchObject({ overlap: cut });
        expect((await image.info()).snapshots[0]).toMatchObject({ parentOverlap: size });
        await image.createSnapshot('two');
        await image.resize(0);
        await image.rollback('two');
        expect((await image.info()).parent).toMatchObject({ overlap: 0 });
      });
      expect((await states(child, 'one')).slice(3)).toEqual([GONE, EXISTS, GONE, EXISTS, GONE]);
      base.fill(0, cut);
      expect((await read(child, 'one')).equals(before)).toBe(true);
      expect((await read(child, 'two')).equals(base)).toBe(true);
      expect((await read(child)).equals(base)).toBe(true);
    });

    test.each([
      ['with deep-flatten, snapshots leave the parent as well', 0x3d],
      ['without it, they keep it until the last of them is gone', 0x1d],
    ])('flatten: %s', async (_, features) => {
      await makeChild({ features });
      const before = Buffer.from(base);
      const seen: [number, number][] = [];
      const deep = features === 0x3d;
      await writing(child, async (image) => {
        await image.createSnapshot('one');
        await image.write(2 * objectBytes, noise(77, 100));
        await image.flatten((done, total) => seen.push([done, total]));
        const info = await image.info();
        expect(info.parent).toBeNull();
        expect(info.snapshots[0]?.parentOverlap).toBe(deep ? null : size);
        await expect(image.flatten()).rejects.toMatchObject({ code: 'invalid' });
      });
      noise(77, 100).copy(base, 2 * objectBytes);
      for (const [done, total] of seen) expect(done).toBeLessThanOrEqual(total);
      expect(seen.length).toBeGreaterThan(0);
      expect((await read(child)).equals(base)).toBe(true);
      expect((await read(child, 'one')).equals(before)).toBe(true);
      expect(await states(child)).toEqual([EXISTS, GONE, EXISTS, GONE, EXISTS, GONE, EXISTS, GONE]);
      expect(await states(child, 'one')).toEqual([EXISTS, GONE, EXISTS, GONE, EXISTS, GONE, EXISTS, GONE]);
      expect((await cluster.children(parent)).length).toBe(deep ? 0 : 1);
      await writing(child, (image) => image.removeSnapshot('one'));
      expect(await cluster.children(parent)).toEqual([]);
      await writing(parent, (image) => image.unprotectSnapshot('base'));
    });

    test('a clone of a clone reads through both, with a layout of its own', async () => {
      await makeChild();
      await writing(child, async (image) => {
        const data = noise(5, 3 * objectBytes);
        data.copy(base, 3 * objectBytes + 77);
        await image.write(3 * objectBytes + 77, data);
        await image.writeZeroes(0, 1000);
        base.fill(0, 0, 1000);
        await image.createSnapshot('mid');
        await image.protectSnapshot('mid');
      });
      const grandchild = { ...child, image: `${child.image}-grand` };
      const layout = { order: 17, stripeUnit: 16 * KiB, stripeCount: 3 };
      await cluster.clone({ ...child, snap: 'mid' }, grandchild, layout);
      expect((await read(grandchild)).equals(base)).toBe(true);
      const edge = { offset: size - 200_001, data: noise(6, 100_000) };
      edge.data.copy(base, edge.offset);
      await writing(grandchild, async (image) => {
        await image.write(edge.offset, edge.data);
        expect((await contentOf(image)).equals(base)).toBe(true);
        await image.flatten();
      });
      expect((await read(grandchild)).equals(base)).toBe(true);
    });

    test('metadata is inherited', async () => {
      await makeParent();
      await cluster.setMetadata(parent, 'color', 'blue');
      await cluster.clone(at('base'), child, {});
      expect([...(await cluster.metadata(child))]).toEqual([['color', 'blue']]);
    });

    test('what changed: from the beginning the parent counts, from a snapshot it does not', async () => {
      await makeChild();
      const changed = async (image: Image, from: string | null) => {
        const found: [number, number, boolean][] = [];
        await image.changedExtents(from, { offset: 0, length: size }, (offset, length, exists) =>
          found.push([offset / 1000, length, exists]),
        );
        return found;
      };
      await writing(child, async (image) => {
        await image.writeZeroes(2 * objectBytes, objectBytes);
        await image.write(3 * objectBytes + 4096, noise(1, 4096));
        await image.createSnapshot('one');
        await image.writeZeroes(4 * objectBytes, objectBytes);
        await image.write(6 * objectBytes + 8192, noise(2, 4096));
        await image.flush();
        const whole = (object: number, exists: boolean) => [(object * objectBytes) / 1000, objectBytes, exists];
        expect(await changed(image, 'one')).toEqual([whole(4, false), [(6 * objectBytes + 8192) / 1000, 4096, true]]);
        expect(await using(cluster.open({ ...child, snap: 'one' }), (one) => changed(one, null))).toEqual([
          whole(0, true),
          whole(2, true),
          [(3 * objectBytes) / 1000, 8192, true],
          whole(4, true),
          whole(6, true),
        ]);
      });
    });
  });
}
