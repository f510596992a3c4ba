// The image cache, on each cluster: what is cached, what goes and what stays, and that a volume is whole or not there.

import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { closing } from '../../src/bytes/closing.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';
import type { Cluster } from '../../src/image/port.ts';
import { type CacheEntry, planPurge, planRoom, purgeCache, readCache, removeBase } from '../../src/ops/image-cache.ts';
import {
  type CacheCloneOptions,
  cloneFromCache,
  type CacheSource,
  planCacheClone,
} from '../../src/ops/image-cache-clone.ts';
import { eachCluster, replaced, type TestCluster } from '../kit/each-cluster.ts';
import { noise } from '../kit/noise.ts';
import { contentOf, failing, failureOf } from './import-world.ts';

const MiB = 1 << 20;

describe('what has to go', () => {
  const entry = (name: string, size: number, usedMs: number, clones = 0): CacheEntry => ({
    image: name,
    id: name,
    source: name,
    state: 'ready',
    size,
    usedMs,
    clones,
  });
  const entries = [entry('new', 30, 3), entry('old', 10, 1), entry('used', 20, 0, 1), entry('middle', 20, 2)];
  const room = (maxCount: number | null, maxBytes: number | null, incoming: number | null) => {
    const { evict, fits } = planRoom(entries, { maxCount, maxBytes }, incoming);
    return [evict.map(({ image }) => image).join(' '), fits];
  };

  test('the least recently used without clones, until both limits hold', () => {
    expect(room(null, null, 1000)).toEqual(['', true]);
    expect(room(5, null, 1)).toEqual(['', true]);
    expect(room(4, null, 1)).toEqual(['old', true]);
    expect(room(4, null, null)).toEqual(['', true]);
    expect(room(2, null, 1)).toEqual(['old middle new', true]);
    expect(room(1, null, 1)).toEqual(['old middle new', false]);
    expect(room(null, 80, 0)).toEqual(['', true]);
    expect(room(null, 79, 0)).toEqual(['old', true]);
    expect(room(null, 79, 10)).toEqual(['old middle', true]);
    expect(room(null, 20, 1)).toEqual(['old middle new', false]);
    expect(room(4, 75, 5)).toEqual(['old', true]);
  });
});

describe.each(eachCluster)('on %s', (_, make) => {
  let under: TestCluster;
  let cluster: Cluster;
  let notices: string[];
  beforeAll(async () => {
    under = await make();
    cluster = under.cluster;
  });
  afterAll(() => under?.dispose());
  beforeEach(async () => {
    notices = [];
    for (const pool of [under.pool, under.otherPool]) {
      for (const image of await cluster.list(pool, ''))
        if (!image.startsWith('image-cache.')) await cluster.remove({ ...volume(image), pool });
      await purgeCache(cluster, { pool, namespace: '' }, none);
      if ((await cluster.list(pool, '')).length > 0) throw new Error(`something is left in ${pool}`);
    }
  });

  const none = { maxCount: null, maxBytes: null };
  const volume = (image: string) => ({ pool: under.pool, namespace: '', image, snap: null });
  /** Source `n`: 1 MiB and a bit of noise. */
  const bytesOf = (n: number) => noise(n, MiB + n);
  let readers = 0;
  const source = (n: number, size: number | null = MiB + n): CacheSource => ({
    identity: `source ${n}`,
    label: `/images/${n}.raw`,
    size,
    open: async () => {
      const bytes = bytesSource(bytesOf(n));
      let isRead = false;
      return replaced(bytes, {
        read: (into) => {
          if (!isRead) readers += 1;
          isRead = true;
          return bytes.read(into);
        },
      });
    },
    check: async () => undefined,
  });
  const clone = (n: number, image: string, options: Partial<CacheCloneOptions> = {}, from = source(n)) =>
    cloneFromCache(cluster, from, volume(image), {
      ...none,
      waitMs: 60_000,
      create: { order: 16 },
      onNotice: (text) => notices.push(text),
      ...options,
    });
  const content = async (image: string) => closing(await cluster.open(volume(image)), contentOf);
  const entries = () => readCache(cluster, { pool: under.pool, namespace: '' });
  const cached = async () =>
    (await entries()).map(({ source: of, clones }) => `${of?.slice(8, 9)}:${clones}`).join(' ');
  const unfinished = async () => (await cluster.list(under.pool, '')).filter((name) => /^v|\..*\./u.test(name));
  const leave = (image: string) => cluster.remove(volume(image));

  test('the first fills the base, the second finds it; volumes are clones, of their own size, without its metadata', async () => {
    readers = 0;
    const first = await clone(1, 'a');
    expect(first).toMatchObject({ outcome: 'filled', size: MiB + 1, evicted: [] });
    const second = await clone(1, 'b', { size: 3 * MiB });
    expect(second).toEqual({ outcome: 'hit', base: first.base, size: 3 * MiB, evicted: [] });
    expect(readers).toBe(1);
    expect((await content('a')).equals(bytesOf(1))).toBe(true);
    expect((await content('b')).equals(Buffer.concat([bytesOf(1), Buffer.alloc(2 * MiB - 1)]))).toBe(true);
    expect([...(await cluster.metadata(volume('a')))]).toEqual([]);
    const info = await closing(await cluster.open(volume('b')), (image) => image.info());
    expect(info.parent).toMatchObject({ image: first.base, snap: 'cached', overlap: MiB + 1 });
    expect(await cluster.list(under.pool, '')).toEqual(['a', 'b', first.base]);
    expect(await entries()).toMatchObject([{ state: 'ready', source: '/images/1.raw', size: MiB + 1, clones: 2 }]);
    expect(await failureOf(clone(1, 'a'))).toMatchObject({ code: 'exists' });
    expect(await failureOf(clone(1, 'c', { size: MiB }))).toMatchObject({ code: 'invalid' });
    expect(await failureOf(clone(2, 'c', { size: MiB }))).toMatchObject({ code: 'invalid' });
    expect(await cluster.list(under.pool, '')).toHaveLength(3);
  });

  test('by number: the least recently used goes, one with clones stays, and where all have some there is no new one', async () => {
    for (const n of [1, 2, 3]) await clone(n, `v${n}`);
    await leave('v1');
    await leave('v2');
    await clone(1, 'again');
    await leave('again');
    expect(await cached()).toBe('2:0 3:1 1:0');
    const plan = await planCacheClone(cluster, source(4), volume('v4'), { ...none, maxCount: 3, waitMs: 0 });
    expect(plan).toMatchObject({ outcome: 'filled', evicted: [expect.stringMatching(/^image-cache\./u)] });
    expect(await clone(4, 'v4', { maxCount: 3 })).toMatchObject({ outcome: 'filled', evicted: plan.evicted });
    expect(await cached()).toBe('3:1 1:0 4:1');
    expect(await clone(5, 'v5', { maxCount: 2 })).toMatchObject({ outcome: 'uncached', base: null, evicted: [] });
    expect(notices).toEqual([expect.stringContaining('has no room')]);
    expect(await cached()).toBe('3:1 1:0 4:1');
    expect((await content('v5')).equals(bytesOf(5))).toBe(true);
  });

  test('by size: also where that is known at the end only', async () => {
    await clone(1, 'v1');
    await leave('v1');
    expect(await clone(2, 'v2', { maxBytes: 2 * MiB })).toMatchObject({
      outcome: 'filled',
      evicted: [expect.any(String)],
    });
    expect(await cached()).toBe('2:1');
    expect(await clone(3, 'big', { maxBytes: MiB })).toMatchObject({ outcome: 'uncached' });
    const late = await clone(4, 'late', { maxBytes: 2 * MiB, size: 2 * MiB }, source(4, null));
    expect(late).toEqual({ outcome: 'uncached', base: null, size: 2 * MiB, evicted: [] });
    expect(await cached()).toBe('2:1');
    expect((await content('late')).subarray(0, MiB + 4).equals(bytesOf(4))).toBe(true);
    const info = await closing(await cluster.open(volume('late')), (image) => image.info());
    expect(info).toMatchObject({ parent: null, size: 2 * MiB });
    await leave('v2');
    expect(await clone(5, 'v5', { maxBytes: 2 * MiB }, source(5, null))).toMatchObject({ outcome: 'filled' });
    expect(await cached()).toBe('5:1');
  });

  test('many at once: one fills, the others wait', async () => {
    readers = 0;
    const names = ['a', 'b', 'c', 'd'];
    const outcomes = await Promise.all(names.map((name) => clone(1, name)));
    expect(outcomes.map(({ outcome }) => outcome).toSorted()).toEqual(['filled', 'hit', 'hit', 'hit']);
    expect(readers).toBe(1);
    for (const name of names) expect((await content(name)).equals(bytesOf(1))).toBe(true);
    expect(await cached()).toBe('1:4');
  });

  test('a base that goes while it is cloned is made anew: each volume is whole', async () => {
    let going = true;
    const purging = (async () => {
      while (going) {
        for (const { image } of planPurge(await entries(), none)) await removeBase(cluster, volume(image));
        await new Promise((done) => setTimeout(done, 50));
      }
    })();
    try {
      for (let i = 0; i < 6; i += 1) {
        await clone(1, 'v');
        expect((await content('v')).equals(bytesOf(1))).toBe(true);
        await leave('v');
      }
    } finally {
      going = false;
      await purging;
    }
  });

  test('a base in another pool; purge, with limits and without', async () => {
    const space = { pool: under.otherPool, namespace: '' };
    for (const n of [1, 2, 3]) await clone(n, `v${n}`, { space });
    expect(await cluster.list(under.pool, '')).toEqual(['v1', 'v2', 'v3']);
    await leave('v1');
    await leave('v3');
    const first = await purgeCache(cluster, space, { maxCount: 2, maxBytes: null });
    expect(first).toMatchObject({ removed: [expect.any(String)], entries: [{ clones: 1 }, { clones: 0 }] });
    const second = await purgeCache(cluster, space, none);
    expect(second).toMatchObject({ removed: [expect.any(String)], entries: [{ source: '/images/2.raw', clones: 1 }] });
    await leave('v2');
  });

  test('what a killed process left behind is no base, and goes', async () => {
    const { base } = await clone(1, 'v1');
    await leave('v1');
    const closer = await cluster.openToWrite(volume(base ?? ''));
    await closer.unprotectSnapshot('cached');
    await closer.close();
    const unfinished = `${base}.0123abcd`;
    await cluster.create(volume(unfinished), { size: MiB });
    expect(await entries()).toMatchObject([{ state: 'leftover' }]);
    expect(await clone(1, 'v1')).toMatchObject({ outcome: 'filled' });
    expect((await content('v1')).equals(bytesOf(1))).toBe(true);
    expect(await cluster.list(under.pool, '')).toEqual([base, 'v1']);
  });

  test('whichever call fails, there is no volume, and the next time there is one', async () => {
    const calls = ['clone', 'setMetadata', 'removeMetadata', 'rename', 'create', 'openToWrite'] as const;
    for (const call of calls) {
      const broken = replaced(cluster, { [call]: () => Promise.reject(new RbdeltaError('noSpace', `${call} fails`)) });
      const options = { ...none, waitMs: 0, size: 2 * MiB, create: { order: 16 } };
      const failure = await failureOf(cloneFromCache(broken, source(1), volume('v'), options));
      expect([call, failure.code, await unfinished()]).toEqual([call, 'noSpace', []]);
      await clone(1, 'v', { size: 2 * MiB });
      await leave('v');
      if (call !== 'clone' && call !== 'removeMetadata') await purgeCache(cluster, volume(''), none);
    }
    for (let n = 0; ; n += 1) {
      const broken = replaced(cluster, { openToWrite: async (what) => failing(await cluster.openToWrite(what), n) });
      const options = { ...none, waitMs: 0, size: 2 * MiB, create: { order: 18 } };
      const failure = await cloneFromCache(broken, source(1), volume('v'), options).then(
        () => null,
        (error: unknown) => error,
      );
      if (failure === null) break;
      expect(failure).toMatchObject({ code: 'noSpace' });
      expect([n, ...(await unfinished())]).toEqual([n]);
      await purgeCache(cluster, volume(''), none);
    }
    expect((await content('v')).subarray(0, MiB + 1).equals(bytesOf(1))).toBe(true);
  });
});
