// Long random histories on the local pool: every diff tells the truth.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../src/image/local/index.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import type { CreateOptions } from '../../src/image/port.ts';
import { playRounds, roundsOr, seed } from './rounds.ts';
import { type Past, RandomHistory } from './world.ts';

const KiB = 1024;
const kinds: [string, Omit<CreateOptions, 'size'>][] = [
  ['plain', { order: 18 }],
  ['without object map', { order: 17, features: 1 }],
  ['striped', { order: 17, features: 0x3f, stripeUnit: 16 * KiB, stripeCount: 3 }],
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
    async (name, options) => {
      const rounds = Math.ceil(roundsOr(240) / kinds.length);
      console.log(
        `random, local pool, ${name}: RBDELTA_TEST_SEED=${seed} RBDELTA_TEST_ROUNDS=${rounds * kinds.length}`,
      );
      const spec = (image: string, snap: string | null): ImageSpec => ({ pool: 'volumes', namespace: '', image, snap });
      const [source, copy] = [`source ${name}`, `copy ${name}`];
      const size = 1_500_000;
      await pool.create(spec(source, null), { ...options, size });
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
        async read(offset, length) {
          const bytes = Buffer.alloc(length);
          await image.read(offset, bytes);
          return bytes;
        },
      };
      const objectBytes = 2 ** (options.order ?? 22);
      const history = new RandomHistory(past, seed, { head: Buffer.alloc(size), maxSize: 3_000_000, objectBytes });
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
    },
    3_600_000,
  );
});
