// Where bytes come from: a pull of as many bytes as fit into the caller's buffer.

import { close, fstatSync, open, read } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { promisify } from 'node:util';
import { type ErrorCode, RbdeltaError } from '../error.ts';
import { errnoOf, ioFailure, unlessAborted } from './errno.ts';
import { pipeSource } from './pipe-source.ts';

export interface ByteSource {
  /** What messages call it, ready to be printed: `"a file"`, `standard input`. */
  readonly name?: string | undefined;
  /** Tells these bytes from others that were, or will be, at the same place; absent where nothing does. */
  readonly version?: string | undefined;
  /**
   * Reads at least one byte into `into` (which is not empty) and resolves to how many; 0 means the end, for good. A
   * source to which it makes a difference goes on until it has `least`, or the end.
   */
  read(into: Uint8Array, least?: number): Promise<number>;
  /** Frees what is held, as soon as a `read` that still waits has settled; may come more than once. */
  close(): Promise<void>;
}

export interface FdSourceOptions {
  /** Whether `close` closes the descriptor: yes for one that we opened, no (the default) for one that we were given. */
  closes?: boolean;
  /** What messages call it. */
  name?: string;
  /**
   * Aborting makes a waiting `read` reject as `interrupted` at once; its buffer may not be used again. Of what is not a
   * pipe (a terminal), the thread inside read(2) waits on; a process that wants to end then has to end by a signal (`process.kill` of
   * itself), as `process.exit` waits for that thread.
   */
  signal?: AbortSignal;
}

const openFile = promisify(open);
const closeFile = promisify(close);

/** The bytes of a file, from its beginning. A file that is missing, a directory, one that may not be read: refused. */
export async function fileSource(path: string, options: { signal?: AbortSignal } = {}): Promise<ByteSource> {
  const name = `"${path}"`;
  const fd = await openFile(path, 'r').catch((error) => {
    throw ioFailure(error, `cannot open ${name}`);
  });
  return fdSource(fd, { ...options, closes: true, name });
}

/** The bytes that an open descriptor gives from where it stands. */
export function fdSource(fd: number, options: FdSourceOptions = {}): ByteSource {
  const { name = fd === 0 ? 'standard input' : `descriptor ${fd}`, signal } = options;
  if (isPipe(fd)) return { ...pipeSource(fd, { ...options, name }), name };
  let open = true;
  let ended = false;
  let reading = 0;
  let closing = false;

  async function closeOnce(): Promise<void> {
    if (!open || reading > 0) return;
    open = false;
    if (options.closes) await closeFile(fd);
  }

  async function readPatiently(into: Uint8Array): Promise<number> {
    // A terminal that somebody else made non-blocking says EAGAIN. Node cannot poll(2) a bare descriptor: look again,
    // at first soon, then 50 times a second.
    for (let pauseMs = 1; ; pauseMs = Math.min(pauseMs * 2, 20)) {
      reading += 1;
      try {
        return await readOnce(fd, into);
      } catch (error) {
        if (errnoOf(error) !== 'EAGAIN') throw ioFailure(error, `cannot read ${name}`);
      } finally {
        reading -= 1;
        if (closing) await closeOnce();
      }
      await sleep(pauseMs, undefined, signal ? { signal } : {});
    }
  }

  return {
    name,
    async read(into) {
      if (ended) return 0;
      const count = await unlessAborted(readPatiently(into), signal);
      if (count === 0) ended = true;
      return count;
    },
    async close() {
      ended = true;
      closing = true;
      await closeOnce();
    },
  };
}

function isPipe(fd: number): boolean {
  try {
    const found = fstatSync(fd);
    return found.isFIFO() || found.isSocket();
  } catch {
    return false; // the first read says what is wrong
  }
}

/** What is wrong with the bytes of a source, and which source that is: there may be many. */
export const inputFailure = (
  name: string | undefined,
  code: ErrorCode,
  message: string,
  options: { hint?: string; cause?: unknown } = {},
): RbdeltaError => new RbdeltaError(code, name === undefined ? message : `${name}: ${message}`, options);

/** Chunks of any size, as from a generator or a Node stream. Closing ends the iterator. */
export function chunkSource(chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>): ByteSource {
  const iterator = Symbol.asyncIterator in chunks ? chunks[Symbol.asyncIterator]() : chunks[Symbol.iterator]();
  let chunk: Uint8Array = new Uint8Array(0);
  let ended = false;
  return {
    async read(into) {
      while (chunk.length === 0 && !ended) {
        const next = await iterator.next();
        if (next.done) ended = true;
        else chunk = next.value;
      }
      // Not even an empty view of the last chunk: its memory may have gone to a thread.
      if (chunk.length === 0) return 0;
      const count = Math.min(chunk.length, into.length);
      into.set(chunk.subarray(0, count));
      chunk = chunk.subarray(count);
      return count;
    },
    async close() {
      chunk = new Uint8Array(0);
      if (ended) return;
      ended = true;
      await iterator.return?.();
    },
  };
}

/** The bytes of one buffer; it is not copied. */
export function bytesSource(bytes: Uint8Array): ByteSource {
  return chunkSource([bytes]);
}

/** fs.read without the object that its promisified form makes for each call. */
function readOnce(fd: number, into: Uint8Array): Promise<number> {
  return new Promise((resolve, reject) => {
    read(fd, into, 0, into.length, null, (error, count) => (error ? reject(error) : resolve(count)));
  });
}
