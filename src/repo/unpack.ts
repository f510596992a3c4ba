// Stored bytes of archives, checked and decompressed on all cores.

import { availableParallelism } from 'node:os';
import { RbdeltaError } from '../error.ts';
import { startThread, ThreadPool } from '../bytes/thread.ts';
import type { Unpacked, UnpackTask } from './unpack-worker.js';

/** Stored bytes and what the index says of them. */
export interface Packed {
  /** All of its memory goes to a thread and back: nobody else may use it meanwhile. */
  stored: ArrayBuffer;
  /** Where in `stored` the bytes are. */
  start: number;
  bytes: number;
  /** The first bytes of the SHA-256 that they must have. */
  hash: Uint8Array;
  rawBytes: number;
  /** Offset and length (negative: zeros) of the records that must come out; null where it is no frame of records. */
  records: Float64Array | null;
  /** How a message names it. */
  name: string;
}

/** Threads that are started when they are needed. */
export interface Unpacker {
  /** The hash is right, or it throws `corrupt`. Gives `stored` back. */
  check(packed: Omit<Packed, 'rawBytes' | 'records'>): Promise<ArrayBuffer>;
  /**
   * The decompressed bytes, at the beginning of `into` if that is given (which must be long enough; it is moved, so use
   * the result's `buffer` afterwards), else in memory of their own. Hash, checksum, size and records are right, or it
   * throws `corrupt`.
   */
  unpack(packed: Packed, into?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>>;
  stop(): Promise<void>;
}

/** `threads`: one for each core if absent. */
export function startUnpacker(threads = availableParallelism()): Unpacker {
  // From the room, not from this module: the bundled command looks for threads beside bytes/thread.js.
  const startOne = () => startThread<UnpackTask, Unpacked>('../repo/unpack-worker', import.meta.url);
  const pool = new ThreadPool(startOne, threads);

  async function run(packed: Packed, raw: ArrayBuffer | null): Promise<Unpacked> {
    const { stored, start, bytes, hash, rawBytes, records, name } = packed;
    // A view would bring all of the memory behind it along.
    const task: UnpackTask = { stored, start, bytes, hash: Uint8Array.from(hash), raw, rawBytes, records };
    const result = await pool.run(task, raw === null ? [stored] : [stored, raw]);
    if (result.failure === null) return result;
    throw new RbdeltaError('corrupt', `${name} is damaged: ${result.failure}`, { hint: scrubHint });
  }

  return {
    async check(packed) {
      return (await run({ ...packed, rawBytes: 0, records: null }, null)).stored;
    },
    async unpack(packed, into = new ArrayBuffer(packed.rawBytes)) {
      const { raw } = await run(packed, into);
      return new Uint8Array(raw as ArrayBuffer, 0, packed.rawBytes);
    },
    stop: () => pool.stop(),
  };
}

/** What to do about data that is not as it was written: all of it is read. */
export const scrubHint = 'rbdelta repo verify --level scrub tells what else is damaged, and which points need it';
/** What to do about metadata that is not, or files that are missing. */
export const checkHint = 'rbdelta repo check tells what else is damaged, and which points need it';
