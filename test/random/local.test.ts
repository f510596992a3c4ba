// Long random histories on the local pool: every diff tells the truth.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../src/image/local/index.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import type { CreateOptions } from '../../src/image/port.ts';
import { noise } from '../kit/noise.ts';
import { playRounds, roundsOr, seed } from './rounds.ts';
import { type Past, RandomHistory } from './world.ts';

const KiB = 1024;
/** `clone`: of an image with data in most places, which it may leave. */
interface Kind extends Omit<CreateOptions, 'size'> {
  clone?: 'kept' | 'flattened';
}
const kinds: [string, Kind][] = [
  ['plain', { order: 18 }],
  ['without object map', { order: 17, features: 1 }],
  ['striped', { order: 17, features: 0x3f, stripeUnit: 16 * KiB, stripeCount: 3 }],
  ['clone', { order: 18, features: 0x3d, clone: 'kept' }],
  ['striped clone', { order: 17, features: 0x3d, stripeUnit: 16 * KiB, stripeCount: 3, clone: 'kept' }],
  ['clone that is flattened', { order: 17, features: 0x3d, clone: 'flattened' }],
  ['clone that is flattened but for its snapshots', { order: 18, features: 0x1d, clone: 'flattened' }],
  ['clone without object map', { order: 18, features: 0x21, clone: 'flattened' }],
];

describe('random histories on the local pool', () => {
  let dir: string;
  let pool: LocalPool;

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rbdelta-random-'));
    pool = await openLocalPool(dir);
    await pool.createPool('volumes');
  });

  afterAll(async () => {
    await pool.close();
    await rm(dir, { recursive: true });
  });

  test.each(kinds)(
    '%s',
    async (name, { clone, ...options }) => {
      const rounds = Math.ceil(roundsOr(240) / kinds.length);
      console.log(
        `random, local pool, ${name}: RBDELTA_TEST_SEED=${seed} RBDELTA_TEST_ROUNDS=${rounds * kinds.length}`,
      );
      const spec = (image: string, snap: string | null): ImageSpec => ({ pool: 'volumes', namespace: '', image, snap });
      const [source, copy] = [`source ${name}`, `copy ${name}`];
      const size = 1_500_000;
      const head = Buffer.alloc(size);
      if (clone === undefined) await pool.create(spec(source, null), { ...options, size });
      else {
        await makeParent(pool, spec(`parent ${name}`, null), head);
        await pool.clone(spec(`parent ${name}`, 'base'), spec(source, null), options);
      }
      await pool.create(spec(copy, null), { order: 16, size: 1 });
      const image = await pool.openToWrite(spec(source, null));
      const past: Past = {
        write: (offset, data) => image.write(offset, data),
        discard: (offset, length) => image.writeZeroes(offset, length),
        writeZeroes: (offset, length) => image.writeZeroes(offset, length),
        resize: (bytes) => image.resize(bytes),
        createSnapshot: (snap) => image.createSnapshot(snap),
        removeSnapshot: (snap) => image.removeSnapshot(snap),
        rollback: (snap) => image.rollback(snap),
        ...(clone === 'flattened' && { flatten: () => image.flatten() }),
        async read(offset, length) {
          const bytes = Buffer.alloc(length);
          await image.read(offset, bytes);
          return bytes;
        },
      };
      const objectBytes = 2 ** (options.order ?? 22);
      const history = new RandomHistory(past, seed, { head, maxSize: 3_000_000, objectBytes });
      try {
        const played = playRounds(
          history,
          {
            openSource: (snap) => pool.open(spec(source, snap)),
            openCopy: (snap) => pool.open(spec(copy, snap)),
            openCopyToWrite: () => pool.openToWrite(spec(copy, null)),
            otherEyes: async () => null,
          },
          rounds,
          name,
        );
        await expect(played).resolves.toBe(rounds);
      } finally {
        await image.close();
      }
      expect(await pool.sweep(), 'files that nothing names').toEqual({ files: 0, bytes: 0 });
    },
    3_600_000,
  );
});

/** Holes and data by turns, in objects that are none of the clone's. Fills `bytes` with what its snapshot reads as. */
async function makeParent(pool: LocalPool, spec: ImageSpec, bytes: Buffer): Promise<void> {
  await pool.create(spec, { size: bytes.length, order: 16 });
  const image = await pool.openToWrite(spec);
  for (let at = 0; at < bytes.length; at += 200_000) {
    noise(at + 1, Math.min(150_000, bytes.length - at)).copy(bytes, at);
    await image.write(at, bytes.subarray(at, Math.min(bytes.length, at + 150_000)));
  }
  await image.createSnapshot('base');
  await image.protectSnapshot('base');
  await image.write(0, noise(7, bytes.length));
  await image.close();
}
