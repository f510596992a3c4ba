// The local pool beside the file system that it is on, in one run: `npx tsx test/bench/local-rows.ts [DIR]`

import { randomFillSync } from 'node:crypto';
import { closeSync, fdatasyncSync, ftruncateSync, openSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalPool } from '../../src/image/local/index.ts';
import { succeed } from '../kit/command.ts';
import { numbers } from '../kit/noise.ts';
import { median } from './measure.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const TiB = 1024 * 1024 * MiB;
const bytes = 256 * MiB;
const runs = 5;
const [writes, flushEvery] = [512, 32];

const folder = await mkdtemp(join(process.argv[2] ?? tmpdir(), 'rbdelta-local-bench-'));
const pool = await openLocalPool(join(folder, 'pool'));
await pool.createPool('rbd');
const spec = (image: string, snap: string | null = null) => ({ pool: 'rbd', namespace: '', image, snap });

const secondsOf = async (action: () => Promise<unknown>): Promise<number> => {
  const start = performance.now();
  await action();
  return (performance.now() - start) / 1000;
};
const report = (what: string, ours: number, theirs: number, least: number): void => {
  const found = theirs / ours;
  if (found < least) process.exitCode = 1;
  console.log(
    `${what.padEnd(44)} ${ours.toFixed(3)} s  ${theirs.toFixed(3)} s  ${found.toFixed(2)} >= ${least}  ${found >= least ? 'PASS' : 'MISS'}`,
  );
};
const within = (what: string, seconds: number, most: number): void => {
  if (seconds * 1000 > most) process.exitCode = 1;
  console.log(
    `${what.padEnd(44)} ${(seconds * 1000).toFixed(1)} ms <= ${most} ms  ${seconds * 1000 <= most ? 'PASS' : 'MISS'}`,
  );
};

/** In turns, so that both see the same machine. */
async function beside(what: string, least: number, ours: () => Promise<number>, theirs: () => Promise<number>) {
  const [mine, others]: [number[], number[]] = [[], []];
  for (let i = 0; i < runs; i += 1) {
    mine.push(await ours());
    others.push(await theirs());
  }
  report(what, median(mine), median(others), least);
}

async function sequential(): Promise<void> {
  const piece = randomFillSync(Buffer.alloc(4 * MiB));
  const file = join(folder, 'file');
  let made = 0;
  const depth = 4;
  await beside(
    'sequential writes of 4 MiB, as dd',
    0.7,
    async () => {
      // as the other file: what is written first anew takes memory that the machine may not have touched yet
      if (made > 0) await pool.remove(spec(`seq${made}`));
      const name = `seq${(made += 1)}`;
      await pool.create(spec(name), { size: bytes });
      const image = await pool.openToWrite(spec(name));
      const seconds = await secondsOf(async () => {
        for (let at = 0; at < bytes; at += depth * piece.length) {
          await Promise.all(Array.from({ length: depth }, (_, i) => image.write(at + i * piece.length, piece)));
        }
        await image.flush();
      });
      await image.close();
      return seconds;
    },
    async () => {
      await rm(file, { force: true });
      return secondsOf(() =>
        succeed('dd', ['if=/dev/zero', `of=${file}`, 'bs=4M', `count=${bytes / piece.length}`, 'conv=fdatasync']),
      );
    },
  );
  const image = await pool.open(spec(`seq${made}`));
  await beside(
    'sequential reads of 4 MiB, as dd',
    0.7,
    () =>
      secondsOf(async () => {
        const into = Array.from({ length: depth }, () => Buffer.alloc(4 * MiB));
        for (let at = 0; at < bytes; at += depth * 4 * MiB) {
          await Promise.all(into.map((one, i) => image.read(at + i * 4 * MiB, one)));
        }
      }),
    () => secondsOf(() => succeed('dd', [`if=${file}`, 'of=/dev/null', 'bs=4M'])),
  );
  await image.close();
}

async function random(): Promise<void> {
  const piece = randomFillSync(Buffer.alloc(4 * KiB));
  await pool.create(spec('random'), { size: bytes });
  const image = await pool.openToWrite(spec('random'));
  for (let at = 0; at < bytes; at += 4 * MiB) await image.write(at, Buffer.alloc(4 * MiB, 1));
  await image.flush();
  const plain = openSync(join(folder, 'plain'), 'w+');
  ftruncateSync(plain, bytes);
  for (let at = 0; at < bytes; at += 4 * MiB) writeSync(plain, Buffer.alloc(4 * MiB, 1), 0, 4 * MiB, at);
  fdatasyncSync(plain);
  let seed = 0;
  const offsets = (): number[] => {
    const next = numbers((seed += 1));
    return Array.from({ length: writes }, () => Math.floor(next() * (bytes / piece.length)) * piece.length);
  };
  await beside(
    `random writes of 4 KiB, a flush each ${flushEvery}`,
    0.5,
    () => {
      const all = offsets();
      return secondsOf(async () => {
        for (let i = 0; i < all.length; i += flushEvery) {
          await Promise.all(all.slice(i, i + flushEvery).map((at) => image.write(at, piece)));
          await image.flush();
        }
      });
    },
    () => {
      const all = offsets();
      return secondsOf(async () => {
        for (const [i, at] of all.entries()) {
          writeSync(plain, piece, 0, piece.length, at);
          if ((i + 1) % flushEvery === 0) fdatasyncSync(plain);
        }
      });
    },
  );
  await image.createSnapshot('s');
  console.log(
    `first write after a snapshot                 ${((await secondsOf(() => image.write(0, piece))) * 1000).toFixed(1)} ms`,
  );
  await image.close();
  closeSync(plain);
}

async function large(): Promise<void> {
  for (const [name, size] of [
    ['one', TiB],
    ['ten', 10 * TiB],
  ] as const) {
    await pool.create(spec(name), { size });
    const image = await pool.openToWrite(spec(name));
    const objects = 10_000;
    const step = Math.floor(size / objects / (4 * MiB)) * 4 * MiB;
    for (let i = 0; i < objects; i += 50) {
      await Promise.all(Array.from({ length: 50 }, (_, k) => image.write((i + k) * step, Buffer.alloc(512, 1))));
    }
    await image.flush();
    const times: Record<string, number[]> = { create: [], protect: [], clone: [] };
    for (let i = 0; i < runs; i += 1) {
      times['create']!.push(await secondsOf(() => image.createSnapshot(`s${i}`)));
      times['protect']!.push(await secondsOf(() => image.protectSnapshot(`s${i}`)));
      times['clone']!.push(await secondsOf(() => pool.clone(spec(name, `s${i}`), spec(`${name}-${i}`), {})));
      await image.write(0, Buffer.alloc(512, i));
    }
    const tib = `${size / TiB} TiB, ${objects} objects`;
    for (const [what, taken] of Object.entries(times)) within(`snap ${what}, ${tib}`, median(taken), 10);
    const reader = await pool.open(spec(name));
    const diffs: number[] = [];
    const maps: number[] = [];
    for (let i = 0; i < runs; i += 1) {
      diffs.push(await secondsOf(() => reader.changedExtents('s1', { offset: 0, length: size }, () => undefined)));
      maps.push(await secondsOf(() => reader.objectMap(null)));
    }
    within(`diff since a snapshot, ${tib}`, median(diffs), 50);
    within(`object map (du), ${tib}`, median(maps), 50);
    await reader.close();
    await image.close();
  }
}

try {
  await sequential();
  await random();
  await large();
} finally {
  await pool.close();
  await rm(folder, { recursive: true, force: true });
}
