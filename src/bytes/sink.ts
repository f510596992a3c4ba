// Where bytes go: ordered writes, then either `finish` (now it exists, durable) or `abort` (nothing stays behind).

import { close, fsync, open, unlink, writev } from 'node:fs';
import { dirname } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { errnoOf, ioFailure, unlessAborted } from './errno.ts';

export interface ByteSink {
  /** Writes all chunks in order. The caller may reuse the memory when the promise resolves. Calls never overlap. */
  write(chunks: readonly Uint8Array[]): Promise<void>;
  /** Makes what was written durable and visible; afterwards the sink is closed. */
  finish(): Promise<void>;
  /** Removes what was written, as far as that is possible (a pipe keeps it); never throws. */
  abort(): Promise<void>;
}

export interface FdSinkOptions {
  /** What messages call it. */
  name?: string;
  /** Aborting makes a waiting `write` reject as `interrupted` at once; see FdSourceOptions.signal for what stays. */
  signal?: AbortSignal;
}

const openFile = promisify(open);
const closeFile = promisify(close);
const fsyncFile = promisify(fsync);
const unlinkFile = promisify(unlink);

/**
 * A new file, written in place as rbd does; one that exists is refused as `exists`. `finish` makes the bytes and the
 * directory entry durable. `abort` removes the file, and may come while a `write` still waits.
 */
export async function createFileSink(path: string, options: { signal?: AbortSignal } = {}): Promise<ByteSink> {
  const name = `"${path}"`;
  const fd = await openFile(path, 'wx', 0o644).catch((error) => {
    const hint = errnoOf(error) === 'EEXIST' ? 'remove it or choose another path' : undefined;
    throw ioFailure(error, `cannot create ${name}`, hint);
  });
  const { signal } = options;
  const writeAll = fdWriter(fd, name, signal);
  /** Settles when nothing is written any more, also after an interruption: only then may the descriptor be closed. */
  let pending: Promise<void> = Promise.resolve();
  let closed = false;
  let settled = false;

  return {
    write(chunks) {
      pending = writeAll(chunks);
      return unlessAborted(pending, signal);
    },
    async finish() {
      try {
        await fsyncFile(fd);
        closed = true;
        await closeFile(fd);
        await fsyncDirectory(dirname(path));
        settled = true;
      } catch (error) {
        throw ioFailure(error, `cannot write ${name}`);
      }
    },
    async abort() {
      if (settled) return;
      settled = true;
      await unlinkFile(path).catch(() => {});
      await pending.catch(() => {});
      if (!closed) await closeFile(fd).catch(() => {});
    },
  };
}

/** An open descriptor that we were given, as a pipe; it is never closed here. A reader that left is `brokenPipe`. */
export function fdSink(fd: number, options: FdSinkOptions = {}): ByteSink {
  const { name = fd === 1 ? 'standard output' : `descriptor ${fd}`, signal } = options;
  const writeAll = fdWriter(fd, name, signal);
  return {
    write: (chunks) => unlessAborted(writeAll(chunks), signal),
    async finish() {},
    async abort() {},
  };
}

type Write = (chunks: readonly Uint8Array[]) => Promise<void>;

/** Writes all of the chunks; an interruption ends only its waiting for room, not a write that is under way. */
function fdWriter(fd: number, name: string, signal: AbortSignal | undefined): Write {
  return async (chunks) => {
    let rest: readonly Uint8Array[] = chunks.filter((chunk) => chunk.length > 0);
    let pauseMs = 1;
    while (rest.length > 0) {
      try {
        const written = await writeOnce(fd, rest);
        rest = withoutFirst(rest, written);
        pauseMs = 1;
      } catch (error) {
        // A full pipe that somebody else made non-blocking: as in fdSource.
        if (errnoOf(error) !== 'EAGAIN') throw ioFailure(error, `cannot write ${name}`);
        await sleep(pauseMs, undefined, signal ? { signal } : {});
        pauseMs = Math.min(pauseMs * 2, 20);
      }
    }
  };
}

/** Keeps everything, for tests and small results. */
export function memorySink(): ByteSink & { bytes(): Buffer } {
  const kept: Buffer[] = [];
  return {
    async write(chunks) {
      for (const chunk of chunks) kept.push(Buffer.from(chunk));
    },
    async finish() {},
    async abort() {
      kept.length = 0;
    },
    bytes: () => Buffer.concat(kept),
  };
}

function writeOnce(fd: number, chunks: readonly Uint8Array[]): Promise<number> {
  return new Promise((resolve, reject) => {
    writev(fd, chunks, (error, written) => (error ? reject(error) : resolve(written)));
  });
}

/** What is left of the chunks after their first `count` bytes. */
function withoutFirst(chunks: readonly Uint8Array[], count: number): readonly Uint8Array[] {
  let left = count;
  for (const [i, chunk] of chunks.entries()) {
    if (left < chunk.length) return [chunk.subarray(left), ...chunks.slice(i + 1)];
    left -= chunk.length;
  }
  return [];
}

/** Makes the entries of a directory durable: a new file's name survives a crash only after this. */
export async function fsyncDirectory(path: string): Promise<void> {
  const fd = await openFile(path, 'r');
  try {
    await fsyncFile(fd);
  } catch (error) {
    // Some network file systems cannot sync a directory and need not.
    if (!['EINVAL', 'ENOTSUP', 'EOPNOTSUPP'].includes(errnoOf(error) ?? '')) throw error;
  } finally {
    await closeFile(fd);
  }
}
