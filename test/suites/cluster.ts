// What every adapter of the Cluster port must do, whichever it is. Written against src/image/port.ts alone.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { nameFromBytes } from '../../src/bytes/text.ts';
import { decodeObjectMap, objectState } from '../../src/format/object-map.ts';
import type { Cluster, CreateOptions, Image, WritableImage } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';

export interface ClusterUnderTest {
  cluster: Cluster;
  /** A pool without images. */
  pool: string;
  /** Closes the cluster and removes what was made. */
  dispose(): Promise<void>;
}

const KiB = 1024;
const objectBytes = 64 * KiB;
const small: CreateOptions = { size: 16 * objectBytes, order: 16 };

export function clusterSuite(name: string, make: () => Promise<ClusterUnderTest>): void {
  describe(`${name}, as any cluster`, () => {
    let under: ClusterUnderTest;
    let cluster: Cluster;
    let made = 0;
    let at: ImageSpec;

    beforeAll(async () => {
      under = await make();
      cluster = under.cluster;
    });
    afterAll(() => under?.dispose());
    beforeEach(() => {
      at = { pool: under.pool, namespace: '', image: `image-${++made}`, snap: null };
    });

    /** Makes an image and opens it to write; closed and removed again whatever happens. */
    async function withImage(options: CreateOptions, use: (image: WritableImage) => Promise<void>): Promise<void> {
      await cluster.create(at, options);
      const image = await cluster.openToWrite(at);
      try {
        await use(image);
      } finally {
        await image.close();
      }
    }

    async function withOpen<T>(snap: string | null, use: (image: Image) => Promise<T>): Promise<T> {
      const image = await cluster.open({ ...at, snap });
      try {
        return await use(image);
      } finally {
        await image.close();
      }
    }

    const contentAt = (snap: string | null): Promise<Buffer> =>
      withOpen(snap, async (image) => contentOf(image, (await image.info()).size));

    describe('images', () => {
      test('a new image is what was asked for, and reads as zeros', async () => {
        const options = { size: 10 * objectBytes + 123, order: 16, features: 0x3d };
        await cluster.create(at, options);
        await withOpen(null, async (image) => {
          expect(image.kind).toBe(cluster.kind);
          const info = await image.info();
          expect(info).toMatchObject({
            name: at.image,
            pool: at.pool,
            namespace: '',
            format: 2,
            size: options.size,
            order: 16,
            stripeUnit: objectBytes,
            stripeCount: 1,
            features: 0x3d,
            flags: 0,
            dataPool: null,
            parent: null,
            snapshots: [],
            snapshot: null,
          });
          expect(info.id).toMatch(/^[0-9a-zA-Z]{1,14}$/);
          expect(info.objectPrefix).toBe(`rbd_data.${info.id}`);
          expect(Math.abs(info.createdMs! - Date.now())).toBeLessThan(3_600_000);
          expect(await image.parent()).toBeNull();
          expect((await contentOf(image, options.size)).equals(Buffer.alloc(options.size))).toBe(true);
        });
      });

      test('without options an image has 4 MiB objects and the default features', async () => {
        await cluster.create(at, { size: 1 });
        await withOpen(null, async (image) => {
          expect(await image.info()).toMatchObject({ size: 1, order: 22, features: 0x3d, stripeCount: 1 });
        });
      });

      test('a striped image says so', async () => {
        await cluster.create(at, { ...small, stripeUnit: 16 * KiB, stripeCount: 3 });
        await withOpen(null, async (image) => {
          const info = await image.info();
          expect(info).toMatchObject({ stripeUnit: 16 * KiB, stripeCount: 3 });
          expect(info.features & 0x2).toBe(0x2);
        });
      });

      test('list names the images of a pool, sorted', async () => {
        const names = ['z', 'a', 'm'].map((letter) => `${at.image}-${letter}`);
        for (const image of names) await cluster.create({ ...at, image }, small);
        const listed = await cluster.list(at.pool, '');
        expect(listed.filter((name) => name.startsWith(at.image))).toEqual(names.toSorted());
        expect(listed).toEqual(listed.toSorted());
      });

      test('a removed image is gone', async () => {
        await withImage(small, (image) => image.write(5, pattern(1, 10)));
        await cluster.remove(at);
        await expect(cluster.open(at)).rejects.toMatchObject({ code: 'notFound' });
        expect(await cluster.list(at.pool, '')).not.toContain(at.image);
        // Its name is free, and nothing of its data is left.
        await cluster.create(at, small);
        expect((await contentAt(null)).equals(Buffer.alloc(small.size))).toBe(true);
      });

      test('what is not there is notFound, and the message names it', async () => {
        await cluster.create(at, small);
        const missing: Record<string, () => Promise<unknown>> = {
          'no-such-pool': () => cluster.open({ ...at, pool: 'no-such-pool' }),
          'no-such-image': () => cluster.open({ ...at, image: 'no-such-image' }),
          'no-such-snap': () => cluster.open({ ...at, snap: 'no-such-snap' }),
          'no-such-image2': () => cluster.openToWrite({ ...at, image: 'no-such-image2' }),
          'no-such-image3': () => cluster.remove({ ...at, image: 'no-such-image3' }),
          'no-such-image4': () => cluster.metadata({ ...at, image: 'no-such-image4' }),
          'no-such-pool2': () => cluster.create({ ...at, pool: 'no-such-pool2' }, small),
          'no-such-pool3': () => cluster.list('no-such-pool3', ''),
        };
        for (const [name, attempt] of Object.entries(missing)) {
          await expect(attempt()).rejects.toMatchObject({ code: 'notFound', message: expect.stringContaining(name) });
        }
      });

      test('a name that is taken is refused as exists', async () => {
        await cluster.create(at, small);
        await expect(cluster.create(at, small)).rejects.toMatchObject({ code: 'exists' });
      });

      test('a snapshot is not opened to write', async () => {
        await withImage(small, (image) => image.createSnapshot('s'));
        await expect(cluster.openToWrite({ ...at, snap: 's' })).rejects.toMatchObject({ code: 'invalid' });
      });

      test('metadata is kept, keys sorted', async () => {
        await cluster.create(at, small);
        expect([...(await cluster.metadata(at))]).toEqual([]);
        await cluster.setMetadata(at, 'zebra', 'stripes');
        await cluster.setMetadata(at, 'ant', 'einß = 1');
        await cluster.setMetadata(at, 'zebra', 'more stripes');
        expect([...(await cluster.metadata(at))]).toEqual([
          ['ant', 'einß = 1'],
          ['zebra', 'more stripes'],
        ]);
      });

      test('the pool is among the pools', async () => {
        const pools = await cluster.pools();
        expect(pools).toContain(at.pool);
        expect(pools).toEqual(pools.toSorted());
      });

      test('an image is closed twice without harm', async () => {
        await cluster.create(at, small);
        const image = await cluster.open(at);
        await image.close();
        await expect(image.close()).resolves.toBeUndefined();
      });
    });

    describe('bytes', () => {
      test('what is written anywhere reads back, through another handle as well', () =>
        withImage(small, async (image) => {
          const expected = Buffer.alloc(small.size);
          for (const [offset, length] of [
            [0, 1],
            [objectBytes - 1, 2],
            [3 * objectBytes + 511, 5 * objectBytes],
            [small.size - 7, 7],
          ] as const) {
            const data = pattern(offset + 1, length);
            await image.write(offset, data);
            data.copy(expected, offset);
          }
          expect((await contentOf(image, small.size)).equals(expected)).toBe(true);
          await image.flush();
          expect((await contentAt(null)).equals(expected)).toBe(true);
          const part = Buffer.alloc(objectBytes);
          await withOpen(null, (other) => other.read(objectBytes - 100, part));
          expect(part.equals(expected.subarray(objectBytes - 100, 2 * objectBytes - 100))).toBe(true);
        }));

      test('reading and writing nothing is fine', () =>
        withImage(small, async (image) => {
          await image.write(0, Buffer.alloc(0));
          await image.writeZeroes(10, 0);
          await image.read(small.size, Buffer.alloc(0));
          expect(await states(image, null)).toEqual(Array(16).fill(0));
        }));

      test('only the part of the buffer that is meant is written and filled', () =>
        withImage(small, async (image) => {
          const source = pattern(3, 1000);
          await image.write(100, source.subarray(200, 300));
          const into = Buffer.alloc(300, 0xee);
          await image.read(100, into.subarray(100, 200));
          expect(into.subarray(100, 200).equals(source.subarray(200, 300))).toBe(true);
          expect(into.subarray(0, 100).equals(Buffer.alloc(100, 0xee))).toBe(true);
          expect(into.subarray(200).equals(Buffer.alloc(100, 0xee))).toBe(true);
        }));

      test('a striped image keeps its bytes in order', async () => {
        const options = { size: 9 * objectBytes + 5, order: 16, stripeUnit: 16 * KiB, stripeCount: 3 };
        await withImage(options, async (image) => {
          const data = pattern(9, options.size);
          await image.write(0, data);
          expect((await contentOf(image, options.size)).equals(data)).toBe(true);
        });
      });

      test('many reads and writes may be under way at once', () =>
        withImage(small, async (image) => {
          const block = 4 * KiB;
          const data = pattern(7, small.size);
          const offsets = Array.from({ length: small.size / block }, (_, i) => i * block);
          await Promise.all(offsets.map((offset) => image.write(offset, data.subarray(offset, offset + block))));
          const parts = offsets.map(() => Buffer.alloc(block));
          await Promise.all(offsets.map((offset, i) => image.read(offset, parts[i]!)));
          expect(Buffer.concat(parts).equals(data)).toBe(true);
        }));

      test('a written buffer may be reused once the write is done', () =>
        withImage(small, async (image) => {
          const data = pattern(4, 4 * KiB);
          const copy = Buffer.from(data);
          await image.write(0, data);
          data.fill(0xff);
          await image.flush();
          const back = Buffer.alloc(4 * KiB);
          await image.read(0, back);
          expect(back.equals(copy)).toBe(true);
        }));

      test('zeroes are written to the byte, whole objects are freed', () =>
        withImage(small, async (image) => {
          const expected = pattern(5, small.size);
          await image.write(0, expected);
          for (const [offset, length] of [
            [100, 1],
            [511, 514],
            [3 * objectBytes - 10, 4 * objectBytes + 20],
            [small.size - 1, 1],
          ] as const) {
            await image.writeZeroes(offset, length);
            expected.fill(0, offset, offset + length);
          }
          await image.flush();
          expect((await contentOf(image, small.size)).equals(expected)).toBe(true);
          expect(await states(image, null)).toEqual([1, 1, 1, 0, 0, 0, 0, ...Array(9).fill(1)]);
        }));
    });

    describe('sizes', () => {
      test('an image that grows has holes there; what was cut off does not come back', () =>
        withImage(small, async (image) => {
          await image.write(0, pattern(1, small.size));
          const cut = 5 * objectBytes + 1000;
          await image.resize(cut);
          expect((await image.info()).size).toBe(cut);
          await image.resize(2 * small.size);
          expect((await image.info()).size).toBe(2 * small.size);
          const expected = Buffer.alloc(2 * small.size);
          pattern(1, small.size).copy(expected, 0, 0, cut);
          expect((await contentOf(image, 2 * small.size)).equals(expected)).toBe(true);
          expect((await states(image, null)).slice(6)).toEqual(Array(26).fill(0));
        }));

      test('resizing tells how far it is', () =>
        withImage(small, async (image) => {
          await image.write(0, pattern(1, small.size));
          const seen: [number, number][] = [];
          await image.resize(objectBytes, (done, total) => seen.push([done, total]));
          expect(seen.length).toBeGreaterThan(0);
          for (const [done, total] of seen) expect(done).toBeLessThanOrEqual(total);
        }));
    });

    describe('snapshots', () => {
      test('a snapshot keeps what the image was, whatever comes after', () =>
        withImage(small, async (image) => {
          const first = pattern(1, small.size);
          await image.write(0, first);
          await image.createSnapshot('one');
          await image.write(objectBytes + 5, pattern(2, 3 * objectBytes));
          await image.writeZeroes(8 * objectBytes, objectBytes);
          await image.resize(10 * objectBytes);
          await image.createSnapshot('two');
          await image.resize(12 * objectBytes);
          await image.write(0, pattern(3, 12 * objectBytes));

          const second = Buffer.from(first.subarray(0, 10 * objectBytes));
          pattern(2, 3 * objectBytes).copy(second, objectBytes + 5);
          second.fill(0, 8 * objectBytes, 9 * objectBytes);
          expect((await contentAt('one')).equals(first)).toBe(true);
          expect((await contentAt('two')).equals(second)).toBe(true);
          expect((await contentAt(null)).equals(pattern(3, 12 * objectBytes))).toBe(true);
        }));

      test('info tells all of them by rising id, and of the one that is open its size', () =>
        withImage(small, async (image) => {
          await image.createSnapshot('b');
          await image.resize(objectBytes);
          await image.createSnapshot('a');
          const { snapshots } = await image.info();
          expect(snapshots.map(({ name, size }) => [name, size])).toEqual([
            ['b', small.size],
            ['a', objectBytes],
          ]);
          expect(snapshots[0]!.id).toBeLessThan(snapshots[1]!.id);
          expect(snapshots[0]).toMatchObject({
            protection: 'unprotected',
            flags: 0,
            namespace: 'user',
            parentOverlap: null,
          });
          await withOpen('b', async (open) => {
            const info = await open.info();
            expect(info.size).toBe(small.size);
            expect(info.snapshot).toEqual(snapshots[0]);
            expect(info.snapshots).toEqual(snapshots);
          });
        }));

      test('an opened image sees snapshots come and go, and is told when its own is gone', () =>
        withImage(small, async (image) => {
          await image.createSnapshot('one');
          await withOpen('one', async (open) => {
            await image.createSnapshot('two');
            expect((await open.info()).snapshots.map(({ name }) => name)).toEqual(['one', 'two']);
            await image.removeSnapshot('one');
            await expect(open.info()).rejects.toMatchObject({ code: 'notFound' });
          });
          expect((await image.info()).snapshots.map(({ name }) => name)).toEqual(['two']);
        }));

      test.each([
        ['an @ and a /', 'a@b/c'],
        ['spaces and quotes', ` '"\\`],
        ['any script', 'Schnappschuß-写真-🙂'],
        ['bytes that are no text', nameFromBytes(Buffer.from([0x61, 0xff, 0xfe, 0x80, 0x62]))],
        ['a line feed', 'a\nb'],
        ['200 characters', 'n'.repeat(200)],
      ])('a name may have %s', async (_, name) => {
        await withImage(small, async (image) => {
          await image.write(0, pattern(1, 10));
          await image.createSnapshot(name);
          expect((await image.info()).snapshots.map((snapshot) => snapshot.name)).toEqual([name]);
          await image.write(0, pattern(2, 10));
          expect((await contentAt(name)).subarray(0, 10).equals(pattern(1, 10))).toBe(true);
          const found = await changes(image, name, 0, small.size);
          expect(found[0]!.offset).toBe(0);
          await image.removeSnapshot(name);
        });
      });

      test('a name that is taken is refused as exists, one that is not there as notFound', () =>
        withImage(small, async (image) => {
          await image.createSnapshot('one');
          await expect(image.createSnapshot('one')).rejects.toMatchObject({ code: 'exists' });
          await expect(image.removeSnapshot('two')).rejects.toMatchObject({ code: 'notFound' });
          await expect(image.rollback('two')).rejects.toMatchObject({ code: 'notFound' });
          await expect(image.protectSnapshot('two')).rejects.toMatchObject({ code: 'notFound' });
          await expect(image.unprotectSnapshot('two')).rejects.toMatchObject({ code: 'notFound' });
        }));

      test('a name with a NUL in it is refused', () =>
        withImage(small, async (image) => {
          await expect(image.createSnapshot('a\0b')).rejects.toMatchObject({ code: 'invalid' });
        }));

      test('a protected snapshot is not removed', () =>
        withImage(small, async (image) => {
          await image.createSnapshot('one');
          await image.protectSnapshot('one');
          expect((await image.info()).snapshots[0]).toMatchObject({ protection: 'protected' });
          await expect(image.removeSnapshot('one')).rejects.toMatchObject({ code: 'busy' });
          await expect(image.protectSnapshot('one')).rejects.toMatchObject({ code: 'busy' });
          await image.unprotectSnapshot('one');
          await expect(image.unprotectSnapshot('one')).rejects.toMatchObject({ code: 'invalid' });
          await image.removeSnapshot('one');
        }));

      test('an image with snapshots is not removed', async () => {
        await withImage(small, (image) => image.createSnapshot('one'));
        await expect(cluster.remove(at)).rejects.toMatchObject({ code: 'notEmpty' });
        await withImageAgain((image) => image.removeSnapshot('one'));
        await cluster.remove(at);
      });

      test('removing a snapshot between two leaves both as they were', () =>
        withImage(small, async (image) => {
          const kept: Record<string, Buffer> = {};
          for (const [seed, name] of ['one', 'two', 'three'].entries()) {
            await image.write(seed * objectBytes, pattern(seed + 10, 2 * objectBytes + 77));
            await image.createSnapshot(name);
            kept[name] = await contentAt(name);
          }
          await image.removeSnapshot('two');
          expect((await contentAt('one')).equals(kept['one']!)).toBe(true);
          expect((await contentAt('three')).equals(kept['three']!)).toBe(true);
          // What `two` had changed now counts as changed by `three`.
          expect((await states(image, (await image.info()).snapshots[1]!.id)).slice(0, 6)).toEqual([3, 1, 1, 1, 1, 0]);
        }));

      test('a rolled back image is the snapshot again, its size too', () =>
        withImage(small, async (image) => {
          const before = pattern(1, 5 * objectBytes);
          await image.write(0, before);
          await image.createSnapshot('one');
          await image.write(100, pattern(2, 8 * objectBytes));
          await image.writeZeroes(3 * objectBytes, objectBytes);
          await image.resize(20 * objectBytes);
          await image.write(19 * objectBytes, pattern(3, 100));
          const seen: [number, number][] = [];
          await image.rollback('one', (done, total) => seen.push([done, total]));
          expect((await image.info()).size).toBe(small.size);
          const expected = Buffer.alloc(small.size);
          before.copy(expected);
          expect((await contentOf(image, small.size)).equals(expected)).toBe(true);
          expect((await contentAt('one')).equals(expected)).toBe(true);
          for (const [done, total] of seen) expect(done).toBeLessThanOrEqual(total);
        }));

      async function withImageAgain(use: (image: WritableImage) => Promise<void>): Promise<void> {
        const image = await cluster.openToWrite(at);
        try {
          await use(image);
        } finally {
          await image.close();
        }
      }
    });

    describe('object maps', () => {
      test('the map says which objects are there, and which changed since the last snapshot', () =>
        withImage(small, async (image) => {
          await image.write(2 * objectBytes + 7, pattern(1, 10));
          await image.write(4 * objectBytes - 1, pattern(1, 2));
          await image.flush();
          const first = [0, 0, 1, 1, 1, ...Array(11).fill(0)];
          expect(await states(image, null)).toEqual(first);
          await image.createSnapshot('one');
          const [one] = (await image.info()).snapshots;
          expect(await states(image, one!.id)).toEqual(first);
          expect(await states(image, null)).toEqual([0, 0, 3, 3, 3, ...Array(11).fill(0)]);
          await image.write(3 * objectBytes, pattern(1, 10));
          await image.writeZeroes(4 * objectBytes, objectBytes);
          await image.write(15 * objectBytes, pattern(1, 10));
          await image.flush();
          expect(await states(image, null)).toEqual([0, 0, 3, 1, 0, ...Array(10).fill(0), 1]);
          expect(await states(image, one!.id)).toEqual(first);
        }));

      test('an image without the feature has none', () =>
        withImage({ ...small, features: 0x1 }, async (image) => {
          await image.write(0, pattern(1, 10));
          expect(await image.objectMap(null)).toBeNull();
        }));

      test('a snapshot that is not there has none', () =>
        withImage(small, async (image) => {
          expect(await image.objectMap(0x7fff)).toBeNull();
        }));
    });

    describe('changed extents', () => {
      test('from the beginning of time: what was written; from a snapshot: what was written since', () =>
        withImage(small, async (image) => {
          await image.write(3 * objectBytes, pattern(1, objectBytes));
          await image.write(7 * objectBytes, pattern(1, 100));
          await image.createSnapshot('one');
          await image.write(3 * objectBytes + 512, pattern(2, 512));
          await image.write(9 * objectBytes, pattern(2, 4096));
          await image.createSnapshot('two');
          await image.writeZeroes(3 * objectBytes, objectBytes);
          await image.flush();

          expect(await withOpen('one', (open) => changes(open, null, 0, small.size))).toEqual([
            { offset: 3 * objectBytes, length: objectBytes, exists: true },
            { offset: 7 * objectBytes, length: 100, exists: true },
          ]);
          expect(await withOpen('two', (open) => changes(open, 'one', 0, small.size))).toEqual([
            { offset: 3 * objectBytes + 512, length: 512, exists: true },
            { offset: 9 * objectBytes, length: 4096, exists: true },
          ]);
          expect(await changes(image, 'two', 0, small.size)).toEqual([
            { offset: 3 * objectBytes, length: objectBytes, exists: false },
          ]);
          expect(await withOpen('two', (open) => changes(open, 'two', 0, small.size))).toEqual([]);
        }));

      test('ranges put together are the whole', () =>
        withImage(small, async (image) => {
          await image.write(0, pattern(1, small.size));
          await image.createSnapshot('one');
          await image.write(1000, pattern(2, 3 * objectBytes));
          await image.writeZeroes(6 * objectBytes - 100, 2 * objectBytes + 200);
          await image.flush();
          const whole = await changes(image, 'one', 0, small.size);
          for (const step of [objectBytes, 5 * objectBytes, 1000]) {
            const ranges = Array.from({ length: Math.ceil(small.size / step) }, (_, i) => i * step);
            const parts = await Promise.all(
              ranges.map((offset) => changes(image, 'one', offset, Math.min(step, small.size - offset))),
            );
            expect(joined(parts.flat())).toEqual(joined(whole));
          }
          expect(await changes(image, 'one', 5 * objectBytes, 0)).toEqual([]);
        }));

      test('a start that is newer than the end, or is not there, is refused', () =>
        withImage(small, async (image) => {
          await image.createSnapshot('one');
          await image.createSnapshot('two');
          await withOpen('one', (open) =>
            expect(changes(open, 'two', 0, small.size)).rejects.toMatchObject({ code: 'invalid' }),
          );
          await expect(changes(image, 'three', 0, small.size)).rejects.toMatchObject({
            code: 'notFound',
            message: expect.stringContaining('three'),
          });
        }));

      test('nothing that changed is left out, whatever happened in between', async () => {
        const options: CreateOptions = { size: 12 * 16 * KiB, order: 14, stripeUnit: 4 * KiB, stripeCount: 2 };
        for (const striped of [false, true]) {
          at = { ...at, image: `${at.image}-${striped}` };
          await withImage(striped ? options : { size: options.size, order: 14 }, async (image) => {
            const random = generator(striped ? 11 : 12);
            const versions: Buffer[] = [];
            for (let version = 0; version < 6; version++) {
              for (let i = 0; i < 4; i++) await change(image, random);
              await image.flush();
              versions.push(await contentOf(image, (await image.info()).size));
              await image.createSnapshot(`v${version}`);
            }
            for (let to = 0; to < versions.length; to++) {
              await withOpen(`v${to}`, async (open) => {
                for (let from = -1; from <= to; from++) {
                  const base = from < 0 ? Buffer.alloc(0) : versions[from]!;
                  const found = await changes(open, from < 0 ? null : `v${from}`, 0, versions[to]!.length);
                  expect(apply(found, base, versions[to]!).equals(versions[to]!), `v${from} to v${to}`).toBe(true);
                }
              });
            }
          });
        }
      });
    });
  });
}

interface Change {
  offset: number;
  length: number;
  exists: boolean;
}

/** Every changed extent, checked to be in order and inside of the range. */
async function changes(image: Image, from: string | null, offset: number, length: number): Promise<Change[]> {
  const found: Change[] = [];
  let end = offset;
  await image.changedExtents(from, { offset, length }, (at, bytes, exists) => {
    expect(at).toBeGreaterThanOrEqual(end);
    expect(bytes).toBeGreaterThan(0);
    end = at + bytes;
    expect(end).toBeLessThanOrEqual(offset + length);
    found.push({ offset: at, length: bytes, exists });
  });
  return found;
}

/** Neighbours of one kind as one. */
function joined(found: Change[]): Change[] {
  const result: Change[] = [];
  for (const { offset, length, exists } of found) {
    const last = result.at(-1);
    if (last && last.exists === exists && last.offset + last.length === offset) last.length += length;
    else result.push({ offset, length, exists });
  }
  return result;
}

/** The base with the changes: `end`'s bytes where there are some, zeros where they say that there are none. */
function apply(found: Change[], base: Buffer, end: Buffer): Buffer {
  const result = Buffer.alloc(end.length);
  base.copy(result);
  for (const { offset, length, exists } of found) {
    if (exists) end.copy(result, offset, offset, offset + length);
    else result.fill(0, offset, offset + length);
  }
  return result;
}

async function change(image: WritableImage, random: (below: number) => number): Promise<void> {
  const { size } = await image.info();
  const offset = random(size);
  const length = 1 + random(Math.min(size - offset, 40 * KiB));
  switch (random(8)) {
    case 0:
      return image.resize(4 * KiB * (1 + random(60)));
    case 1:
    case 2:
      return image.writeZeroes(offset, length);
    case 3: {
      // Whole objects.
      const from = Math.floor(offset / (16 * KiB)) * 16 * KiB;
      return image.writeZeroes(from, Math.min(size - from, 48 * KiB));
    }
    default:
      return image.write(offset, pattern(1 + random(1000), length));
  }
}

async function contentOf(image: Image, size: number): Promise<Buffer> {
  const content = Buffer.alloc(size, 0xaa);
  await image.read(0, content);
  return content;
}

/** The object map, one number an object. */
async function states(image: Image, snapId: number | null): Promise<number[]> {
  const map = decodeObjectMap((await image.objectMap(snapId))!);
  return Array.from({ length: map.count }, (_, index) => objectState(map.states, index));
}

/** Bytes that differ from seed to seed and from place to place; none is zero. */
function pattern(seed: number, length: number): Buffer {
  const random = generator(seed);
  const bytes = Buffer.alloc(length);
  for (let i = 0; i < length; i++) bytes[i] = 1 + random(255);
  return bytes;
}

/** A small generator of whole numbers below a limit; the same ones for the same seed. */
function generator(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}
