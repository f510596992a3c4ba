// Progress on a terminal: one line on stderr that is written over, and one line of summary at the end.

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

export interface BackupAt {
  reached: number;
  size: number;
  bytesRead: number;
  bytesStored: number;
  /** Of all images together; null where there is only one. */
  inAll: { bytesRead: number; bytesStored: number } | null;
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
  let shown = false;
  let backupFrom: { at: BackupAt; ms: number } | null = null;
  const clear = (): void => {
    if (shown) write('\r\x1b[K');
    shown = false;
  };
  const show = (line: (elapsedMs: number) => string): void => {
    const now = nowMs();
    if (now - shownMs < intervalMs) return;
    shownMs = now;
    shown = true;
    write(`\r${line(now - startMs).slice(0, Math.max(columns() - 1, 10))}\x1b[K`);
  };
  return {
    update: (done, total) => show((elapsedMs) => progressLine(task, done, total, elapsedMs)),
    backup(at) {
      // One that goes on does not begin at 0.
      const from = (backupFrom ??= { at, ms: nowMs() });
      show(() => backupLine(task, at, from.at, nowMs() - from.ms));
    },
    steps: (done, total) => show(() => `${task}:${percentOf(done, total)}`),
    finish(summary) {
      clear();
      const seconds = ((nowMs() - startMs) / 1000).toFixed(1);
      write(`${summary} in ${seconds} s\n`);
    },
    clear,
  };
}

/** `Exporting image: 42% (1.2 GiB of 2.9 GiB, 310 MiB/s, 0:05 left)`; the parts that nobody knows are left out. */
export function progressLine(task: string, done: number, total: number | null, elapsedMs: number): string {
  const rate = elapsedMs > 0 ? (done / elapsedMs) * 1000 : 0;
  const parts = [total === null ? bytesText(done) : `${bytesText(done)} of ${bytesText(total)}`];
  if (elapsedMs >= 1000 && rate > 0) {
    parts.push(`${bytesText(Math.round(rate))}/s`);
    if (total !== null) parts.push(`${clock((total - done) / rate)} left`);
  }
  return `${task}:${total === null ? '' : percentOf(done, total)} (${parts.join(', ')})`;
}

/**
 * `Backing up vm: 42% (1.2 GiB read, 310 MiB/s, 0:05 left, 240 MiB stored)`. The rate is of what is read since `from`; what
 * is left is told by the way through the image, of which not everything is read.
 */
export function backupLine(task: string, at: BackupAt, from: BackupAt, elapsedMs: number): string {
  const { reached, size, bytesRead, bytesStored, inAll } = at;
  const parts = [`${bytesText(bytesRead)} read`];
  if (elapsedMs >= 1000) {
    parts.push(`${bytesText(Math.round(((bytesRead - from.bytesRead) / elapsedMs) * 1000))}/s`);
    const way = reached - from.reached;
    if (way > 0) parts.push(`${clock((((size - reached) / way) * elapsedMs) / 1000)} left`);
  }
  parts.push(`${bytesText(bytesStored)} stored`);
  if (inAll !== null) parts.push(`in all ${bytesText(inAll.bytesRead)} read, ${bytesText(inAll.bytesStored)} stored`);
  return `${task}:${percentOf(reached, size)} (${parts.join(', ')})`;
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
