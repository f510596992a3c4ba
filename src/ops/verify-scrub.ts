// The second level of `repo verify`: frames are fetched and decompressed, all of a point or a share of them.

import { interruption } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { type Frame, limits } from '../format/archive-index.ts';
import type { IndexReader } from '../repo/archive-reader.ts';
import type { Chain, ChainPoint } from '../repo/chain.ts';
import { auditEdges, type Damage, isDamage } from './verify-audit.ts';

/** Frames under way at once: up to 8 MiB each. */
const framesAtOnce = 8;
/** More need not be told of one point. */
const mostDamages = 20;

export interface Scrub {
  /** Frames of records that the point has. */
  total: number;
  /** How many of them, from the first, have been read: by earlier scrubs, and by this one so far. */
  done: number;
  /** Stored bytes that this one has read. */
  bytes: number;
  /** Frames that it could not read; `damages` are the first of them. */
  damaged: number;
  damages: Damage[];
}

/**
 * Reads `percent` of the frames, behind the first `from` of them; those of header and end with the first. `scrub` is kept
 * up to date, so that after an interruption it tells where the next one goes on.
 */
export async function scrubPoint(
  chain: Chain,
  point: ChainPoint,
  scrub: Scrub,
  options: { from: number; percent: number; signal?: AbortSignal | undefined; onBytes?: (bytes: number) => void },
): Promise<void> {
  const index = await point.archive.index();
  scrub.total = index.directory.pages.reduce((sum, { frames }) => sum + frames, 0);
  scrub.done = Math.min(options.from, scrub.total);
  const end = Math.min(scrub.total, scrub.done + Math.ceil((scrub.total * options.percent) / 100));
  const damaged = (message: string): void => {
    scrub.damaged += 1;
    if (scrub.damages.length < mostDamages) scrub.damages.push({ point: point.id, message });
  };
  if (options.from === 0) {
    await auditEdges(chain, point).catch((error: unknown) => {
      if (!isDamage(error)) throw error;
      damaged(error.message);
    });
  }
  const spare: ArrayBuffer[] = [];
  const checked = mapOrdered(framesFrom(index, scrub.done, end), framesAtOnce, async (frame) => {
    if (options.signal?.aborted) throw interruption(options.signal);
    const failure = await point.archive.readFrame(frame, spare.pop() ?? new ArrayBuffer(limits.frameRawBytes)).then(
      ({ buffer }) => {
        spare.push(buffer);
        return null;
      },
      (error: unknown) => {
        if (!isDamage(error)) throw error;
        return error.message;
      },
    );
    return { frame, failure };
  });
  for await (const { frame, failure } of checked) {
    scrub.done += 1;
    scrub.bytes += frame.bytes;
    if (failure !== null) damaged(failure);
    options.onBytes?.(frame.bytes);
  }
}

/** The frames from the one with this number, in the order of the archive; pages before it are not read. */
async function* framesFrom(index: IndexReader, first: number, end: number): AsyncGenerator<Frame, void, undefined> {
  let number = 0;
  for (const [i, { frames: count }] of index.directory.pages.entries()) {
    if (number >= end) return;
    if (number + count > first)
      for (const [j, frame] of (await index.page(i)).entries())
        if (number + j >= first && number + j < end) yield frame;
    number += count;
  }
}
