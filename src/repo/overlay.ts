// A chain as one image: at each place the newest point that tells of it. Spec: formats/archive/spec.md
//
//   livePieces     what shows where, in rising order          restore in order, diffs, NBD
//   liveFrames     what shows of each frame, frame by frame   restore in any order: each frame is fetched once
//   stateDigests   the digests of the state                   fingerprints, comparing with an image
//   StateCursor    those of some blocks                       a backup, which asks about what it touches
//   chainDiff      chain-diff.ts                               cat, raw output
//
// All of them read pages of indexes only, those that meet the range, and hold about one of each point.

import { blockBytes, digestBytes, type Frame } from '../format/archive-index.ts';
import type { Chain } from './chain.ts';
import { type Column, PointLayer } from './point-layer.ts';
import { type Layer, Sweep } from './sweep.ts';

/** Bytes of the image; `end` is exclusive. Absent: the whole image. What lies past its end is left out. */
export interface Range {
  start: number;
  end: number;
}

/** [offset, end) of the image is a part of one record. */
export interface LivePiece {
  offset: number;
  end: number;
  /** Index in `chain.points`. */
  point: number;
  /** null: zeros, which may hide what older points have there. */
  frame: Frame | null;
  /** Where in the decompressed frame the byte at `offset` stands. */
  rawOffset: number;
}

/** What shows of a frame. */
export interface LivePart {
  offset: number;
  length: number;
  rawOffset: number;
}

/** Rising numbers of blocks that are not zero, and 16 bytes for each. */
export interface BlockDigests {
  blocks: Float64Array<ArrayBuffer>;
  digests: Uint8Array<ArrayBuffer>;
}

const batchPieces = 1024;
const batchBlocks = 4096;

/**
 * What shows where: batches of pieces that rise and do not overlap. What is in none is zero, for nobody told of it (or the
 * image was cut there, and grew again). `after` leaves out the points up to that index.
 */
export async function* livePieces(
  chain: Chain,
  range: Range = wholeOf(chain),
  after = -1,
): AsyncGenerator<LivePiece[], void, undefined> {
  const end = Math.min(range.end, chain.size);
  let batch: LivePiece[] = [];
  const layers = await layersOf(chain, after, 'records', range.start, end, true);
  yield* swept(
    layers,
    range.start,
    end,
    (layer, from, to) => {
      const frame = layer.isZero ? null : layer.frame;
      const rawOffset = layer.isZero ? 0 : layer.payload + from - layer.origin;
      const last = batch.at(-1);
      if (
        last?.end === from &&
        last.point === layer.rank &&
        last.frame === frame &&
        (frame === null || last.rawOffset + from - last.offset === rawOffset)
      ) {
        last.end = to;
      } else {
        batch.push({ offset: from, end: to, point: layer.rank, frame, rawOffset });
      }
    },
    {
      isFull: () => batch.length >= batchPieces,
      take: () => {
        const taken = batch;
        batch = [];
        return taken.length === 0 ? null : taken;
      },
    },
  );
}

/** All that shows of a frame. */
export interface LiveFrame {
  kind: 'frame';
  /** Index in `chain.points`. */
  point: number;
  frame: Frame;
  live: LivePart[];
}

/** What shows of zero records. */
export interface LiveZeros {
  kind: 'zero';
  offset: number;
  length: number;
}

/**
 * Each frame of which anything shows, once, with all of it that shows, as soon as that is known (so not quite in rising
 * order); and apart from them the zeros: rising, neighbours joined. Memory: the parts of about one frame of each point.
 */
export async function* liveFrames(
  chain: Chain,
  range: Range = wholeOf(chain),
): AsyncGenerator<LiveFrame | LiveZeros, void, undefined> {
  /** By point: frames of one point do not overlap, so there is one of each at most. `end` is that of its last record. */
  const open = new Map<number, { shown: LiveFrame; end: number }>();
  let zeros: LiveZeros | null = null;
  for await (const pieces of livePieces(chain, range)) {
    for (const { offset, end, point, frame, rawOffset } of pieces) {
      if (frame === null) {
        if (zeros !== null && zeros.offset + zeros.length === offset) {
          zeros.length += end - offset;
          continue;
        }
        if (zeros !== null) yield zeros;
        zeros = { kind: 'zero', offset, length: end - offset };
        continue;
      }
      let current = open.get(point);
      if (current?.shown.frame !== frame) {
        if (current !== undefined) yield current.shown;
        const { records } = frame;
        const last = records[records.length - 2]! + Math.abs(records[records.length - 1]!);
        current = { shown: { kind: 'frame', point, frame, live: [] }, end: last };
        open.set(point, current);
      }
      current.shown.live.push({ offset, length: end - offset, rawOffset });
    }
    const reached = pieces.at(-1)?.end ?? 0;
    for (const [point, { shown, end }] of open) {
      if (end > reached) continue;
      open.delete(point);
      yield shown;
    }
  }
  for (const { shown } of open.values()) yield shown;
  if (zeros !== null) yield zeros;
}

/** The blocks of the newest state that are not zero and meet the range, rising, with digests. */
export async function* stateDigests(
  chain: Chain,
  range: Range = wholeOf(chain),
): AsyncGenerator<BlockDigests, void, undefined> {
  const start = Math.floor(range.start / blockBytes);
  const end = Math.ceil(Math.min(range.end, chain.size) / blockBytes);
  const layers = await layersOf(chain, -1, 'runs', start, end, true);
  const found = new FoundBlocks(batchBlocks);
  yield* swept(layers, start, end, found.add, { isFull: () => found.isFull, take: () => found.take() });
}

/**
 * Digests of some blocks of the newest state: what a backup that touches them has to know of them. Reads only pages that
 * meet what is asked for, wherever in the image that is; a page of each point is held.
 */
export class StateCursor {
  readonly #chain: Chain;
  readonly #after: number;
  #sweep: Sweep<PointLayer> | null = null;
  readonly #end: number;
  #asked = 0;

  /** `after`: only of what the points after that index tell of. */
  constructor(chain: Chain, after = -1) {
    this.#chain = chain;
    this.#after = after;
    this.#end = Math.ceil(chain.size / blockBytes);
  }

  /**
   * The blocks of [firstBlock, endBlock) that are not zero, with digests. Ranges must rise and not overlap, one call at a
   * time.
   */
  async old(firstBlock: number, endBlock: number): Promise<BlockDigests> {
    if (firstBlock < this.#asked) throw new RangeError(`block ${firstBlock} is asked for after ${this.#asked}`);
    this.#asked = endBlock;
    const end = Math.min(endBlock, this.#end);
    this.#sweep ??= new Sweep(
      await layersOf(this.#chain, this.#after, 'runs', firstBlock, this.#end, false),
      firstBlock,
    );
    const sweep = this.#sweep;
    const found = new FoundBlocks(Math.min(Math.max(0, end - firstBlock), batchBlocks));
    if (firstBlock >= end) return found.takeAll();
    // what one range needs is fetched at once; a backup asks for little of a large image, with a long chain below it
    sweep.skipTo(firstBlock, end);
    await sweep.load();
    while (sweep.run(end, found.add, () => false) === 'blocked') await sweep.load();
    return found.takeAll();
  }
}

/** Digests of the runs that a sweep shows. */
class FoundBlocks {
  #blocks: Float64Array<ArrayBuffer>;
  #digests: Uint8Array<ArrayBuffer>;
  #count = 0;
  readonly #least: number;

  constructor(least: number) {
    this.#least = least;
    this.#blocks = new Float64Array(least);
    this.#digests = new Uint8Array(least * digestBytes);
  }

  get isFull(): boolean {
    return this.#count >= this.#least;
  }

  readonly add = (layer: PointLayer, from: number, to: number): void => {
    if (layer.isZero || layer.frame === null) return;
    const count = to - from;
    if (this.#count + count > this.#blocks.length) this.#grow(this.#count + count);
    for (let i = 0; i < count; i++) this.#blocks[this.#count + i] = from + i;
    const first = layer.payload + from - layer.origin;
    const digests = layer.frame.digests.subarray(first * digestBytes, (first + count) * digestBytes);
    this.#digests.set(digests, this.#count * digestBytes);
    this.#count += count;
  };

  /** null if there are none. */
  take(): BlockDigests | null {
    return this.#count === 0 ? null : this.takeAll();
  }

  takeAll(): BlockDigests {
    const blocks = this.#blocks.slice(0, this.#count);
    const digests = this.#digests.slice(0, this.#count * digestBytes);
    this.#count = 0;
    return { blocks, digests };
  }

  #grow(count: number): void {
    const blocks = new Float64Array(Math.max(count, 2 * this.#blocks.length));
    blocks.set(this.#blocks);
    this.#blocks = blocks;
    const digests = new Uint8Array(blocks.length * digestBytes);
    digests.set(this.#digests);
    this.#digests = digests;
  }
}

export const wholeOf = (chain: Chain): Range => ({ start: 0, end: chain.size });

/** A layer of each point behind `after` that has anything in [start, end), in the unit of the column. */
async function layersOf(
  chain: Chain,
  after: number,
  column: Column,
  start: number,
  end: number,
  readsAhead: boolean,
): Promise<PointLayer[]> {
  const unit = column === 'runs' ? blockBytes : 1;
  const points = chain.points.slice(after + 1);
  const indexes = await Promise.all(points.map(({ archive }) => archive.index()));
  return points.map(({ limit }, i) => {
    const stop = Math.min(end, Math.ceil(limit / unit));
    return new PointLayer(indexes[i]!, { rank: after + 1 + i, column, start, stop, readsAhead });
  });
}

/** Batches of what the sweep shows between `start` and `end`. */
async function* swept<L extends Layer & { close(): Promise<void> }, B>(
  layers: L[],
  start: number,
  end: number,
  emit: (layer: L, from: number, to: number) => void,
  { isFull, take }: { isFull: () => boolean; take: () => B | null },
): AsyncGenerator<B, void, undefined> {
  const sweep = new Sweep(layers, start);
  try {
    for (;;) {
      const stopped = sweep.run(end, emit, isFull);
      if (stopped === 'blocked') {
        await sweep.load();
        continue;
      }
      const batch = take();
      if (batch !== null) yield batch;
      if (stopped === 'done') return;
    }
  } finally {
    await Promise.all(layers.map((layer) => layer.close()));
  }
}
