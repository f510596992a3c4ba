// Puts what a chain shows into an image: each frame is fetched once, decompressed in a thread, and written in pieces.

import { unlessAborted } from '../bytes/errno.ts';
import { blockBytes, type Frame, limits } from '../format/archive-index.ts';
import type { WritableImage } from '../image/port.ts';
import type { Chain } from '../repo/chain.ts';
import { type LivePart, livePieces } from '../repo/overlay.ts';
import type { BlockSet } from './block-set.ts';
import type { HeldExtents } from './held-extents.ts';
import { frameFailure, framesOf } from './restore-plan.ts';
import { Window } from './window.ts';

/** Stored and decompressed frames in memory; one more may be on top. */
const frameMemoryBytes = 64 << 20;
const writesInFlight = 128;
/** One call to make zeros covers this many bytes, which weigh as much as some writes. */
const zeroBytes = 64 << 20;
const zeroWeight = 16;

export interface RestoreJob {
  chain: Chain;
  target: WritableImage;
  /** Only these blocks; null: everything, onto an image that is zero. */
  only: BlockSet | null;
  signal?: AbortSignal | undefined;
  /** After each piece: bytes that were written. */
  onWritten?: ((bytes: number) => void) | undefined;
}

export interface Written {
  frames: number;
  fetchedBytes: number;
  writtenBytes: number;
  zeroedBytes: number;
}

/** What is under way; after a failure the caller waits for it before it touches the image. */
export class RestoreWindows {
  readonly frames = new Window(frameMemoryBytes);
  readonly writes = new Window(writesInFlight);

  async settled(): Promise<void> {
    await this.frames.settled();
    await this.writes.settled();
  }
}

/**
 * Writes the data that shows. When it resolves, everything was acknowledged (not flushed). After a failure calls may still
 * be under way in the windows.
 */
export async function writeFrames(job: RestoreJob, windows: RestoreWindows): Promise<Written> {
  const { chain, target, signal } = job;
  const { frames, writes } = windows;
  const done: Written = { frames: 0, fetchedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
  const spare: ArrayBuffer[] = [];

  const writeFrame = async (point: number, frame: Frame, live: readonly LivePart[]): Promise<void> => {
    const into = frame.rawBytes * 4 < limits.frameRawBytes ? undefined : spare.pop();
    const raw = await chain.points[point]!.archive.readFrame(frame, into ?? bufferFor(frame)).catch(
      (error: unknown) => {
        throw frameFailure(error, chain, point, frame);
      },
    );
    done.frames += 1;
    done.fetchedBytes += frame.bytes;
    let open = live.length;
    await new Promise<void>((resolve, reject) => {
      const writeAll = async (): Promise<void> => {
        for (const { offset, length, rawOffset } of live) {
          if (writes.isFull) await writes.room();
          writes.start(
            1,
            () => target.write(offset, raw.subarray(rawOffset, rawOffset + length)),
            () => {
              done.writtenBytes += length;
              job.onWritten?.(length);
              open -= 1;
              if (open === 0) resolve();
            },
          );
        }
      };
      writeAll().catch(reject);
    });
    if (raw.buffer.byteLength === limits.frameRawBytes) spare.push(raw.buffer);
  };

  for await (const { point, frame, live } of framesOf(chain, job)) {
    if (frames.isFull) await unlessAborted(frames.room(), signal);
    frames.start(frame.bytes + frame.rawBytes, () => writeFrame(point, frame, live));
  }
  await unlessAborted(frames.drain(), signal);
  await unlessAborted(writes.drain(), signal);
  return done;
}

/** Small frames have memory of their own; the others have buffers of one size, to be used again. */
const bufferFor = ({ rawBytes }: Frame): ArrayBuffer =>
  new ArrayBuffer(rawBytes * 4 < limits.frameRawBytes ? rawBytes : limits.frameRawBytes);

/** Makes zero what of these blocks is to be, and is held. Resolves to the bytes of them. */
export async function writeZeros(
  { chain, target, signal }: RestoreJob,
  only: BlockSet,
  held: HeldExtents,
  { writes }: RestoreWindows,
): Promise<number> {
  let bytes = 0;
  for await (const gap of gaps(chain)) {
    for (const run of only.runs(Math.floor(gap.start / blockBytes), Math.ceil(gap.end / blockBytes))) {
      const from = Math.max(gap.start, run.first * blockBytes);
      const to = Math.min(gap.end, run.end * blockBytes);
      for (const { offset, length } of held.within(from, to)) {
        for (let at = offset; at < offset + length; at += zeroBytes) {
          const part = Math.min(zeroBytes, offset + length - at);
          if (writes.isFull) await unlessAborted(writes.room(), signal);
          writes.start(Math.ceil((part / zeroBytes) * zeroWeight), () => target.writeZeroes(at, part));
          bytes += part;
        }
      }
    }
  }
  await unlessAborted(writes.drain(), signal);
  return bytes;
}

/** Where the image is to be zero, rising, joined. */
async function* gaps(chain: Chain): AsyncGenerator<{ start: number; end: number }, void, undefined> {
  let reached = 0;
  for await (const pieces of livePieces(chain)) {
    for (const { offset, end, frame } of pieces) {
      if (frame === null) continue;
      if (offset > reached) yield { start: reached, end: offset };
      reached = end;
    }
  }
  if (reached < chain.size) yield { start: reached, end: chain.size };
}
