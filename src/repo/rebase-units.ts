// What becomes of a chain's frames when a point gets another base: those that are taken as they are, and what is left.

import { blockBytes, type Frame, hullOf } from '../format/archive-index.ts';
import { withGrown } from './chain-diff.ts';
import type { Chain } from './chain.ts';
import { type LivePiece, StateCursor } from './overlay.ts';

/** A frame has no more payload. */
const payloadBytes = 4 << 20;
/** Nor many more records: those of one block. */
const frameRecords = 12_000;
/** Pieces are cut at multiples of this, so that frames get full. */
const chunkBytes = 256 << 10;
/** A frame that is taken as it is, */
export interface CopyUnit {
  point: number;
  frame: Frame;
  /** Where its hull ends. */
  end: number;
}

/** or pieces that make a new one, with what is known of the blocks that they touch. */
export interface PackUnit {
  pieces: LivePiece[];
  runs: Float64Array;
  digests: Uint8Array;
  end: number;
}

/** Frames to be, rising; their hulls do not overlap. */
export async function* unitsOf(chain: Chain, base: number): AsyncGenerator<CopyUnit | PackUnit, void, undefined> {
  const state = new NewestBlocks(new StateCursor(chain, base));
  let loose: LivePiece[] = [];
  let payload = 0;
  const packLoose = (): PackUnit => {
    const unit = { pieces: loose, ...state.take(), end: state.reached };
    [loose, payload] = [[], 0];
    return unit;
  };
  for await (const { pieces, frame, next } of groupsOf(chain, base)) {
    if (frame !== null) {
      const { start, end } = hullOf(frame);
      const isApart = start >= state.reached && (next === null || next >= end);
      if (isApart) {
        const before = loose.length > 0 ? packLoose() : null;
        if (before !== null) yield before;
        if (await state.isAsIn(frame)) {
          void state.take();
          yield { point: pieces[0]!.point, frame, end };
          continue;
        }
      }
    }
    for (const part of pieces.flatMap((piece) => [...chunksOf(piece)])) {
      const last = loose.at(-1);
      const isNewBlock = last === undefined || floorBlock(part.offset) >= last.end;
      const bytes = part.frame === null ? 0 : part.end - part.offset;
      // What follows in the same block goes into the same frame.
      const rest = part.end % blockBytes === 0 ? 0 : blockBytes;
      const isFull = payload + bytes + rest > payloadBytes || loose.length >= frameRecords;
      if (last !== undefined && isNewBlock && isFull) yield packLoose();
      await state.touch(part.offset, part.end);
      loose.push(part);
      payload += bytes;
    }
  }
  if (loose.length > 0) yield packLoose();
}

/** What blocks are in the newest state, in rising order: runs and digests, as a frame has them. */
class NewestBlocks {
  /** Bytes of the image: what lies below was asked for. */
  reached = 0;
  readonly #cursor: StateCursor;
  #runs: number[] = [];
  #digests: Uint8Array[] = [];

  constructor(cursor: StateCursor) {
    this.#cursor = cursor;
  }

  /** The blocks that [offset, end) touches, unless they were touched. */
  async touch(offset: number, end: number): Promise<void> {
    const first = Math.floor(Math.max(offset, this.reached) / blockBytes);
    const last = Math.ceil(end / blockBytes);
    if (first >= last) return;
    const { blocks, digests } = await this.#cursor.old(first, last);
    let at = first;
    for (const block of blocks) {
      if (block > at) addRun(this.#runs, at, at - block);
      addRun(this.#runs, block, 1);
      at = block + 1;
    }
    if (at < last) addRun(this.#runs, at, at - last);
    this.#digests.push(digests);
    this.reached = last * blockBytes;
  }

  /** Touches the blocks that the frame tells of: whether they are what it says. No later point changed them then. */
  async isAsIn({ runs, digests }: Frame): Promise<boolean> {
    for (let i = 0; i < runs.length; i += 2)
      await this.touch(runs[i]! * blockBytes, (runs[i]! + Math.abs(runs[i + 1]!)) * blockBytes);
    const same = (a: number, at: number): boolean => a === this.#runs[at];
    const joined = joinedRuns(runs);
    return joined.length === this.#runs.length && joined.every(same) && Buffer.concat(this.#digests).equals(digests);
  }

  /** What was touched since the last call. */
  take(): { runs: Float64Array; digests: Uint8Array } {
    const taken = { runs: Float64Array.from(this.#runs), digests: Buffer.concat(this.#digests) };
    [this.#runs, this.#digests] = [[], []];
    return taken;
  }
}

/** Runs of one kind that continue each other are one. */
function joinedRuns(runs: Float64Array): number[] {
  const joined: number[] = [];
  for (let i = 0; i < runs.length; i += 2) addRun(joined, runs[i]!, runs[i + 1]!);
  return joined;
}

interface Group {
  /** Rising, of one point, nothing of another point between them. */
  pieces: LivePiece[];
  /** The frame that they are the whole of; null if they are not. */
  frame: Frame | null;
  /** Where the next group begins; null for the last one. */
  next: number | null;
}

/** The pieces, those of one frame together where nothing else shows between them. */
async function* groupsOf(chain: Chain, base: number): AsyncGenerator<Group, void, undefined> {
  let pieces: LivePiece[] = [];
  /** The frame of the data pieces of the group. */
  let frame: Frame | null = null;
  const group = (next: number | null): Group => ({
    pieces,
    frame: frame !== null && isAll(frame, pieces) ? frame : null,
    next,
  });
  const fitsTo = (first: LivePiece, piece: LivePiece): boolean => {
    if (piece.point !== first.point) return false;
    if (piece.frame === null) return frame === null || piece.end <= endOf(frame);
    return frame === null ? piece.frame.records[0]! <= first.offset : piece.frame === frame;
  };
  for await (const piece of withGrown(chain, base)) {
    const first = pieces[0];
    const fits = first === undefined || fitsTo(first, piece);
    if (!fits || pieces.length >= groupPieces) {
      yield group(piece.offset);
      [pieces, frame] = [[], null];
    }
    pieces.push(piece);
    frame ??= piece.frame;
  }
  if (pieces.length > 0) yield group(null);
}

/** No frame has more records. */
const groupPieces = 16384;

/** Where its last record ends. */
const endOf = ({ records }: Pick<Frame, 'records'>): number =>
  records[records.length - 2]! + Math.abs(records[records.length - 1]!);

/** Whether the pieces are all that the frame's records tell. */
function isAll({ records }: Frame, pieces: readonly LivePiece[]): boolean {
  let [data, zero] = [0, 0];
  for (let i = 1; i < records.length; i += 2) {
    if (records[i]! > 0) data += records[i]!;
    else zero -= records[i]!;
  }
  for (const { offset, end, frame } of pieces) {
    if (frame === null) zero -= end - offset;
    else data -= end - offset;
  }
  const isInside = pieces[0]!.offset >= records[0]! && pieces.at(-1)!.end <= endOf({ records });
  return data === 0 && zero === 0 && isInside;
}

/** Data cut at blocks, so that a frame can end wherever it is full. Zeros stay whole. */
function* chunksOf(piece: LivePiece): Generator<LivePiece, void, undefined> {
  if (piece.frame === null) {
    yield piece;
    return;
  }
  for (let offset = piece.offset; offset < piece.end; ) {
    const isInBlock = offset % blockBytes !== 0;
    const end = Math.min(piece.end, isInBlock ? ceilBlock(offset) : floorTo(offset, chunkBytes) + chunkBytes);
    yield { ...piece, offset, end, rawOffset: piece.rawOffset + offset - piece.offset };
    offset = end;
  }
}

/** Of a kind with the run before it, and right behind it: the same run. */
function addRun(runs: number[], first: number, count: number): void {
  const last = runs.length - 1;
  const before = runs[last];
  if (before !== undefined && before > 0 === count > 0 && runs[last - 1]! + Math.abs(before) === first)
    runs[last] = before + count;
  else runs.push(first, count);
}

const floorTo = (offset: number, multiple: number): number => Math.floor(offset / multiple) * multiple;
const floorBlock = (offset: number): number => floorTo(offset, blockBytes);
const ceilBlock = (offset: number): number => Math.ceil(offset / blockBytes) * blockBytes;
