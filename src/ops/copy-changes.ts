// Carries what a plan says from one image to another: reads and writes side by side, zeros stay holes.

import { unlessAborted } from '../bytes/errno.ts';
import { isZero, zeroRuns } from '../bytes/zero.ts';
import { type Piece, pieceBytes, piecesOf } from '../diff/pieces.ts';
import type { Image, WritableImage } from '../image/port.ts';
import { checkStillThere, extentLists } from './diff-extents.ts';
import type { DiffPlan } from './diff-plan.ts';
import { Window } from './window.ts';

/** Pieces under way, each of which takes up to 4 MiB (8, where it is compared). */
const piecesAtOnce = 16;
/** What is compared, block by block. */
const blockBytes = 4096;

export interface CopyJob {
  source: Image;
  /** Whose plan it is; absent: the source's. */
  planned?: Image;
  target: WritableImage;
  /**
   * What the target reads as where the plan tells of something: `zeros`; `anything`: zeros have to be made; `compare`:
   * it is read, and only what differs is written (a clone, which shows most of it anyway).
   */
  targetReads: 'zeros' | 'anything' | 'compare';
  /** Zeros in blocks of so many bytes become holes; 0: they are written. */
  sparseBytes: number;
  signal?: AbortSignal | undefined;
  /** Up to this offset all is known, if not yet written. */
  onReached?: (offset: number) => void;
}

/** Resolves to the bytes written when all is acknowledged; after a failure nothing is under way any more. */
export async function copyChanges(plan: DiffPlan, job: CopyJob): Promise<number> {
  const { source, planned = source } = job;
  const window = new Window(piecesAtOnce);
  const free: Memory[] = [];
  let written = 0;
  try {
    for await (const { extents, end } of extentLists(planned, plan, { zerosExactly: false })) {
      for (const piece of piecesOf(extents)) {
        if (window.isFull) await unlessAborted(window.room(), job.signal);
        const memory = free.pop() ?? new Memory();
        const copy = async (): Promise<void> => void (written += await copyPiece(job, piece, memory));
        window.start(1, copy, () => void free.push(memory));
      }
      job.onReached?.(end);
    }
    await unlessAborted(window.drain(), job.signal);
    await checkStillThere(planned, plan);
    return written;
  } finally {
    await window.settled();
  }
}

/** Of one piece: what the source has, and what the target has; made when they are needed. */
class Memory {
  #source: Buffer | null = null;
  #target: Buffer | null = null;
  source(length: number): Buffer {
    return (this.#source ??= Buffer.allocUnsafeSlow(pieceBytes)).subarray(0, length);
  }
  target(length: number): Buffer {
    return (this.#target ??= Buffer.allocUnsafeSlow(pieceBytes)).subarray(0, length);
  }
}

async function copyPiece(job: CopyJob, piece: Piece, memory: Memory): Promise<number> {
  const { source, target } = job;
  const data = memory.source(piece.end - piece.offset);
  if (data.length > 0) await source.read(piece.offset, data);
  const calls = new Window(Number.POSITIVE_INFINITY);
  let written = 0;
  const clear = (from: number, to: number): void => {
    if (job.targetReads !== 'zeros') calls.start(1, () => target.writeZeroes(from, to - from));
  };
  const emit = (part: Uint8Array, offset: number, from: number, to: number, zero: boolean): void => {
    if (zero) return clear(offset + from, offset + to);
    written += to - from;
    calls.start(1, () => target.write(offset + from, part.subarray(from, to)));
  };
  try {
    for (const { offset, end, kind } of piece.parts) {
      const part = kind === 'zero' ? null : data.subarray(offset - piece.offset, end - piece.offset);
      if (job.targetReads === 'compare') await comparePart(target, memory, { offset, end }, part, emit);
      else if (part === null) clear(offset, end);
      else if (job.sparseBytes === 0) emit(part, offset, 0, part.length, false);
      else zeroRuns(part, offset, job.sparseBytes, (from, to, zero) => emit(part, offset, from, to, zero));
    }
    await calls.drain();
    return written;
  } finally {
    // the memory is used again then
    await calls.settled();
  }
}

/** Where the target differs from the part (null: zeros), in blocks. */
async function comparePart(
  target: WritableImage,
  memory: Memory,
  { offset, end }: { offset: number; end: number },
  part: Uint8Array | null,
  emit: (part: Uint8Array, offset: number, from: number, to: number, zero: boolean) => void,
): Promise<void> {
  for (let at = offset; at < end; at += pieceBytes) {
    const there = memory.target(Math.min(pieceBytes, end - at));
    await target.read(at, there);
    const wanted = part?.subarray(at - offset, at - offset + there.length) ?? null;
    for (const { from, to, zero } of differences(wanted, there)) emit(wanted ?? there, at, from, to, zero);
  }
}

interface Run {
  from: number;
  to: number;
  zero: boolean;
}

function differences(wanted: Uint8Array | null, there: Buffer): Run[] {
  const runs: Run[] = [];
  for (let from = 0; from < there.length; from += blockBytes) {
    const to = Math.min(from + blockBytes, there.length);
    const block = wanted?.subarray(from, to) ?? null;
    if (block === null ? isZero(there.subarray(from, to)) : there.subarray(from, to).equals(block)) continue;
    const zero = block === null || isZero(block);
    const last = runs.at(-1);
    if (last !== undefined && last.to === from && last.zero === zero) last.to = to;
    else runs.push({ from, to, zero });
  }
  return runs;
}
