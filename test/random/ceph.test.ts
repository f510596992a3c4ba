// Long random histories on a real Ceph, made by Ceph's own hand and read by the real rbd as well: every diff tells the truth.

import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { connectCeph } from '../../src/image/ceph/index.ts';
import type { Cluster } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { rbd } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { features, RbdWriter, usualFeatures } from '../kit/rbd-writer.ts';
import { forget } from '../interop/histories.ts';
import { playRounds, roundsOr, seed } from './rounds.ts';
import { type Past, RandomHistory } from './world.ts';

const KiB = 1024;
const order = 18;
const objectBytes = 2 ** order;
const size = 3_000_000;

type Options = Parameters<RbdWriter['create']>[1];
const kinds: [string, Partial<Options>][] = [
  ['plain', {}],
  ['striped', { stripeUnit: 32 * KiB, stripeCount: 3, features: usualFeatures | features.striping }],
  ['clone', {}],
];

describe.skipIf(process.env['RBDELTA_TEST_CEPH'] !== '1')('random histories on Ceph', () => {
  let writer: RbdWriter;
  let cluster: Cluster;
  const made: string[] = [];

  beforeAll(async () => {
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
    cluster = await connectCeph({ conf: process.env['CEPH_CONF'] ?? '' });
  });

  afterAll(async () => {
    for (const image of made) {
      await forget(writer, { image });
      await forget(writer, { image: `${image}-parent` });
    }
    await cluster.close();
    await writer.end();
  });

  /** Resolves to what the new image reads as. */
  const create = async (kind: string, image: string, options: Partial<Options>): Promise<Buffer> => {
    made.push(image);
    if (kind !== 'clone') {
      await writer.create(image, { size, order, ...options });
      return Buffer.alloc(size);
    }
    const parent = `${image}-parent`;
    const bytes = Buffer.alloc(size);
    await writer.create(parent, { size, order });
    for (let at = 0; at < size - objectBytes; at += 2 * objectBytes) {
      const data = noise(at, objectBytes + 5000);
      data.copy(bytes, at);
      await writer.write(parent, at, bytes.subarray(at, Math.min(size, at + data.length)));
    }
    await writer.createSnapshot(parent, 'base');
    await writer.protectSnapshot(parent, 'base');
    await writer.clone(parent, 'base', image);
    return bytes;
  };

  test.each(kinds)(
    '%s',
    async (name, options) => {
      const rounds = Math.ceil(roundsOr(60) / kinds.length);
      console.log(`random, Ceph, ${name}: RBDELTA_TEST_SEED=${seed} RBDELTA_TEST_ROUNDS=${rounds * kinds.length}`);
      const [source, copy] = [`rnd-${name}`, `rnd-${name}-copy`];
      const spec = (image: string, snap: string | null): ImageSpec => ({ pool: 'volumes', namespace: '', image, snap });
      await forget(writer, { image: source });
      const head = await create(name, source, options);
      await forget(writer, { image: copy });
      made.push(copy);
      await writer.create(copy, { size: 1, order: 20 });
      const past: Past = {
        write: (offset, data) => writer.write(source, offset, data),
        discard: (offset, length) => writer.discard(source, offset, length),
        writeZeroes: (offset, length) => writer.writeZeroes(source, offset, length),
        resize: (bytes) => writer.resize(source, bytes),
        createSnapshot: (snap) => writer.createSnapshot(source, snap),
        removeSnapshot: (snap) => writer.removeSnapshot(source, snap),
        rollback: (snap) => writer.rollback(source, snap),
        read: (offset, length) => writer.read(source, offset, length),
      };
      const history = new RandomHistory(past, seed, { head, maxSize: 2 * size, objectBytes });
      const played = playRounds(
        history,
        {
          openSource: (snap) => cluster.open(spec(source, snap)),
          openCopy: (snap) => cluster.open(spec(copy, snap)),
          openCopyToWrite: () => cluster.openToWrite(spec(copy, null)),
          otherEyes: (which, snap) =>
            rbd([
              'export',
              '--no-progress',
              `volumes/${which === 'source' ? source : copy}${snap === null ? '' : `@${snap}`}`,
              '-',
            ]),
        },
        rounds,
        name,
      );
      await expect(played).resolves.toBe(rounds);
    },
    3_600_000,
  );
});
