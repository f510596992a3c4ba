// Which of the changed bytes are zero: they are read, many at once, scanned, and become the records of a diff stream.

import { zeroRuns } from '../bytes/zero.ts';
import type { DiffRecord, DiffStream } from '../format/rbd-diff.ts';
import type { Image } from '../image/port.ts';
import { endOf } from '../diff/extent.ts';
import { piecesOf } from '../diff/pieces.ts';
import { checkStillThere, extentLists } from './diff-extents.ts';
import type { DiffPlan } from './diff-plan.ts';
import { type Read, ReadWindow } from './read-window.ts';

export interface DiffProgress {
  /** Bytes of the range that are behind us, of the bytes of the range. */
  doneBytes: number;
  totalBytes: number;
}

export interface StreamOptions {
  /** Reads in flight, 16 unless told; together they take no more than 32 MiB. */
  queueDepth?: number;
  onProgress?: (progress: DiffProgress) => void;
}

/** Zeros are looked for in blocks of this many bytes, aligned to the image. */
const zeroBlockBytes = 4096;

/**
 * The diff of the plan: ascending records, writes of at most 4 MiB, zeros wherever a block of 4 KiB reads as zeros, one
 * record for zeros that touch. `data` is valid until the next record is pulled. After the last read the header is read
 * again: the stream fails ('notFound') instead of ending when a snapshot of the plan is gone. `image` stays open.
 */
export const diffStream = (image: Image, plan: DiffPlan, options: StreamOptions = {}): DiffStream => ({
  header: headerOf(plan),
  records: readRecords(image, plan, options),
});

/**
 * A part (the plan has a range) must not pass for the whole: it tells its borders, and only the last one where the diff
 * ends. So rbd, which passes over the borders, makes the end snapshot last if all are applied in turn; an import here
 * refuses a part, and `mergeDiffs` makes the whole of all of them, and of nothing less.
 */
const headerOf = ({ info, from, range }: DiffPlan): DiffStream['header'] => {
  const { size } = info;
  const [offset, end] = [range.offset, endOf(range)];
  return {
    fromSnap: from?.name ?? null,
    toSnap: end === size ? (info.snapshot?.name ?? null) : null,
    size,
    protected: null,
    ...(offset > 0 || end < size ? { part: { offset, end } } : {}),
  };
};

async function* readRecords(
  image: Image,
  plan: DiffPlan,
  { queueDepth = 16, onProgress }: StreamOptions,
): AsyncGenerator<DiffRecord, void, undefined> {
  const window = new ReadWindow(image, queueDepth);
  const zeros = new PendingZeros();
  const progress = (position: number): void => {
    onProgress?.({ doneBytes: position - plan.range.offset, totalBytes: plan.range.length });
  };
  const oldest = async function* (): AsyncGenerator<DiffRecord, void, undefined> {
    const read = await window.oldest();
    for (const record of recordsOf(read, zeros)) yield record;
    window.releaseOldest();
    progress(read.piece.parts.at(-1)?.end ?? 0);
  };
  try {
    progress(plan.range.offset);
    for await (const { extents, end } of extentLists(image, plan, { zerosExactly: false })) {
      for (const piece of piecesOf(extents)) {
        plan.signal?.throwIfAborted();
        while (!window.hasRoomFor(piece)) yield* oldest();
        window.start(piece);
      }
      if (window.isEmpty) progress(end);
    }
    while (!window.isEmpty) yield* oldest();
    const last = zeros.take();
    if (last !== null) yield last;
    await checkStillThere(image, plan);
    progress(plan.range.offset + plan.range.length);
  } finally {
    await window.settle();
  }
}

function* recordsOf({ piece, data }: Read, zeros: PendingZeros): Generator<DiffRecord, void, undefined> {
  const runs: number[] = [];
  for (const { offset, end, kind } of piece.parts) {
    if (kind === 'zero') {
      const done = zeros.add(offset, end);
      if (done !== null) yield done;
      continue;
    }
    const part = data.subarray(offset - piece.offset, end - piece.offset);
    runs.length = 0;
    zeroRuns(part, offset, zeroBlockBytes, (from, to, zero) => runs.push(from, to, zero ? 1 : 0));
    for (let i = 0; i < runs.length; i += 3) {
      const [from = 0, to = 0, zero] = [runs[i], runs[i + 1], runs[i + 2]];
      const done = zero === 1 ? zeros.add(offset + from, offset + to) : zeros.take();
      if (done !== null) yield done;
      if (zero === 0) yield { kind: 'write', offset: offset + from, data: part.subarray(from, to), remaining: 0 };
    }
  }
}

/** Zeros that are not told yet, since more may follow. */
class PendingZeros {
  #record: Extract<DiffRecord, { kind: 'zero' }> | null = null;

  /** Gives what was pending, if the new zeros do not continue it. */
  add(offset: number, end: number): DiffRecord | null {
    const pending = this.#record;
    if (pending !== null && pending.offset + pending.length === offset) {
      pending.length += end - offset;
      return null;
    }
    this.#record = { kind: 'zero', offset, length: end - offset };
    return pending;
  }

  take(): DiffRecord | null {
    const pending = this.#record;
    this.#record = null;
    return pending;
  }
}
