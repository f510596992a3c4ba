// Backups to real S3 (radosgw) and restores from it over a line that breaks, slows down, or lies: a command does its work or
// fails cleanly, and the next one does it.

import { createHash } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, HeadObjectCommand, PutObjectCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { backup, type BackupResult } from '../../src/ops/backup.ts';
import { imageSource } from '../../src/ops/backup-source.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { restoreToSink } from '../../src/ops/restore.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { chainIds } from '../../src/repo/find-point.ts';
import { loadChain } from '../../src/repo/chain.ts';
import { initRepository, openRepository, type Repository } from '../../src/repo/repository.ts';
import type { S3Options } from '../../src/store/s3-client.ts';
import { openS3Store } from '../../src/store/s3-store.ts';
import type { Store } from '../../src/store/port.ts';
import { type FaultAction, type FaultyProxy, faultyProxy } from '../kit/http-faults.ts';
import { noise } from '../kit/noise.ts';

const on = process.env['RBDELTA_TEST_S3'] === '1';
const KiB = 1024;
const MiB = 1024 * KiB;
const spec: ImageSpec = { pool: 'rbd', namespace: '', image: 'vm', snap: null };
const name = { pool: 'rbd', namespace: '', image: 'vm' };
/** Small enough that a full has several, large enough that each is an upload in parts. */
const segmentBytes = 9 * MiB;

type Patience = Pick<S3Options, 'attempts' | 'silenceMs'>;

const passing: Record<string, FaultAction> = {
  '500': { kind: 'answer', status: 500, code: 'InternalError' },
  '503': { kind: 'answer', status: 503, code: 'SlowDown' },
  'a broken connection': { kind: 'cut' },
  'a lost answer': { kind: 'loseAnswer', status: 500, code: 'InternalError' },
};

describe.skipIf(!on)('a line to S3 with faults', () => {
  let folder: string;
  let cluster: Cluster;
  let client: S3Client;
  let proxy: FaultyProxy;
  const stores: Store[] = [];
  const bucket = `it-faults-${process.pid}-${Date.now()}`;
  let repositories = 0;

  beforeAll(async () => {
    client = new S3Client({ forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    proxy = await faultyProxy(process.env['AWS_ENDPOINT_URL'] ?? '');
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-faults-'));
  });
  afterAll(async () => {
    await proxy[Symbol.asyncDispose]();
    client.destroy();
    await rm(folder, { recursive: true });
  });

  beforeEach(async () => {
    const pool = await openLocalPool(join(folder, `pool-${repositories}`));
    await pool.createPool('rbd');
    cluster = pool;
    await pool.create(spec, { size: 14 * MiB, order: 20 });
    await write(0, noise(1, 12 * MiB));
  });
  afterEach(async () => {
    proxy.faults.length = 0;
    await cluster.close();
    for (const store of stores.splice(0)) await store.close();
  });

  const write = async (offset: number, data: Buffer): Promise<void> => {
    const image = await cluster.openToWrite(spec);
    await image.write(offset, data);
    await image.close();
  };
  const open = async (prefix: string, endpoint: string, more: Patience = {}): Promise<Store> => {
    const options = { endpoint, ...more };
    const store = await openS3Store(`s3://${bucket}/${prefix}`, options);
    stores.push(store);
    return store;
  };
  /** A new one: through the proxy, and past it. */
  const both = async (more?: Patience): Promise<{ faulty: Repository; direct: Repository }> => {
    const prefix = `r${repositories++}`;
    const direct = await initRepository(await open(prefix, process.env['AWS_ENDPOINT_URL'] ?? ''), Date.now());
    return { direct, faulty: await openRepository(await open(prefix, proxy.url, more)) };
  };
  const backUp = (repository: Repository): Promise<BackupResult> =>
    backup(repository, imageSource(cluster, spec), { version: '0.0.0', segmentBytes });
  const breakLocks = async ({ store }: Repository): Promise<void> => {
    const keys: string[] = [];
    for await (const { key } of store.list('rbd/vm/lock/')) keys.push(key);
    await store.remove(keys);
  };
  const restored = async (repository: Repository, point: string): Promise<string> => {
    const points = await readPoints(repository, name);
    const chain = await loadChain(repository, name, point, { expected: chainIds(points, point) });
    const hash = createHash('sha256');
    try {
      await restoreToSink(chain, {
        write: async (chunks) => chunks.forEach((chunk) => void hash.update(chunk)),
        finish: async () => {},
        abort: async () => {},
      });
    } finally {
      await chain.close();
    }
    return hash.digest('hex');
  };
  const truth = async (snap: string): Promise<string> => {
    const image = await cluster.open({ ...spec, snap });
    const bytes = Buffer.alloc((await image.info()).size);
    await image.read(0, bytes);
    await image.close();
    return createHash('sha256').update(bytes).digest('hex');
  };
  /** The point is what its snapshot is, and nothing else is wrong or left over. */
  const expectGood = async (title: string, repository: Repository, made: BackupResult): Promise<void> => {
    const { findings } = await checkRepository(repository, {});
    const [is, was] = [await restored(repository, made.point), await truth(made.snapshot)];
    expect({ title, findings, bytes: is }).toEqual({ title, findings: [], bytes: was });
  };
  /** How many requests it takes without faults. */
  const requestsOf = async (run: () => Promise<unknown>): Promise<string[]> => {
    proxy.requests.length = 0;
    await run();
    return [...proxy.requests];
  };

  test('each request of a full and of an increment fails once: they are done all the same', async () => {
    const { faulty, direct } = await both();
    const full = await requestsOf(() => backUp(faulty));
    await write(3 * MiB + 5, noise(2, 10 * KiB));
    const increment = await requestsOf(() => backUp(faulty));
    expect(full.filter((line) => line.includes('partNumber')).length).toBeGreaterThan(1);
    for (const [count, isFull] of [
      [full.length, true],
      [increment.length, false],
    ] as const) {
      for (let skip = 0; skip < count; skip++) {
        // each request meets one of the faults; another one in the next kind of backup
        const [fault, act] = Object.entries(passing)[(skip + Number(isFull)) % 4]!;
        await write((skip % 10) * MiB + 777, noise(1000 + skip, 5000));
        proxy.faults.push({ match: /./, skip, times: 1, act: { ...act } });
        const title = `${isFull ? 'full' : 'increment'}, request ${skip} of ${count}: ${fault}`;
        const made = await backup(faulty, imageSource(cluster, spec), {
          version: '0.0.0',
          segmentBytes,
          full: isFull,
        }).catch((error: unknown) => Promise.reject(new Error(title, { cause: error })));
        proxy.faults.length = 0;
        if (skip % 5 === 0) await expectGood(title, direct, made);
      }
    }
    const points = await readPoints(direct, name);
    expect(points).toHaveLength(2 + full.length + increment.length);
    const { findings } = await checkRepository(direct, {});
    expect(findings).toEqual([]);
  }, 900_000);

  test('each request of a restore fails once: the same bytes come', async () => {
    const { faulty } = await both();
    await backUp(faulty);
    await write(9 * MiB, noise(3, 100 * KiB));
    const { point, snapshot } = await backUp(faulty);
    const bytes = await truth(snapshot);
    const count = (await requestsOf(() => restored(faulty, point))).length;
    const faults = Object.entries({ ...passing, 'half a body': { kind: 'cutBody', afterBytes: 100 } as FaultAction });
    for (let skip = 0; skip < count; skip++) {
      const [fault, act] = faults[skip % faults.length]!;
      proxy.faults.push({ match: /./, skip, times: 1, act: { ...act } });
      const found = await restored(faulty, point);
      proxy.faults.length = 0;
      expect({ skip, fault, found }).toEqual({ skip, fault, found: bytes });
    }
  }, 600_000);

  test('the server is gone from the n-th request on: the backup fails cleanly, the next one is whole', async () => {
    const { faulty, direct } = await both({ attempts: 2 });
    const count = (await requestsOf(() => backUp(faulty))).length;
    for (let skip = 0; skip < count; skip += 2) {
      await write((skip % 10) * MiB + 99, noise(2000 + skip, 3 * MiB));
      proxy.faults.push({ match: /./, skip, act: { ...Object.values(passing)[(skip / 2) % 3]! } });
      // done, or failed in words: the last requests are those after the point was made
      const outcome = await backUp(faulty).catch((error: unknown) => error);
      proxy.faults.length = 0;
      await proxy.idle();
      expect(outcome instanceof RbdeltaError || !(outcome instanceof Error)).toBe(true);
      // A process would be gone, and its lock dead; this one lives.
      await breakLocks(direct);
      await expectGood(`gone from request ${skip} of ${count} on`, direct, await backUp(direct));
    }
  }, 900_000);

  test('a server that falls silent: once, it is asked again; for ever, it is a time-out, and the next backup is whole', async () => {
    const { faulty, direct } = await both({ attempts: 3, silenceMs: 1500 });
    const kinds = [
      /^PUT .*partNumber=/,
      /^POST .*uploadId=/,
      /^PUT .*manifest\.json/,
      /^GET .*list-type/,
      /^PUT .*lock/,
    ];
    for (const [i, match] of kinds.entries()) {
      await write(i * MiB + 5, noise(3000 + i, 10 * KiB));
      proxy.faults.push({ match, times: 1, act: { kind: 'hang' } });
      const made = await backup(faulty, imageSource(cluster, spec), { version: '0.0.0', segmentBytes, full: true });
      expect({ match, times: proxy.faults[0]!.times }).toEqual({ match, times: 0 });
      proxy.faults.length = 0;
      await expectGood(`silent once at ${match.source}`, direct, made);
      proxy.faults.push({ match: /^GET .*rbdiff\.zst/, times: 1, act: { kind: 'hang' } });
      expect(await restored(faulty, made.point)).toBe(await truth(made.snapshot));
      proxy.faults.length = 0;
    }
    proxy.faults.push({ match: /^PUT .*partNumber=/, act: { kind: 'hang' } });
    await write(9 * MiB, noise(3100, 3 * MiB));
    const failing = backup(faulty, imageSource(cluster, spec), { version: '0.0.0', segmentBytes, full: true });
    await expect(failing).rejects.toMatchObject({ code: 'timeout' });
    proxy.faults.length = 0;
    await breakLocks(direct);
    await expectGood('silent for ever', direct, await backUp(direct));
  }, 300_000);

  test('a Complete that answers 500 though it worked is not a failure', async () => {
    const { faulty, direct } = await both();
    proxy.faults.push({
      match: /^POST .*uploadId=/,
      times: 20,
      act: { kind: 'loseAnswer', status: 500, code: 'InternalError' },
    });
    const made = await backUp(faulty);
    expect(proxy.faults[0]!.times).toBeLessThan(20);
    proxy.faults.length = 0;
    await expectGood('lost answers', direct, made);
  }, 300_000);

  test('a Complete that says yes, though less is there, makes no point; the next backup is whole', async () => {
    const { faulty, direct } = await both();
    const prefix = `r${repositories - 1}`;
    let cut: string | null = null;
    proxy.faults.push({
      // the writer looks at what it completed
      match: /^HEAD .*\.rbdiff\.zst/,
      times: 1,
      act: {
        kind: 'before',
        run: async () => {
          const line = proxy.requests.findLast((request) => request.startsWith('HEAD'))!;
          const Key = decodeURIComponent(line.slice(line.indexOf(prefix)).replace(/\?.*/, ''));
          const { Metadata } = await client.send(new HeadObjectCommand({ Bucket: bucket, Key }));
          cut = Key;
          await client.send(new PutObjectCommand({ Bucket: bucket, Key, Body: noise(4, 6 * MiB), Metadata }));
        },
      },
    });
    await expect(backUp(faulty)).rejects.toMatchObject({
      code: 'io',
      message: expect.stringMatching(/\d+ bytes were sent, 6291456 bytes is there/),
    });
    expect(cut).not.toBeNull();
    expect(await readPoints(direct, name)).toEqual([]);
    await expectGood('the next', direct, await backUp(faulty));
  }, 300_000);
});
