// Killed at any system call, or many at once: a volume is whole or not there, and what was left the next one removes.

import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closing } from '../../src/bytes/closing.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster } from '../../src/image/port.ts';
import { readCache } from '../../src/ops/image-cache.ts';
import { onCeph } from '../image/ceph/pools.ts';
import { rbd, rbdelta, run } from '../kit/command.ts';
import { eachCluster, type TestCluster } from '../kit/each-cluster.ts';
import { noise } from '../kit/noise.ts';
import { contentOf } from './import-world.ts';

/** RBDELTA_TEST_ALL=1: at each call; else at some of them. */
const moments = process.env['RBDELTA_TEST_ALL'] === '1' ? 1000 : 14;
const program = ['--import', 'tsx', join(import.meta.dirname, 'image-cache-killed.ts')];
const volume = (image: string) => ({ pool: 'volumes', namespace: '', image, snap: null });
const contentIn = async (cluster: Cluster, image: string) => closing(await cluster.open(volume(image)), contentOf);

/** All of the source, as large as it was to be, and nothing of the base's metadata. */
async function isVolume(pool: Cluster): Promise<boolean> {
  const expected = Buffer.concat([noise(2, 200_000), Buffer.alloc(100_000)]);
  return (await contentIn(pool, 'vol')).equals(expected) && (await pool.metadata(volume('vol'))).size === 0;
}

let top: string;
beforeAll(async () => {
  top = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbdelta-cache-'));
});
afterAll(() => rm(top, { recursive: true, force: true }));

test('killed at any call', async ({ skip }) => {
  const dir = join(top, 'pool');
  const pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  const make = async (at: string, name: string, n: number) =>
    run(process.execPath, [...program, at, name, String(n)], { stdin: Buffer.from('\n') });
  expect(await make(dir, 'first', 1)).toMatchObject({ status: 0 });
  await pool.remove(volume('first'));
  const [old] = await readCache(pool, volume(''));
  await pool.close();

  const args = ['test/kit/at-each-call.py', dir, 'copy', join(top, 'copies'), process.execPath, ...program];
  const watched = await run('python3', [...args, dir, 'vol', '2']);
  if (watched.status === 77 && !process.env['CI']) skip(`system calls cannot be watched here: ${watched.stderr}`);
  expect(watched).toMatchObject({ status: 0, stderr: '' });

  const count = (await readdir(join(top, 'copies'))).length;
  expect(count).toBeGreaterThan(20);
  const step = Math.ceil(count / moments);
  const seen = { absent: 0, whole: 0 };
  for (let moment = 0; moment < count; moment += moment === count - 1 ? 1 : Math.min(step, count - 1 - moment)) {
    const at = join(top, 'copies', String(moment));
    const killed = await openLocalPool(at);
    const names = await killed.list('volumes', '');
    const isWhole = names.includes('vol') && (await isVolume(killed));
    expect(isWhole, `moment ${moment}`).toBe(names.includes('vol'));
    seen[isWhole ? 'whole' : 'absent'] += 1;
    await killed.close();

    expect(await make(at, 'next', 2), `moment ${moment}`).toMatchObject({ status: 0, stderr: '' });
    const after = await openLocalPool(at);
    expect((await contentIn(after, 'next')).subarray(0, 200_000).equals(noise(2, 200_000))).toBe(true);
    const { findings } = await after.check(null);
    expect(findings.filter(({ state }) => state === 'problem')).toEqual([]);
    // without a miss nothing is swept: the one that comes next with another source does it
    expect(await make(at, 'last', 3)).toMatchObject({ status: 0, stderr: '' });
    const left = (await after.list('volumes', '')).filter((name) => !['vol', 'next', 'last'].includes(name));
    expect(left, `moment ${moment}`).toHaveLength(1);
    expect(left).not.toContain(old?.image);
    await after.close();
    await rm(at, { recursive: true });
  }
  expect(seen.absent).toBeGreaterThan(0);
  expect(seen.whole).toBeGreaterThan(0);
}, 600_000);

describe.each(eachCluster)('processes at once, on %s', (_, make) => {
  let under: TestCluster;
  beforeAll(async () => {
    under = await make();
  });
  afterAll(() => under?.dispose());
  const entries = () => readCache(under.cluster, { pool: under.pool, namespace: '' });
  const start = (words: string) => rbdelta(words.replaceAll('POOL', under.pool).split(' '), { env: under.env });

  test('one fills the base, all get their volume; limits hold', async () => {
    const path = (n: number) => join(top, `${n}.raw`);
    for (const n of [1, 2, 3]) await writeFile(path(n), noise(n, 3 << 20));
    const names = ['a', 'b', 'c', 'd'];
    const done = await Promise.all(
      names.map((name) => start(`image-cache clone --json --max-count 1 --size 8M ${path(1)} POOL/${name}`)),
    );
    expect(
      done.map(({ status, stderr }) => [status, stderr.replace(/^.*waiting for another process.*\n/u, '')]),
    ).toEqual(names.map(() => [0, '']));
    const outcomes = done.map(({ stdout }) => (JSON.parse(stdout.toString()) as { outcome: string }).outcome);
    expect(outcomes.toSorted()).toEqual(['filled', 'hit', 'hit', 'hit']);
    expect(await entries()).toMatchObject([{ state: 'ready', clones: 4, source: path(1) }]);
    for (const image of names) {
      const opened = await under.cluster.open({ ...volume(image), pool: under.pool });
      expect((await closing(opened, contentOf)).equals(Buffer.concat([noise(1, 3 << 20), Buffer.alloc(5 << 20)]))).toBe(
        true,
      );
      await under.cluster.remove({ ...volume(image), pool: under.pool });
    }
    const next = await Promise.all([2, 3].map((n) => start(`image-cache clone --max-count 1 ${path(n)} POOL/v${n}`)));
    expect(next).toMatchObject([{ status: 0 }, { status: 0 }]); // also the one that finds the old base half removed
    expect((await entries()).length).toBeLessThanOrEqual(1);
    for (const n of [2, 3]) {
      const opened = await under.cluster.open({ ...volume(`v${n}`), pool: under.pool });
      expect((await closing(opened, contentOf)).equals(noise(n, 3 << 20))).toBe(true);
    }
  }, 120_000);
});

test.skipIf(!onCeph)(
  'for the real rbd they are what they are: a protected snapshot, and its clones',
  async () => {
    const [, make] = eachCluster[1]!;
    const { cluster, pool, env, dispose } = await make();
    try {
      const file = join(top, 'rbd.raw');
      await writeFile(file, noise(5, 3 << 20));
      const made = await rbdelta(['image-cache', 'clone', '--json', '--size', '4M', file, `${pool}/vm`], { env });
      const { base } = JSON.parse(made.stdout.toString()) as { base: string };
      expect((await rbd(['children', `${pool}/${base}@cached`])).toString()).toBe(`${pool}/vm\n`);
      expect((await run('rbd', ['snap', 'unprotect', `${pool}/${base}@cached`])).status).toBe(16);
      const bytes = await rbd(['export', '--no-progress', `${pool}/vm`, '-']);
      expect(bytes.equals(Buffer.concat([noise(5, 3 << 20), Buffer.alloc(1 << 20)]))).toBe(true);
      // and rbd can clone it as well: it stays for that one
      await rbd(['rm', '--no-progress', `${pool}/vm`]);
      await rbd(['clone', `${pool}/${base}@cached`, `${pool}/by-rbd`]);
      await rbdelta(['image-cache', 'purge', pool], { env });
      expect(await cluster.list(pool, '')).toEqual([base, 'by-rbd'].toSorted());
      await rbd(['rm', '--no-progress', `${pool}/by-rbd`]);
      const purged = await rbdelta(['image-cache', 'purge', pool], { env });
      expect(purged).toMatchObject({ status: 0, stdout: Buffer.from(`${base} removed\n`) });
      expect(await cluster.list(pool, '')).toEqual([]);
    } finally {
      await dispose();
    }
  },
  120_000,
);
