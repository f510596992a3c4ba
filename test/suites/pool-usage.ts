// How full a pool is must be told by every cluster, and trash is purged by it.

import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest';
import type { Cluster } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { purgeTrash } from '../../src/ops/purge-trash.ts';
import { noise } from '../kit/noise.ts';
import type { ClusterUnderTest } from './cluster.ts';

const size = 8 << 20;

export function poolUsageSuite(name: string, make: () => Promise<ClusterUnderTest>): void {
  describe(`${name}, how full a pool is`, () => {
    let under: ClusterUnderTest;
    let cluster: Cluster;

    beforeAll(async () => {
      under = await make();
      cluster = under.cluster;
    });
    afterAll(() => under?.dispose());

    test('a pool that is not there has no usage', async () => {
      await expect(cluster.poolUsage('nosuch')).rejects.toMatchObject({ code: 'notFound' });
    });

    test('data counts, and what is in the trash goes when it is too much', async () => {
      const { pool } = under;
      const spec: ImageSpec = { pool, namespace: '', image: 'full', snap: null };
      // Ceph knows a new pool some seconds later
      const before = await vi.waitFor(() => cluster.poolUsage(pool), { timeout: 60_000, interval: 500 });
      expect(before.usedBytes).toBeLessThan(before.totalBytes);
      await cluster.create(spec, { size, order: 20 });
      const image = await cluster.openToWrite(spec);
      await image.write(0, noise(1, size));
      await image.flush();
      await image.close();
      await cluster.create({ ...spec, image: 'empty' }, { size });
      const week = Date.now() + 7 * 864e5;
      for (const name of ['full', 'empty']) await cluster.moveToTrash({ ...spec, image: name }, week);
      // Ceph tells some seconds later
      await vi.waitFor(
        async () => expect((await cluster.poolUsage(pool)).usedBytes).toBeGreaterThan(before.usedBytes + size / 2),
        { timeout: 60_000, interval: 1000 },
      );
      const purge = (threshold: number | null) => {
        const { signal } = new AbortController();
        return purgeTrash(cluster, pool, '', { beforeMs: Date.now(), threshold, signal, onProgress: () => undefined });
      };
      expect(await purge(null)).toBe(0);
      expect(await purge(1)).toBe(0);
      await expect(purge(1.5)).rejects.toMatchObject({ code: 'invalid' });
      expect((await cluster.trash(pool, '')).map((trashed) => trashed.name).toSorted()).toEqual(['empty', 'full']);
      const { usedBytes, totalBytes } = await cluster.poolUsage(pool);
      expect(await purge(usedBytes / 2 / totalBytes)).toBe(1);
      expect((await cluster.trash(pool, '')).map((trashed) => trashed.name)).toEqual(['empty']);
    }, 90_000);
  });
}
