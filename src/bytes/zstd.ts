// zstd on the way out (frames compressed on all cores) and recognised on the way in; never on the main thread.

import { availableParallelism } from 'node:os';
import { RbdeltaError } from '../error.ts';
import type { ByteSink } from './sink.ts';
import { type ByteSource, chunkSource, inputFailure } from './source.ts';
import { startThread, ThreadPool } from './thread.ts';
import type { CompressedFrame, CompressTask } from './zstd-compress-worker.js';
import type { DecompressResult, DecompressStep } from './zstd-decompress-worker.js';

export const limits = {
  /** zstd's own levels without its "ultra" ones, whose windows a plain `zstd -d` would take 8 times the memory for. */
  levels: { lowest: 1, highest: 19 },
  /** 128 MiB, the limit of `zstd -d` as well: a frame that needs a larger window is refused. */
  windowLog: 27,
} as const;

export interface ZstdOptions {
  /** 1 to 19; 3 if absent. */
  level?: number;
  /** Bytes of input in a frame; 4 MiB if absent. */
  frameBytes?: number;
  /** Frames compressed at the same time; one for each core if absent. */
  threads?: number;
}

/**
 * Writes what it gets to `inner` as zstd: frames of their own, in order, each with its content size and checksum, so
 * that `zstd -d` reads them as one. At most `threads + 2` frames are held. The threads start with the first frame.
 */
export function zstdSink(inner: ByteSink, options: ZstdOptions = {}): ByteSink {
  const { level = 3, frameBytes = 4 << 20, threads = availableParallelism() } = options;
  checkLevel(level);
  const startOne = () => startThread<CompressTask, CompressedFrame>('zstd-compress-worker', import.meta.url);
  const pool = new ThreadPool(startOne, threads);
  const spare: ArrayBuffer[] = [];
  let frame: ArrayBuffer | null = null;
  let filled = 0;
  let frames = 0;
  /** What has been handed to the threads and is not yet written, oldest first; the last settles after all. */
  const inFlight: Promise<void>[] = [];
  let last: Promise<void> = Promise.resolve();

  async function submit(): Promise<void> {
    const input = frame ?? new ArrayBuffer(0);
    const compressed = quiet(pool.run({ input, length: filled, level }, [input]));
    const before = last;
    last = before.then(async () => {
      const { input, output } = await compressed;
      spare.push(input);
      await inner.write([new Uint8Array(output)]);
    });
    inFlight.push(quiet(last));
    frame = null;
    filled = 0;
    frames += 1;
    if (inFlight.length > threads) await inFlight.shift();
  }

  return {
    async write(chunks) {
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; ) {
          frame ??= spare.pop() ?? new ArrayBuffer(frameBytes);
          const part = chunk.subarray(at, at + frameBytes - filled);
          new Uint8Array(frame).set(part, filled);
          filled += part.length;
          at += part.length;
          if (filled === frameBytes) await submit();
        }
      }
    },
    async finish() {
      // Nothing at all is still one frame: `zstd -d` calls an empty file truncated.
      if (filled > 0 || frames === 0) await submit();
      await last;
      await pool.stop();
      await inner.finish();
    },
    async abort() {
      await pool.stop();
      await last.catch(() => {});
      await inner.abort();
    },
  };
}

export function checkLevel(level: number): void {
  const { lowest, highest } = limits.levels;
  if (Number.isInteger(level) && level >= lowest && level <= highest) return;
  throw new RbdeltaError('usage', `zstd level ${level} is not one of ${lowest} to ${highest}`);
}

/**
 * The bytes of `source`, decompressed if they begin as zstd does (frames and skippable frames, as many as there are),
 * as they are if not. What is cut off or damaged is `corrupt` when the reader gets there.
 */
export async function autoDecompress(source: ByteSource): Promise<ByteSource> {
  const head = Buffer.alloc(4);
  let length = 0;
  while (length < head.length) {
    const count = await source.read(head.subarray(length));
    if (count === 0) break;
    length += count;
  }
  const whole = withHead(head.subarray(0, length), source);
  return beginsAsZstd(head.subarray(0, length)) ? decompressed(whole) : whole;
}

const frameMagic = 0xfd2fb528;
const skippableMagic = 0x184d2a50;

/** Whether these first bytes (4 are enough) are those of zstd. */
export function beginsAsZstd(head: Buffer): boolean {
  if (head.length < 4) return false;
  const magic = head.readUInt32LE(0);
  return magic === frameMagic || (magic & 0xfffffff0) >>> 0 === skippableMagic;
}

function withHead(head: Uint8Array, source: ByteSource): ByteSource {
  let left = head;
  return {
    name: source.name,
    async read(into, least) {
      if (left.length === 0) return source.read(into, least);
      const count = Math.min(left.length, into.length);
      into.set(left.subarray(0, count));
      left = left.subarray(count);
      return count;
    },
    close: () => source.close(),
  };
}

const inputBytes = 256 << 10;
const outputBytes = 1 << 20;

function decompressed(source: ByteSource): ByteSource {
  const chunks = chunkSource(decompress(source));
  return {
    name: source.name,
    read: (into) => chunks.read(into),
    async close() {
      await chunks.close();
      await source.close();
    },
  };
}

/**
 * The decompressed bytes; a chunk is valid until the next is pulled. Two buffers each way: while the consumer has one
 * output, the thread fills the other; while the thread has one input, the other is read into.
 */
async function* decompress(source: ByteSource): AsyncGenerator<Uint8Array> {
  const thread = startThread<DecompressStep, DecompressResult>('zstd-decompress-worker', import.meta.url);
  let output = new ArrayBuffer(outputBytes);
  let input = { buffer: new ArrayBuffer(inputBytes), start: 0, end: 0 };
  let position = 0;
  let needsInput = true;
  let betweenFrames = true;

  const readInto = async (buffer: ArrayBuffer): Promise<typeof input> => {
    return { buffer, start: 0, end: await source.read(new Uint8Array(buffer)) };
  };
  let nextInput = quiet(readInto(new ArrayBuffer(inputBytes)));

  async function step(into: ArrayBuffer): Promise<DecompressResult | null> {
    if (needsInput) {
      const read = await nextInput;
      if (read.end > 0) nextInput = quiet(readInto(input.buffer));
      else if (betweenFrames) return null;
      else throw damaged(source, `the zstd stream ends at byte ${position} inside a frame`);
      input = read;
    }
    const { buffer, start, end } = input;
    const task = { input: buffer, output: into, start, end, windowLog: limits.windowLog };
    const result = await thread.run(task, [buffer, into]);
    if (result.failure !== null) throw decompressionFailure(source, result.failure, position + result.consumed);
    position += result.consumed;
    input = { buffer: result.input, start: start + result.consumed, end };
    needsInput = result.produced < result.output.byteLength;
    betweenFrames = result.betweenFrames;
    return result;
  }

  try {
    let pending = step(new ArrayBuffer(outputBytes));
    for (;;) {
      const result = await pending;
      if (result === null) return;
      pending = quiet(step(output));
      if (result.produced > 0) yield new Uint8Array(result.output, 0, result.produced);
      output = result.output;
    }
  } finally {
    await thread.stop();
  }
}

const damaged = ({ name }: ByteSource, message: string): RbdeltaError =>
  inputFailure(name, 'corrupt', message, {
    hint: 'it was cut off or damaged: `zstd -t` says the same of it; fetch it again',
  });

/** `failure` is the name that libzstd gives to its error. */
function decompressionFailure(source: ByteSource, failure: string, position: number): RbdeltaError {
  const where = `the zstd stream near byte ${position}`;
  if (failure.includes('too much memory')) {
    const hint = 'decompress it outside: zstd -d --long=31';
    return inputFailure(source.name, 'tooLarge', `${where} has a frame with a window of more than 128 MiB`, { hint });
  }
  if (failure.startsWith('Dictionary')) {
    const hint = 'decompress it outside: zstd -d -D DICTIONARY';
    return inputFailure(source.name, 'unsupported', `${where} has a frame that needs a dictionary`, { hint });
  }
  return damaged(source, `${where} is damaged: ${failure}`);
}

/** A rejection is looked at later: until then it is not an unhandled one. */
function quiet<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}
