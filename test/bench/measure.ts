// Times commands and pipes of commands, and compares two ways to do the same work: in turns, so that what else the
// machine does falls on both.

import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { run } from '../kit/command.ts';

/** One program of a pipe. `feed` programs (cat) only carry bytes: their memory is nobody's. */
export interface Stage {
  command: string[];
  feed?: boolean;
}

export interface Measured {
  seconds: number;
  peakMiB: number;
  cpuSeconds: number;
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`;

/** Runs the stages as one pipe, stdout of the last to `into`; every one must end well. */
export async function measure(folder: string, stages: Stage[], into = '/dev/null'): Promise<Measured> {
  const reports = stages.map((_, i) => join(folder, `report.${i}`));
  const pipe = stages
    .map(({ command }, i) =>
      ['/usr/bin/python3', 'test/bench/measure.py', reports[i] ?? '', ...command].map(quoted).join(' '),
    )
    .join(' | ');
  const result = await run('bash', ['-o', 'pipefail', '-c', `${pipe} > ${quoted(into)}`]);
  if (result.status !== 0) throw new Error(`${pipe}: ${result.stderr.slice(-2000)}`);
  const taken = await Promise.all(
    reports.map(async (path) => JSON.parse(await readFile(path, 'utf8')) as Record<string, number>),
  );
  const own = taken.filter((_, i) => stages[i]?.feed !== true);
  return {
    seconds: Math.max(...taken.map(({ end }) => end ?? 0)) - Math.min(...taken.map(({ begin }) => begin ?? 0)),
    peakMiB: Math.max(...own.map(({ peakKiB }) => (peakKiB ?? 0) / 1024)),
    cpuSeconds: own.reduce((sum, { cpu }) => sum + (cpu ?? 0), 0),
  };
}

export const median = (values: number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? (sorted[middle] ?? 0) : ((sorted[middle - 1] ?? 0) + (sorted[middle] ?? 0)) / 2;
};

/** One way to do the work. `before` and `after` are not timed. */
export interface Way {
  name: string;
  stages: Stage[];
  into?: string;
  /** At most so many runs: for what takes minutes. */
  runs?: number;
  before?: () => Promise<void>;
  after?: () => Promise<void>;
}

export interface Series {
  name: string;
  runs: Measured[];
  seconds: number;
  peakMiB: number;
}

/** Every way once, `runs` times over. */
export async function inTurns(folder: string, ways: Way[], runs: number): Promise<Series[]> {
  const series = ways.map(({ name }): Series => ({ name, runs: [], seconds: 0, peakMiB: 0 }));
  for (let round = 0; round < runs; round++) {
    for (const [i, way] of ways.entries()) {
      if (round >= (way.runs ?? runs)) continue;
      await way.before?.();
      series[i]?.runs.push(await measure(folder, way.stages, way.into));
      await way.after?.();
    }
  }
  return series.map((one) => ({
    ...one,
    seconds: median(one.runs.map(({ seconds }) => seconds)),
    peakMiB: Math.max(...one.runs.map(({ peakMiB }) => peakMiB)),
  }));
}

/** The median of the ratios of neighbours in time. */
export const ratio = (ours: Series, theirs: Series): number =>
  median(ours.runs.map(({ seconds }, i) => seconds / (theirs.runs[i]?.seconds ?? theirs.seconds)));
