// What the newest points of a chain changed, as one diff stream.

import { RbdeltaError } from '../error.ts';
import type { DiffHeader, DiffRecord, DiffStream } from '../format/rbd-diff.ts';
import type { Chain } from './chain.ts';
import { FrameCache, type HeldFrame } from './frame-cache.ts';
import { textOf } from './keys.ts';
import { type LivePiece, livePieces } from './overlay.ts';

export interface ChainDiffOptions {
  /** Bytes of decompressed frames that are held; 96 MiB if absent. With less, frames are read again more often. */
  budgetBytes?: number;
}

/**
 * The diff from the state of the point `from` to that of the newest one; `null` is from nothing, a full (which needs no
 * zeros). In rising order; a record is valid until the next is pulled. Frames are fetched ahead of the records. Throws
 * `notFound` if the chain has no point `from`.
 */
export function chainDiff(chain: Chain, from: string | null, options: ChainDiffOptions = {}): DiffStream {
  const after = from === null ? -1 : chain.points.findIndex(({ id }) => id === from);
  const newest = chain.points.at(-1)?.manifest;
  if (newest === undefined || (from !== null && after < 0)) {
    const message = `the chain of ${newest?.point} of ${textOf(chain.image)} has no point ${from}`;
    throw new RbdeltaError('notFound', message, { hint: 'a diff starts at a point that the other one builds on' });
  }
  const base = chain.points[after]?.manifest;
  const header: DiffHeader = {
    fromSnap: base?.snapshot.name ?? null,
    toSnap: newest.snapshot.name,
    size: chain.size,
    protected: null,
  };
  return { header, records: records(chain, after, options.budgetBytes ?? 96 << 20) };
}

/** Records that are known ahead of the one that is told, at most. */
const aheadPieces = 4096;

async function* records(chain: Chain, after: number, budgetBytes: number): AsyncGenerator<DiffRecord, void, undefined> {
  const frames = new FrameCache(chain, after, budgetBytes);
  const pieces = withGrown(chain, after);
  const ahead: { piece: LivePiece; frame: HeldFrame | null }[] = [];
  let isLast = false;
  let zeroFrom = 0;
  let zeroTo = 0; // zeros that are not yet told, since more may follow
  try {
    for (;;) {
      while (!isLast && ahead.length < aheadPieces && frames.takenBytes < budgetBytes / 4) {
        const next = await pieces.next();
        isLast = next.done === true;
        if (next.done === true) break;
        const piece = next.value;
        const { point, frame, rawOffset } = piece;
        const rawEnd = rawOffset + piece.end - piece.offset;
        ahead.push({ piece, frame: frame === null ? null : frames.take(point, frame, rawOffset, rawEnd) });
      }
      const next = ahead.shift();
      if (next !== undefined && next.frame === null && zeroTo === next.piece.offset && zeroTo > zeroFrom) {
        zeroTo = next.piece.end;
        continue;
      }
      if (zeroTo > zeroFrom) yield { kind: 'zero', offset: zeroFrom, length: zeroTo - zeroFrom };
      zeroFrom = zeroTo = 0;
      if (next === undefined) return;
      const { offset, end, rawOffset } = next.piece;
      if (next.frame === null) {
        zeroFrom = offset;
        zeroTo = end;
        continue;
      }
      const at = rawOffset - next.frame.start;
      const data = (await next.frame.bytes).subarray(at, at + end - offset);
      yield { kind: 'write', offset, data, remaining: 0 };
      frames.give(next.frame);
    }
  } finally {
    await pieces.return(undefined);
    await frames.close();
  }
}

/** The pieces one by one; zeros only where there is something below them, and where the image was cut and grew again. */
export async function* withGrown(chain: Chain, after: number): AsyncGenerator<LivePiece, void, undefined> {
  const base = chain.points[after]?.manifest.image.size ?? 0;
  const smallest = Math.min(base, ...chain.points.slice(after + 1).map(({ manifest }) => manifest.image.size));
  const zero = (offset: number, end: number): LivePiece => ({ offset, end, point: after, frame: null, rawOffset: 0 });
  // what is above was cut off by a point in between, and is zero unless a piece tells otherwise
  const grown = { from: smallest, to: Math.min(base, chain.size) };
  let at = grown.from;
  for await (const batch of livePieces(chain, undefined, after)) {
    for (const piece of batch) {
      if (at < Math.min(piece.offset, grown.to)) yield zero(at, Math.min(piece.offset, grown.to));
      at = Math.max(at, piece.end);
      if (piece.frame !== null || after >= 0) yield piece;
    }
  }
  if (at < grown.to) yield zero(at, grown.to);
}
