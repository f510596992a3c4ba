// Changed blocks become stored frames, on all cores: digests, records, compression and hashes in one thread for a frame.

import { availableParallelism } from 'node:os';
import { mapOrdered } from '../bytes/ordered.ts';
import { startThread, ThreadPool } from '../bytes/thread.ts';
import { checkLevel } from '../bytes/zstd.ts';
import type { CompressMessage, PackMessage, PackResult, Stored } from './pack-worker.js';

/** What block-spans.ts plans, with what was read for it. */
export interface PackTask {
  /** The spans, one behind the other (what is behind them is not looked at). Moved into a thread; the frame has it again. */
  data: ArrayBuffer;
  /** Offset, length pairs, rising: whole blocks; the last may be cut by the end of the image. At most 4 MiB together. */
  spans: Float64Array;
  /** Offset, length pairs, rising; a negative length: zeros. Inside a span, or whole blocks of zeros outside the spans. */
  changes: Float64Array;
  /** Of the touched blocks those that were not zero before, rising, with their digests; any others only leave the sum. */
  old: { blocks: Float64Array; digests: Uint8Array };
  /** Blocks that are what they were get no record. */
  trim: boolean;
  /** Zeros get no record where the block was zero before, as all blocks of a full were. `trim` does that, too. */
  dropZeros: boolean;
}

export interface PackedFrame {
  /** The stored frame; null: no record came of the task, and there are neither runs nor digests. */
  bytes: Uint8Array | null;
  rawBytes: number;
  /** 16 bytes, of the stored bytes. */
  hash: Uint8Array;
  /** As in Frame of format/archive-index. */
  records: Float64Array;
  runs: Float64Array;
  digests: Uint8Array;
  /** 32 bytes: new elements of the state's fingerprint minus old ones. */
  sum: Uint8Array;
  dataBytes: number;
  zeroBytes: number;
  /** That of the task, to be used again. */
  data: ArrayBuffer;
}

export interface PackerOptions {
  /** 32 bytes: the repository's. */
  key: Uint8Array;
  /** zstd, 1 to 19; 3 if absent. */
  level?: number;
  /** One for each core if absent. */
  threads?: number;
}

/** Threads start when they are first needed. */
export class Packer {
  /** Tasks that `frames` holds at the same time: one waits, so that no thread does. */
  readonly tasksInFlight: number;
  readonly #key: Uint8Array;
  readonly #level: number;
  readonly #pool: ThreadPool<PackMessage | CompressMessage, PackResult | Stored>;

  constructor({ key, level = 3, threads = availableParallelism() }: PackerOptions) {
    checkLevel(level);
    this.#key = key;
    this.#level = level;
    this.tasksInFlight = threads + 1;
    // So named, it is found from src, from dist, and from the command, whose modules all stand for dist/bytes/thread.js.
    this.#pool = new ThreadPool(() => startThread('../repo/pack-worker', import.meta.url), threads);
  }

  async pack(task: PackTask): Promise<PackedFrame> {
    const message: PackMessage = { ...task, key: this.#key, level: this.#level };
    return (await this.#pool.run(message, [task.data])) as PackResult;
  }

  /** The frames of the tasks, in order. However it ends, no task is in a thread any more afterwards. */
  frames(tasks: AsyncIterable<PackTask> | Iterable<PackTask>): AsyncGenerator<PackedFrame> {
    return mapOrdered(tasks, this.tasksInFlight, (task) => this.pack(task));
  }

  /** A frame of any small thing: the header and the end of a stream, pages of an index. `raw` is copied. */
  async compress(raw: Uint8Array): Promise<Stored> {
    return (await this.#pool.run({ raw, level: this.#level }, [])) as Stored;
  }

  /** Ends the threads; what they were doing rejects. */
  async stop(): Promise<void> {
    await this.#pool.stop();
  }
}
