// A repository for a long time: of the local pool in a directory, of a Ceph on real S3 (radosgw).

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectCeph } from '../../src/image/ceph/index.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { WritableImage } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { imageSource } from '../../src/ops/backup-source.ts';
import { initRepository, type Repository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { openS3Store } from '../../src/store/s3-store.ts';
import { forget } from '../interop/histories.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { roundsOr, seed } from './rounds.ts';
import { Soak, type SoakWorld } from './soak.ts';
import { type Past, RandomHistory } from './world.ts';

const size = 3_000_000;
const order = 18;
const objectBytes = 2 ** order;
const rounds = roundsOr(8);
const timeout = 7_200_000;

const spec = (image: string): ImageSpec => ({ pool: 'volumes', namespace: '', image, snap: null });
const historyOf = (past: Past): RandomHistory =>
  new RandomHistory(past, seed, { head: Buffer.alloc(size), maxSize: 2 * size, objectBytes });

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-soak-'));
});
afterAll(() => rm(dir, { recursive: true }));

const inDirectory = async (name: string): Promise<Repository> =>
  initRepository(await openDirectoryStore(join(dir, name), { create: true }), Date.now());

/** Resolves to how many points were compared at the end. */
async function play(world: SoakWorld, name: string): Promise<number> {
  const soak = new Soak(world);
  const points = await soak.play(rounds, `soak, ${name}, RBDELTA_TEST_SEED=${seed}`);
  console.log(`soak, ${name}: RBDELTA_TEST_SEED=${seed} RBDELTA_TEST_ROUNDS=${rounds}: ${points} points`, soak.did);
  return points;
}

test('a local pool, in a directory', { timeout }, async () => {
  const pool = await openLocalPool(join(dir, 'pool'));
  await pool.createPool('volumes');
  await pool.create(spec('vm'), { size, order });
  await pool.create(spec('scratch'), { size: 1, order });
  let opened: WritableImage | null = null;
  // Who is open to write holds the lock of a local image.
  const image = async (): Promise<WritableImage> => (opened ??= await pool.openToWrite(spec('vm')));
  const settle = async (): Promise<void> => {
    await opened?.close();
    opened = null;
  };
  const past: Past = {
    write: async (offset, data) => (await image()).write(offset, data),
    discard: async (offset, length) => (await image()).writeZeroes(offset, length),
    writeZeroes: async (offset, length) => (await image()).writeZeroes(offset, length),
    resize: async (bytes) => (await image()).resize(bytes),
    createSnapshot: async (snap) => (await image()).createSnapshot(snap),
    removeSnapshot: async (snap) => (await image()).removeSnapshot(snap),
    rollback: async (snap) => (await image()).rollback(snap),
    async read(offset, length) {
      const bytes = Buffer.alloc(length);
      await (await image()).read(offset, bytes);
      return bytes;
    },
  };
  const points = await play(
    {
      history: historyOf(past),
      source: imageSource(pool, spec('vm')),
      repository: await inDirectory('repo'),
      other: await inDirectory('other'),
      cluster: pool,
      scratch: spec('scratch'),
      settle,
      snapshots: async () => (await (await image()).info()).snapshots.map(({ name }) => name),
      removeSnapshot: async (snap) => (await image()).removeSnapshot(snap),
    },
    'local pool',
  );
  expect(points).toBeGreaterThan(0);
  await settle();
  await pool.close();
});

describe.skipIf(process.env['RBDELTA_TEST_CEPH'] !== '1' || process.env['RBDELTA_TEST_S3'] !== '1')('Ceph', () => {
  test('a Ceph, on S3', { timeout }, async () => {
    const conf = process.env['CEPH_CONF'] ?? '';
    const writer = new RbdWriter(conf, 'volumes');
    const cluster = await connectCeph({ conf });
    const client = new S3Client({ forcePathStyle: true });
    const Bucket = `soak-${process.pid}-${Date.now()}`;
    await client.send(new CreateBucketCommand({ Bucket }));
    client.destroy();
    const store = await openS3Store(`s3://${Bucket}/repo`);
    const [image, scratch] = ['soak-vm', 'soak-scratch'];
    for (const one of [image, scratch]) await forget(writer, { image: one });
    await writer.create(image, { size, order });
    await writer.create(scratch, { size: 1, order });
    await writer.close(scratch);
    const past: Past = {
      write: (offset, data) => writer.write(image, offset, data),
      discard: (offset, length) => writer.discard(image, offset, length),
      writeZeroes: (offset, length) => writer.writeZeroes(image, offset, length),
      resize: (bytes) => writer.resize(image, bytes),
      createSnapshot: (snap) => writer.createSnapshot(image, snap),
      removeSnapshot: (snap) => writer.removeSnapshot(image, snap),
      rollback: (snap) => writer.rollback(image, snap),
      read: (offset, length) => writer.read(image, offset, length),
    };
    try {
      const points = await play(
        {
          history: historyOf(past),
          source: imageSource(cluster, spec(image)),
          repository: await initRepository(store, Date.now()),
          other: await inDirectory('other-of-ceph'),
          cluster,
          scratch: spec(scratch),
          settle: () => writer.close(image),
          snapshots: async () => (await writer.snapshots(image)).map(({ name }) => name),
          removeSnapshot: (snap) => writer.removeSnapshot(image, snap),
        },
        'Ceph',
      );
      expect(points).toBeGreaterThan(0);
    } finally {
      for (const one of [image, scratch]) await forget(writer, { image: one });
      await store.close();
      await cluster.close();
      await writer.end();
    }
  });
});
