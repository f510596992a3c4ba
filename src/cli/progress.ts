// Progress on a terminal: a line or two on stderr that are written over, and one line of summary at the end.

import { bytesText } from './print.ts';

export interface Progress {
  /** Bytes done, of all; null: nobody knows how many. */
  update: (done: number, total: number | null) => void;
  /** A backup: where in the image it is, and what it read and stored. */
  backup: (at: BackupAt) => void;
  /** Steps done, of all: of what is not counted in bytes. */
  steps: (done: number, total: number) => void;
  /** Replaces the line by a summary. */
  finish: (summary: string) => void;
  /** Takes the line away: something else is to be said. */
  clear: () => void;
}

export const silent: Progress = { update() {}, backup() {}, steps() {}, finish() {}, clear() {} };

export interface Moved {
  bytesRead: number;
  bytesChanged: number;
  bytesStored: number;
}

export interface BackupAt extends Moved {
  reached: number;
  size: number;
  /** All images together; null where there is only one. */
  inAll: (Moved & { images: number; done: number; elapsedMs: number }) | null;
}

const intervalMs = 100;

export interface ProgressOptions {
  task: string;
  write: (text: string) => void;
  columns: () => number;
  nowMs: () => number;
}

export function terminalProgress({ task, write, columns, nowMs }: ProgressOptions): Progress {
  const startMs = nowMs();
  let shownMs = Number.NEGATIVE_INFINITY;
  /** Lines that are there, the cursor in the first of them. */
  let shown = 0;
  let backupFrom: { at: BackupAt; ms: number } | null = null;
  const erase = '\x1b[K';
  const clear = (): void => {
    if (shown > 0) write(`\r${erase}${`\n${erase}`.repeat(shown - 1)}${up(shown - 1)}`);
    shown = 0;
  };
  const show = (linesOf: (elapsedMs: number, width: number) => string[]): void => {
    const now = nowMs();
    if (now - shownMs < intervalMs) return;
    shownMs = now;
    const width = Math.max(columns() - 1, 10);
    const lines = linesOf(now - startMs, width);
    shown = Math.max(shown, lines.length);
    write(`\r${lines.map((line) => line.slice(0, width) + erase).join('\n')}${up(lines.length - 1)}`);
  };
  return {
    update: (done, total) => show((elapsedMs, width) => [progressLine(task, done, total, elapsedMs, width)]),
    backup(at) {
      // One that goes on does not begin at 0.
      const from = (backupFrom ??= { at, ms: nowMs() });
      show((_, width) => backupLines(task, at, from.at, nowMs() - from.ms, width));
    },
    steps: (done, total) => show(() => [`${task}:${percentOf(done, total)}`]),
    finish(summary) {
      clear();
      const seconds = ((nowMs() - startMs) / 1000).toFixed(1);
      write(`${summary} in ${seconds} s\n`);
    },
    clear,
  };
}

const up = (lines: number): string => (lines === 0 ? '' : `\r\x1b[${lines}A`);

/**
 * `Exporting image: 42% (1.2 GiB of 2.9 GiB, 310 MiB/s, 0:05 left)`; the parts that nobody knows, or that there is no room
 * for, are left out.
 */
export function progressLine(
  task: string,
  done: number,
  total: number | null,
  elapsedMs: number,
  width = Number.POSITIVE_INFINITY,
): string {
  const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
  const amount = total === null ? bytesText(done) : `${bytesText(done)} of ${bytesText(total)}`;
  const pace = `${bytesText(Math.round(rate))}/s`;
  const left = total === null || rate === 0 ? null : `${clock((total - done) / rate)} left`;
  const isSteady = elapsedMs >= 1000 && rate > 0;
  const head = `${task}:${total === null ? '' : percentOf(done, total)}`;
  const lines = (isSteady ? [[amount, pace, left], [amount, left], [left], [pace]] : [[amount]]).map((parts) => {
    const known = parts.filter((part) => part !== null);
    return known.length === 0 ? head : `${head} (${known.join(', ')})`;
  });
  return lines.find((line) => line.length <= width) ?? head;
}

/**
 * `Backing up vm: 42% (1.2 GiB read, 1 GiB changed, 240 MiB stored, 310 MiB/s, 0:05 left)`, and a second line of all images
 * where there are several. The rate is of what is read since `from`; what is left is told by the way through the image, of
 * which not everything is read, and in all by images.
 */
export function backupLines(task: string, at: BackupAt, from: BackupAt, elapsedMs: number, width: number): string[] {
  const { reached, size, inAll } = at;
  const way = reached - from.reached;
  const line = fitted(
    `${task}:${percentOf(reached, size)}`,
    moved(at),
    elapsedMs < 1000 ? [] : pace(at.bytesRead - from.bytesRead, elapsedMs, way > 0 ? (size - reached) / way : null),
    width,
  );
  if (inAll === null) return [line];
  const done = inAll.done + (size === 0 ? 1 : reached / size);
  const head = `In all: ${inAll.done} of ${inAll.images} images`;
  const { bytesRead } = inAll;
  return [line, fitted(head, moved(inAll), pace(bytesRead, inAll.elapsedMs, (inAll.images - done) / done), width)];
}

const moved = ({ bytesRead, bytesChanged, bytesStored }: Moved): string[] => [
  `${bytesText(bytesRead)} read`,
  `${bytesText(bytesStored)} stored`,
  `${bytesText(bytesChanged)} changed`,
];

/** `left`: how many times as much as is done; null: nobody knows. */
const pace = (bytes: number, elapsedMs: number, left: number | null): string[] => [
  ...(left === null || !Number.isFinite(left) ? [] : [`${clock((left * elapsedMs) / 1000)} left`]),
  ...(elapsedMs > 0 ? [`${bytesText(Math.round((bytes / elapsedMs) * 1000))}/s`] : []),
];

/** As many of the parts as there is room for; of both kinds the first ones count most. */
function fitted(head: string, amounts: readonly string[], times: readonly string[], width: number): string {
  const text = (some: number, more: number): string =>
    `${head} (${[...amounts.slice(0, some), ...times.slice(0, more).toReversed()].join(', ')})`;
  const fits = [
    [3, 2],
    [2, 2],
    [2, 1],
    [1, 1],
  ].find(([some = 0, more = 0]) => text(some, more).length <= width);
  const [some = 1, more = 0] = fits ?? [];
  return text(some, more);
}

const percentOf = (done: number, total: number): string =>
  ` ${total === 0 ? 100 : Math.min(100, Math.floor((done / total) * 100))}%`;

function clock(seconds: number): string {
  const whole = Math.max(0, Math.ceil(seconds));
  const two = (n: number): string => String(n).padStart(2, '0');
  const minutes = Math.floor(whole / 60);
  return minutes < 60
    ? `${minutes}:${two(whole % 60)}`
    : `${Math.floor(minutes / 60)}:${two(minutes % 60)}:${two(whole % 60)}`;
}
