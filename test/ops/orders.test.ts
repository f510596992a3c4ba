// The smallest and the largest objects that RBD has: a full and an increment go over and are the same.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closing } from '../../src/bytes/closing.ts';
import { ByteReader } from '../../src/bytes/reader.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { exportDiff } from '../../src/ops/export-diff.ts';
import { importDiff } from '../../src/ops/import-diff.ts';
import { eachCluster, type TestCluster } from '../kit/each-cluster.ts';
import { noise } from '../kit/noise.ts';
import { contentOf } from './import-world.ts';

describe.each(eachCluster)('on %s', (_, make) => {
  let world: TestCluster;
  beforeAll(async () => {
    world = await make();
  });
  afterAll(() => world?.dispose());

  test.each([12, 25])('order %i', async (order) => {
    const { cluster, pool } = world;
    const spec = (image: string, snap: string | null = null) => ({ pool, namespace: '', image, snap });
    const [source, copy] = [`source-${order}`, `copy-${order}`];
    const objectBytes = 2 ** order;
    const size = 3 * objectBytes + 5;
    await cluster.create(spec(source), { size, order });
    await cluster.create(spec(copy), { size: 1, order: 22 });
    await closing(await cluster.openToWrite(spec(source)), async (image) => {
      await image.write(objectBytes - 10, noise(1, 20));
      await image.write(3 * objectBytes, noise(2, 5));
      await image.createSnapshot('one');
      await image.write(objectBytes + 100, noise(3, 3000));
      await image.writeZeroes(0, objectBytes);
      await image.createSnapshot('two');
    });
    for (const [fromSnap, snap] of [
      [null, 'one'],
      ['one', 'two'],
    ] as const) {
      const sink = memorySink();
      await closing(await cluster.open(spec(source, snap)), (image) =>
        exportDiff(image, async () => sink, { fromSnap }),
      );
      const stream = new ByteReader(bytesSource(sink.bytes()));
      await closing(await cluster.openToWrite(spec(copy)), (image) =>
        importDiff(image, (at) => cluster.open(spec(copy, at)), stream),
      );
      const [expected, found] = [await cluster.open(spec(source, snap)), await cluster.open(spec(copy, snap))];
      const same = await closing(expected, (one) =>
        closing(found, async (other) => (await contentOf(one)).equals(await contentOf(other))),
      );
      expect(same).toBe(true);
    }
  });
});
