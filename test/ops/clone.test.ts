// Clones of clones: how deep they are, and that a limit on it flattens the new one only.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closing } from '../../src/bytes/closing.ts';
import { RbdeltaError } from '../../src/error.ts';
import type { Cluster, ClusterImage } from '../../src/image/port.ts';
import { cloneWithin, depthOf } from '../../src/ops/clone.ts';
import { eachCluster, replaced, type TestCluster } from '../kit/each-cluster.ts';
import { noise } from '../kit/noise.ts';
import { contentOf, failureOf } from './import-world.ts';

const objectBytes = 64 << 10;
const size = 4 * objectBytes;

describe.each(eachCluster)('on %s', (_, make) => {
  let under: TestCluster;
  let cluster: Cluster;
  beforeAll(async () => {
    under = await make();
    cluster = under.cluster;
  });
  afterAll(() => under?.dispose());

  const spec = (image: string, snap: string | null = null) => ({ pool: under.pool, namespace: '', image, snap });

  async function using<T>(image: string, use: (opened: ClusterImage) => Promise<T>): Promise<T> {
    return closing(await cluster.openToWrite(spec(image)), use);
  }
  const sealed = (image: string) =>
    using(image, async (opened) => {
      await opened.createSnapshot('s');
      await opened.protectSnapshot('s');
    });

  test('past the depth a new clone is flattened, and reads the same; its parents stay clones', async () => {
    await cluster.create(spec('v0'), { size, order: 16 });
    const bytes = noise(1, size);
    await using('v0', (opened) => opened.write(0, bytes));
    for (let depth = 1; depth <= 4; depth += 1) {
      await sealed(`v${depth - 1}`);
      const data = noise(10 + depth, 5000);
      const flattened = await cloneWithin(cluster, spec(`v${depth - 1}`, 's'), spec(`v${depth}`), 2, {});
      expect(flattened, `v${depth}`).toBe(depth === 3);
      await using(`v${depth}`, async (opened) => {
        expect((await contentOf(opened)).equals(bytes)).toBe(true);
        expect(await depthOf(opened)).toBe([0, 1, 2, 0, 1][depth]);
        await opened.write(depth * 9000, data);
      });
      data.copy(bytes, depth * 9000);
    }
    expect((await cluster.children(spec('v2'))).map(({ image }) => image)).toEqual([]);
    expect((await cluster.children(spec('v3'))).map(({ image }) => image)).toEqual(['v4']);
  });

  test('with 0 the image is one of its own', async () => {
    await cluster.create(spec('base'), { size, order: 16 });
    await sealed('base');
    expect(await cloneWithin(cluster, spec('base', 's'), spec('copy'), 0, {})).toBe(true);
    expect(await cluster.children(spec('base'))).toEqual([]);
  });

  test('a flatten that fails leaves no clone; a name that is taken is left alone', async () => {
    await cluster.create(spec('first'), { size, order: 16 });
    await sealed('first');
    const flatten = () => Promise.reject(new RbdeltaError('noSpace', 'flatten fails'));
    const broken = replaced(cluster, {
      openToWrite: async (what) => replaced(await cluster.openToWrite(what), { flatten }),
    });
    expect(await failureOf(cloneWithin(broken, spec('first', 's'), spec('kid'), 0, {}))).toMatchObject({
      code: 'noSpace',
    });
    expect(await cluster.list(under.pool, '')).not.toContain('kid');
    expect(await cluster.children(spec('first'))).toEqual([]);
    await cluster.clone(spec('first', 's'), spec('taken'), {});
    expect(await failureOf(cloneWithin(cluster, spec('first', 's'), spec('taken'), 0, {}))).toMatchObject({
      code: 'exists',
    });
    expect((await cluster.children(spec('first'))).map(({ image }) => image)).toEqual(['taken']);
  });
});
