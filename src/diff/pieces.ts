// Changed extents cut and joined into pieces that one read each serves.

import type { ExtentList } from './extent.ts';

/** A piece lies between two multiples of this: inside one object of the usual size. */
export const pieceBytes = 4 << 20;
/** Reading so many unchanged bytes costs less than a read of its own for what follows them. */
const gapBytes = 64 << 10;
/** So that what is known gets out, even if there is nothing to read for long. */
const mostParts = 1024;

/** Neighbouring parts, of which one read gets all that is data: [offset, end), empty if none is. */
export interface Piece {
  offset: number;
  end: number;
  /** Ascending. Between the data parts there may be bytes that are read, and did not change. */
  parts: { offset: number; end: number; kind: 'data' | 'zero' }[];
}

/** All extents of the list (ascending), in order. */
export function* piecesOf(extents: ExtentList): Generator<Piece, void, undefined> {
  let piece: Piece = { offset: 0, end: 0, parts: [] };
  for (let i = 0; i < extents.count; i++) {
    const kind = extents.kind(i);
    const stop = extents.offset(i) + extents.length(i);
    for (let offset = extents.offset(i); offset < stop; ) {
      const blockEnd = (Math.floor(offset / pieceBytes) + 1) * pieceBytes;
      const end = kind === 'zero' ? stop : Math.min(stop, blockEnd);
      if (piece.parts.length === mostParts || (kind === 'data' && !reaches(piece, offset, blockEnd))) {
        if (piece.parts.length > 0) yield piece;
        piece = { offset: 0, end: 0, parts: [] };
      }
      if (kind === 'data') {
        if (piece.end === 0) piece.offset = offset;
        piece.end = end;
      }
      piece.parts.push({ offset, end, kind });
      offset = end;
    }
  }
  if (piece.parts.length > 0) yield piece;
}

/** Whether the read of the piece may go on to what begins at `offset`, in the block that ends at `blockEnd`. */
const reaches = (piece: Piece, offset: number, blockEnd: number): boolean =>
  piece.end === 0 || (offset - piece.end <= gapBytes && piece.offset >= blockEnd - pieceBytes);
