// What is measured: each row of the table of promises, with its images, commands and targets.

import { randomFillSync } from 'node:crypto';
import { open, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { rbd, rbdeltaProgram, run, succeed } from '../kit/command.ts';
import { numbers } from '../kit/noise.ts';
import type { RbdWriter } from '../kit/rbd-writer.ts';
import { inTurns, ratio, type Series, type Stage, type Way } from './measure.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

export interface Bench {
  folder: string;
  writer: RbdWriter;
  /** Begins the names of all images. */
  prefix: string;
  runs: number;
  /** A quick look: a sixteenth of the data. */
  small: boolean;
  /** Of an S3 server, which the environment names; null: there is none. */
  bucket: string | null;
  /** Programs to compare with that are there. */
  tools: ReadonlySet<string>;
}

/** `found` must not be above `target`. */
export interface Verdict {
  what: string;
  ours: string;
  theirs: string;
  found: number;
  target: number;
}

export interface Row {
  name: string;
  title: string;
  /** Peak memory of our commands; 200 if absent. */
  peakTargetMiB?: number;
  needs?: readonly 's3'[];
  run(bench: Bench): Promise<{ verdicts: Verdict[]; series: Series[] }>;
}

export const ours = (...args: string[]): Stage => ({ command: [process.execPath, rbdeltaProgram, ...args] });
export const theirs = (...args: string[]): Stage => ({ command: ['rbd', ...args] });
export const quiet = '--no-progress';
export const carry = (path?: string): Stage => ({ command: path === undefined ? ['cat'] : ['cat', path], feed: true });

const seconds = (series: Series): string => `${series.seconds.toFixed(series.seconds < 10 ? 3 : 1)} s`;
export const bytes = (count: number): string =>
  count < 10 * MiB ? `${(count / KiB).toFixed(0)} KiB` : `${(count / MiB).toFixed(0)} MiB`;

export const faster = (what: string, mine: Series, other: Series, target: number): Verdict => ({
  what,
  ours: seconds(mine),
  theirs: seconds(other),
  found: ratio(mine, other),
  target,
});

const sizeOfStream = async (bench: Bench, command: string[]): Promise<number> => {
  const path = join(bench.folder, 'size.diff');
  await succeed(command[0] ?? '', [...command.slice(1), path]);
  const { size } = await stat(path);
  await rm(path);
  return size;
};

const randomFile = async (path: string, size: number): Promise<void> => {
  const file = await open(path, 'w');
  const piece = Buffer.alloc(16 * MiB);
  for (let at = 0; at < size; at += piece.length)
    await file.write(randomFillSync(piece), 0, Math.min(piece.length, size - at));
  await file.close();
};

const exists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

/** volumes/PREFIX-random: random data, a snapshot, and as a diff in a file. Made once, for all rows that use it. */
async function randomImage(bench: Bench): Promise<{ image: string; full: string; size: number }> {
  const size = bench.small ? GiB / 16 : GiB;
  const [name, full] = [`${bench.prefix}-random`, join(bench.folder, 'random.diff')];
  const image = `volumes/${name}`;
  if (!(await exists(full))) {
    const raw = join(bench.folder, 'random.raw');
    await randomFile(raw, size);
    await rbd(['import', quiet, raw, image]);
    await rm(raw);
    await rbd(['snap', 'create', quiet, `${image}@s0`]);
    await rbd(['export-diff', quiet, '--whole-object', `${image}@s0`, full]);
  }
  return { image, full, size };
}

/** A new image in pool backups for every run. */
const target = (bench: Bench, size: number): Pick<Way, 'before' | 'after'> & { name: string } => {
  const name = `backups/${bench.prefix}-target`;
  return {
    name,
    before: async () => void (await rbd(['create', '--size', `${size / MiB}M`, name])),
    after: async () => {
      await run('rbd', ['snap', 'purge', quiet, name]);
      await rbd(['rm', quiet, name]);
    },
  };
};

const sparse: Row = {
  name: 'sparse',
  title: 'incremental of 1 TiB, 1 GiB allocated, 64 random writes of 4 KiB',
  async run(bench) {
    const [name, writes] = [`${bench.prefix}-sparse`, 64];
    const [size, allocated] = bench.small ? [TiB / 16, GiB / 16] : [TiB, GiB];
    await bench.writer.create(name, { size, order: 22 });
    for (let at = 0; at < allocated; at += 4 * MiB) await bench.writer.fill(name, at, 4 * MiB, 0x41);
    await bench.writer.createSnapshot(name, 's1');
    const next = numbers(1);
    const offsets = new Set<number>();
    while (offsets.size < writes) offsets.add(Math.floor(next() * (size / (4 * KiB))) * 4 * KiB);
    for (const offset of offsets) await bench.writer.fill(name, offset, 4 * KiB, 0x42);
    await bench.writer.createSnapshot(name, 's2');
    await bench.writer.close(name);

    const since = [quiet, '--from-snap', 's1', `volumes/${name}@s2`];
    const [mine, listing, whole] = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta export-diff', stages: [ours('export-diff', ...since, '-'), carry()] },
        { name: 'rbd export-diff', stages: [theirs('export-diff', ...since, '-'), carry()], runs: 2 },
        {
          name: 'rbd export-diff --whole-object',
          stages: [theirs('export-diff', '--whole-object', ...since, '-'), carry()],
        },
      ],
      bench.runs,
    )) as [Series, Series, Series];
    const stream = await sizeOfStream(bench, [...ours('export-diff', ...since).command]);
    const theirStream = await sizeOfStream(bench, ['rbd', 'export-diff', '--whole-object', ...since]);
    const least = writes * (4 * KiB + 17);
    return {
      series: [mine, listing, whole],
      verdicts: [
        faster('time, rbd export-diff', mine, listing, 1 / 60),
        faster('time, rbd --whole-object', mine, whole, 0.9),
        {
          what: 'stream, bytes written',
          ours: bytes(stream),
          theirs: bytes(theirStream),
          found: stream / least,
          target: 1.05,
        },
      ],
    };
  },
};

const scattered: Row = {
  name: 'scattered',
  title: 'incremental of 1 GiB, 256 random writes of 4 KiB, half of them in new objects',
  async run(bench) {
    const name = `${bench.prefix}-scattered`;
    const [size, writes] = [GiB, 256];
    await bench.writer.create(name, { size, order: 22 });
    for (let at = 0; at < size / 2; at += 4 * MiB) await bench.writer.fill(name, at, 4 * MiB, 0x41);
    await bench.writer.createSnapshot(name, 's1');
    const next = numbers(2);
    for (let i = 0; i < writes; i++) {
      const block = Math.floor(next() * (size / 2 / (4 * KiB)));
      await bench.writer.fill(name, (i % 2) * (size / 2) + block * 4 * KiB, 4 * KiB, 0x42);
    }
    await bench.writer.createSnapshot(name, 's2');
    await bench.writer.close(name);
    const since = [quiet, '--from-snap', 's1', `volumes/${name}@s2`];
    const [mine, other] = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta export-diff', stages: [ours('export-diff', ...since, '-'), carry()] },
        { name: 'rbd export-diff', stages: [theirs('export-diff', ...since, '-'), carry()] },
      ],
      bench.runs,
    )) as [Series, Series];
    const stream = await sizeOfStream(bench, ours('export-diff', ...since).command);
    const theirStream = await sizeOfStream(bench, ['rbd', 'export-diff', ...since]);
    return {
      series: [mine, other],
      verdicts: [
        {
          what: 'stream, rbd export-diff',
          ours: bytes(stream),
          theirs: bytes(theirStream),
          found: stream / theirStream,
          target: 1 / 100,
        },
      ],
    };
  },
};

const full: Row = {
  name: 'full',
  title: 'full of 1 GiB of random data to a pipe',
  async run(bench) {
    const { image } = await randomImage(bench);
    const spec = [quiet, `${image}@s0`, '-'];
    const series = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta export-diff', stages: [ours('export-diff', ...spec), carry()] },
        { name: 'rbd export-diff', stages: [theirs('export-diff', ...spec), carry()] },
        { name: 'rbd export-diff --whole-object', stages: [theirs('export-diff', '--whole-object', ...spec), carry()] },
      ],
      bench.runs,
    )) as [Series, Series, Series];
    const [mine, ...others] = series;
    const best = others.reduce((a, b) => (a.seconds < b.seconds ? a : b));
    return { series, verdicts: [faster(`time, ${best.name}`, mine, best, 0.9)] };
  },
};

const importing: Row = {
  name: 'import',
  title: 'import of that full from stdin',
  async run(bench) {
    const { full: path, size } = await randomImage(bench);
    const { name, ...way } = target(bench, size);
    const into = ['import-diff', quiet, '-', name];
    const series = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta import-diff', stages: [carry(path), ours(...into)], ...way },
        { name: 'rbd import-diff', stages: [carry(path), theirs(...into)], ...way },
      ],
      bench.runs,
    )) as [Series, Series];
    return { series, verdicts: [faster('time, rbd import-diff', ...series, 0.8)] };
  },
};

const merging: Row = {
  name: 'merge',
  title: 'merge of a full and 8 incrementals',
  async run(bench) {
    const { image, full: path, size } = await randomImage(bench);
    const name = image.slice('volumes/'.length);
    const next = numbers(3);
    const diffs = [path];
    for (let i = 1; i <= 8; i++) {
      for (let writes = 0; writes < 256; writes++) {
        await bench.writer.fill(name, Math.floor(next() * (size / (64 * KiB))) * 64 * KiB, 32 * KiB, 0x30 + i);
      }
      await bench.writer.createSnapshot(name, `s${i}`);
      const diff = join(bench.folder, `merge-${i}.diff`);
      await succeed(process.execPath, [
        rbdeltaProgram,
        'export-diff',
        quiet,
        '--from-snap',
        `s${i - 1}`,
        `${image}@s${i}`,
        diff,
      ]);
      diffs.push(diff);
    }
    await bench.writer.close(name);
    const merged = join(bench.folder, 'merged.diff');
    const between = [...diffs.slice(2).map((_, i) => join(bench.folder, `between-${i}.diff`)), merged];
    const chain = diffs
      .slice(1)
      .map((diff, i) => `rbd merge-diff ${quiet} ${i === 0 ? diffs[0] : between[i - 1]} ${diff} ${between[i]}`);
    const after = async (): Promise<void> => {
      for (const file of between) await rm(file, { force: true });
    };
    const series = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta merge-diff', stages: [ours('merge-diff', quiet, ...diffs, merged)], after },
        { name: 'rbd merge-diff, 8 times', stages: [{ command: ['bash', '-ec', chain.join('; ')] }], after },
      ],
      bench.runs,
    )) as [Series, Series];
    return { series, verdicts: [faster('time, a chain of rbd merge-diff', ...series, 0.5)] };
  },
};

const piping: Row = {
  name: 'pipe',
  title: 'export-diff | import-diff, 1 GiB of random data',
  async run(bench) {
    const { image, size } = await randomImage(bench);
    const { name, ...way } = target(bench, size);
    const [from, to] = [
      ['export-diff', quiet, `${image}@s0`, '-'],
      ['import-diff', quiet, '-', name],
    ];
    const series = (await inTurns(
      bench.folder,
      [
        { name: 'rbdelta | rbdelta', stages: [ours(...from), ours(...to)], ...way },
        { name: 'rbd | rbd', stages: [theirs(...from), theirs(...to)], ...way },
      ],
      bench.runs,
    )) as [Series, Series];
    return { series, verdicts: [faster('time, the same pipe of rbd', ...series, 0.9)] };
  },
};

const maps: Row = {
  name: 'maps',
  title: 'object maps only: 256,000,000 objects, 8 snapshots, simulated',
  async run(bench) {
    const objects = bench.small ? 16_000_000 : 256_000_000;
    const report = join(bench.folder, 'maps.json');
    const stages = [{ command: [process.execPath, 'test/bench/many-objects.mjs', String(objects)] }];
    const [series] = (await inTurns(bench.folder, [{ name: 'the fold', stages, into: report }], bench.runs)) as [
      Series,
    ];
    const { seconds: taken } = JSON.parse((await succeed('cat', [report])).toString()) as { seconds: number };
    return {
      series: [],
      verdicts: [
        { what: 'time, 1 s', ours: `${taken.toFixed(3)} s`, theirs: '', found: taken, target: 1 },
        {
          what: 'peak memory, 300 MiB',
          ours: `${series.peakMiB.toFixed(0)} MiB`,
          theirs: '',
          found: series.peakMiB / 300,
          target: 1,
        },
      ],
    };
  },
};

export const rows: Row[] = [sparse, scattered, full, importing, merging, piping, maps];
