// The archive of a point on another base: what the points in between hold becomes part of it. Frames that show whole are
// taken as they are, the rest is packed again.

import { mapOrdered } from '../bytes/ordered.ts';
import { blockBytes, type Frame, hullOf, recordHeaderBytes } from '../format/archive-index.ts';
import { subtractSums, sumFromHex, zeroSum } from '../format/fingerprint.ts';
import { putU64 } from '../format/struct.ts';
import { ArchiveWriter, type WrittenArchive } from './archive-writer.ts';
import type { Chain } from './chain.ts';
import { withGrown } from './chain-diff.ts';
import { FrameCache, type HeldFrame } from './frame-cache.ts';
import { pointFolder } from './keys.ts';
import { type LivePiece, StateCursor } from './overlay.ts';
import type { Packer, PackedFrame } from './packer.ts';

export interface RebaseOptions {
  packer: Packer;
  /** Begins the names of the new files, which lie beside the old ones. */
  prefix: string;
  signal?: AbortSignal | undefined;
  /** Where in the image the work has come to. */
  onProgress?: ((reached: number) => void) | undefined;
  /** For tests. */
  segmentBytes?: number;
}

export interface Rebased extends WrittenArchive {
  /** Frames that were taken as they are, and frames that were packed again. */
  copiedFrames: number;
  packedFrames: number;
}

/**
 * Writes, into the folder of the newest point of the chain, the archive that leads to its state from that of
 * `chain.points[base]`; -1: from nothing. Nothing refers to it yet. Memory: some frames.
 */
export async function rebase(chain: Chain, base: number, options: RebaseOptions): Promise<Rebased> {
  const { packer, prefix, signal, onProgress } = options;
  const newest = chain.points.at(-1)!.manifest;
  const from = chain.points[base]?.manifest ?? null;
  const header = {
    fromSnap: from?.snapshot.name ?? null,
    toSnap: newest.snapshot.name,
    size: chain.size,
    protected: null,
  };
  const writer = new ArchiveWriter(chain.repository.store, pointFolder(chain.image, newest.point) + prefix, header, {
    compress: (raw) => packer.compress(raw),
    signal,
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
  });
  const frames = new FrameCache(chain, base, cacheBytes);
  const counts = { copiedFrames: 0, packedFrames: 0 };
  // Of the state, not of the way to it: it is what it was.
  const sum = subtractSums(sumFromHex(newest.fingerprint), from === null ? zeroSum() : sumFromHex(from.fingerprint));
  try {
    const built = mapOrdered(filled(unitsOf(chain, base), frames), compressions, async (unit) => {
      signal?.throwIfAborted();
      return 'frame' in unit ? unit : await pack(unit, packer);
    });
    for await (const unit of built) {
      if ('frame' in unit) {
        counts.copiedFrames += 1;
        const { point, frame, end } = unit;
        await writer.append({ copy: rangeOf(chain, point, frame), frame }, end);
        onProgress?.(end);
      } else {
        counts.packedFrames += 1;
        await writer.append(unit, unit.end);
        onProgress?.(unit.end);
      }
    }
    await writer.append({ ...nothing, sum }, chain.size);
    const { segments, index, ...written } = await writer.finish(chain.size);
    return {
      ...written,
      ...counts,
      segments: segments.map((segment) => ({ ...segment, name: prefix + segment.name })),
      index: { ...index, name: prefix + index.name },
    };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await frames.close();
  }
}

/** Decompressed frames that are held. */
const cacheBytes = 64 << 20;
/** Frames that are compressed at the same time, or wait for that. */
const compressions = 4;
/** Pieces whose frames are fetched ahead of the one that is copied. */
const aheadPieces = 1024;
/** A frame has no more payload. */
const payloadBytes = 4 << 20;
/** Nor many more records: those of one block. */
const frameRecords = 12_000;
/** Pieces are cut at multiples of this, so that frames get full. */
const chunkBytes = 256 << 10;

const nothing: PackedFrame = {
  bytes: null,
  rawBytes: 0,
  hash: new Uint8Array(16),
  records: new Float64Array(0),
  runs: new Float64Array(0),
  digests: new Uint8Array(0),
  sum: zeroSum(),
  dataBytes: 0,
  zeroBytes: 0,
  data: new ArrayBuffer(0),
};

/** A frame that is taken as it is, */
interface CopyUnit {
  point: number;
  frame: Frame;
  /** Where its hull ends. */
  end: number;
}

/** or pieces that make a new one, with what is known of the blocks that they touch. */
interface PackUnit {
  pieces: LivePiece[];
  runs: Float64Array;
  digests: Uint8Array;
  end: number;
}

/** Frames to be, rising; their hulls do not overlap. */
async function* unitsOf(chain: Chain, base: number): AsyncGenerator<CopyUnit | PackUnit, void, undefined> {
  const state = new NewestBlocks(new StateCursor(chain));
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

/** The decompressed frame of the pieces: records, as a stream has them. */
interface RawUnit extends PackUnit {
  records: Float64Array;
  raw: Buffer<ArrayBuffer>;
  /** Where the payload of each piece goes. */
  places: number[];
}

function emptyRaw(unit: PackUnit): RawUnit {
  const records = recordsOf(unit.pieces);
  const dataBytes = unit.pieces.reduce((sum, { offset, end, frame }) => sum + (frame === null ? 0 : end - offset), 0);
  const raw = Buffer.allocUnsafeSlow((records.length / 2) * recordHeaderBytes + dataBytes);
  const places: number[] = [];
  let at = 0;
  for (let i = 0; i < records.length; i += 2) {
    const [offset, length] = [records[i]!, Math.abs(records[i + 1]!)];
    raw[at] = records[i + 1]! < 0 ? tags.zero : tags.write;
    putU64(raw, offset, at + 1);
    putU64(raw, length, at + 9);
    at += recordHeaderBytes;
    for (let piece = unit.pieces[places.length]; piece !== undefined && piece.end <= offset + length; ) {
      places.push(at);
      if (piece.frame !== null) at += piece.end - piece.offset;
      piece = unit.pieces[places.length];
    }
  }
  return { ...unit, records, raw, places };
}

/** The units in order, with their payload, which is fetched ahead. */
async function* filled(
  units: AsyncIterable<CopyUnit | PackUnit>,
  frames: FrameCache,
): AsyncGenerator<CopyUnit | RawUnit, void, undefined> {
  const steps = stepsOf(units);
  const ahead: { step: CopyUnit | { unit: RawUnit; index: number }; held: HeldFrame | null }[] = [];
  let isLast = false;
  for (;;) {
    while (!isLast && ahead.length < aheadPieces && frames.takenBytes < cacheBytes / 4) {
      const next = await steps.next();
      isLast = next.done === true;
      if (next.done === true) break;
      const step = next.value;
      if ('frame' in step) {
        ahead.push({ step, held: null });
        continue;
      }
      const { point, frame, offset, end, rawOffset } = step.unit.pieces[step.index]!;
      const held = frame === null ? null : frames.take(point, frame, rawOffset, rawOffset + end - offset);
      ahead.push({ step, held });
    }
    const first = ahead.shift();
    if (first === undefined) return;
    const { step, held } = first;
    if ('frame' in step) {
      yield step;
      continue;
    }
    const { unit, index } = step;
    if (held !== null) {
      const { offset, end, rawOffset } = unit.pieces[index]!;
      const from = rawOffset - held.start;
      unit.raw.set((await held.bytes).subarray(from, from + end - offset), unit.places[index]);
      frames.give(held);
    }
    if (index === unit.pieces.length - 1) yield unit;
  }
}

async function* stepsOf(
  units: AsyncIterable<CopyUnit | PackUnit>,
): AsyncGenerator<CopyUnit | { unit: RawUnit; index: number }, void, undefined> {
  for await (const one of units) {
    if ('frame' in one) {
      yield one;
      continue;
    }
    const unit = emptyRaw(one);
    for (let index = 0; index < unit.pieces.length; index++) yield { unit, index };
  }
}

async function pack(unit: RawUnit, packer: Packer): Promise<PackedFrame & { end: number }> {
  const { records, runs, digests, end, raw } = unit;
  let [dataBytes, zeroBytes] = [0, 0];
  for (let i = 1; i < records.length; i += 2) {
    if (records[i]! > 0) dataBytes += records[i]!;
    else zeroBytes -= records[i]!;
  }
  const { bytes, hash } = await packer.compress(raw);
  return { ...nothing, bytes, rawBytes: raw.length, hash, records, runs, digests, dataBytes, zeroBytes, end };
}

const tags = { write: 0x77, zero: 0x7a } as const;
/** The longest payload of a record. */
const recordBytes = 4 << 20;

/** Offset, length pairs: pieces that continue each other are one record. */
function recordsOf(pieces: readonly LivePiece[]): Float64Array {
  const records: number[] = [];
  for (const { offset, end, frame } of pieces) {
    const length = frame === null ? offset - end : end - offset;
    const last = records.length - 1;
    const before = records[last];
    const continues =
      before !== undefined &&
      before > 0 === length > 0 &&
      records[last - 1]! + Math.abs(before) === offset &&
      (length < 0 || before + length <= recordBytes);
    if (continues) records[last] = before + length;
    else records.push(offset, length);
  }
  return Float64Array.from(records);
}

const rangeOf = (chain: Chain, point: number, { segment, offset, bytes }: Frame) => {
  const { id, manifest } = chain.points[point]!;
  return { key: pointFolder(chain.image, id) + manifest.segments[segment]!.name, offset, length: bytes };
};

const floorTo = (offset: number, multiple: number): number => Math.floor(offset / multiple) * multiple;
const floorBlock = (offset: number): number => floorTo(offset, blockBytes);
const ceilBlock = (offset: number): number => Math.ceil(offset / blockBytes) * blockBytes;
