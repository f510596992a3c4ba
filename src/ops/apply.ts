// Applies the records of one diff to an image: writes in a bounded window, zero runs as holes, gaps cleared if asked.

import { unlessAborted } from '../bytes/errno.ts';
import { zeroRuns } from '../bytes/zero.ts';
import { RbdeltaError } from '../error.ts';
import type { DiffRecord } from '../format/rbd-diff.ts';
import type { WritableImage } from '../image/port.ts';
import { Coverage } from './coverage.ts';
import type { HeldExtents } from './held-extents.ts';
import type { PayloadBuffers } from './payload-buffers.ts';
import type { Window } from './window.ts';

export const limits = {
  /**
   * Writes in flight. Small ones cost a round trip each: with 16 at once, 64 MiB of scattered 4 KiB took twice the time
   * that they took with 128. rbd keeps thousands in its cache.
   */
  writes: 128,
  /** Bytes of payload in flight. */
  payloadBytes: 32 << 20,
  /** One call to make zeros covers about this many bytes: it may mean an operation for each object in it. */
  zeroBytes: 64 << 20,
  /** So many bytes of zeros take as much of the window as one write: about one object. */
  zeroWeightBytes: 4 << 20,
} as const;

/** rbd's default for --sparse-size. */
export const defaultSparseBytes = 4096;

export interface ApplyJob {
  target: WritableImage;
  records: AsyncIterable<DiffRecord>;
  /** The memory that the payloads of `records` lie in; each piece is released when it is written. */
  buffers: PayloadBuffers;
  /** What the caller waits for before it touches the image after a failure. */
  window: Window;
  /** Bytes of the image now: no record may end past it. */
  size: number;
  /** Bytes of a stripe period: calls to make zeros are cut at multiples of it, so that whole objects go. */
  periodBytes: number;
  /** Everything from this offset on is known to read as zeros. */
  zeroFrom: number;
  /** `checked`: records may not overlap. `asGiven`: each takes effect after those before it, as far as they overlap. */
  order: 'checked' | 'asGiven';
  /** Clears what lies here and no record covers. Needs `checked`. */
  clear: HeldExtents | null;
  /** Blocks of zeros in payloads, counted from the start of their record, become holes; 0: payloads go as they are. */
  sparseBytes: number;
  signal?: AbortSignal | undefined;
  /** After each piece. */
  onRecord?: (() => void) | undefined;
}

export interface Applied {
  /** Bytes of `w` payload that went as data. */
  writtenBytes: number;
  /** Bytes of `z` records, and of zero runs in payloads. */
  zeroedBytes: number;
  records: number;
}

/**
 * Pulls every record and applies it. When it resolves, everything was acknowledged (not flushed). After a failure calls
 * may still be under way in `window`.
 */
export async function applyRecords(job: ApplyJob): Promise<Applied> {
  const { target, window, buffers, size, zeroFrom, sparseBytes, signal } = job;
  const applied: Applied = { writtenBytes: 0, zeroedBytes: 0, records: 0 };
  const zeroChunk = Math.ceil(limits.zeroBytes / job.periodBytes) * job.periodBytes;
  const gaps: { start: number; end: number }[] = [];
  const coverage =
    job.order === 'checked' ? new Coverage((start, end) => job.clear && gaps.push({ start, end })) : null;
  let reached = 0;
  let whole = true;

  const start = async (weight: number, call: () => Promise<void>, then?: () => void): Promise<void> => {
    if (window.isFull) await unlessAborted(window.room(), signal);
    window.start(weight, call, then);
  };

  const makeZero = async (from: number, to: number): Promise<void> => {
    // Records that may overlap may have written there: nothing is known to be zero then.
    const end = coverage ? Math.min(to, zeroFrom) : to;
    for (let offset = from; offset < end; ) {
      const length = Math.min(end, offset - (offset % zeroChunk) + zeroChunk) - offset;
      const at = offset;
      await start(Math.ceil(length / limits.zeroWeightBytes), () => target.writeZeroes(at, length));
      offset += length;
    }
  };

  const clearGaps = async (): Promise<void> => {
    for (const gap of gaps.splice(0))
      for (const extent of job.clear?.within(gap.start, gap.end) ?? [])
        await makeZero(extent.offset, extent.offset + extent.length);
  };

  const write = async (record: DiffRecord & { kind: 'write' }, offsetInRecord: number): Promise<void> => {
    const { data, offset } = record;
    const runs: { start: number; end: number }[] = [];
    const holes: { start: number; end: number }[] = [];
    if (sparseBytes === 0) runs.push({ start: 0, end: data.length });
    else
      zeroRuns(data, offsetInRecord, sparseBytes, (from, to, zero) =>
        (zero ? holes : runs).push({ start: from, end: to }),
      );
    let open = runs.length;
    if (open === 0) buffers.release(data);
    for (const hole of holes) {
      applied.zeroedBytes += hole.end - hole.start;
      await makeZero(offset + hole.start, offset + hole.end);
    }
    for (const run of runs) {
      applied.writtenBytes += run.end - run.start;
      const bytes = data.subarray(run.start, run.end);
      const done = (): void => {
        open -= 1;
        if (open === 0) buffers.release(data);
      };
      await start(1, () => target.write(offset + run.start, bytes), done);
    }
  };

  const iterator = job.records[Symbol.asyncIterator]();
  let ended = false;
  let offsetInRecord = 0;
  try {
    for (;;) {
      const next = await unlessAborted(iterator.next(), signal);
      if (next.done) break;
      const record = next.value;
      const length = record.kind === 'write' ? record.data.length + record.remaining : record.length;
      if (record.offset + length > size)
        throw new RbdeltaError(
          'corrupt',
          `a record ends at byte ${record.offset + length}, the image has ${size} bytes`,
        );
      if (whole) {
        applied.records += 1;
        offsetInRecord = 0;
        coverage?.add(record.offset, length);
        if (!coverage && record.offset < reached) await unlessAborted(window.drain(), signal);
        reached = Math.max(reached, record.offset + length);
        if (gaps.length > 0) await clearGaps();
      }
      if (record.kind === 'zero') {
        applied.zeroedBytes += length;
        await makeZero(record.offset, record.offset + length);
      } else {
        const bytes = record.data.length;
        whole = record.remaining === 0;
        await write(record, offsetInRecord);
        offsetInRecord += bytes;
      }
      job.onRecord?.();
    }
    ended = true;
    coverage?.finish(size);
    await clearGaps();
    await unlessAborted(window.drain(), signal);
    return applied;
  } finally {
    // After an interruption a pull may be under way that never ends: then nobody waits for it.
    const left = ended ? undefined : iterator.return?.();
    if (signal?.aborted) left?.catch(() => {});
    else await left;
  }
}
