// Changed extents become tasks for the packer: whole blocks to read, bounded, and no block in two tasks.

import type { ExtentList } from '../diff/extent.ts';
import { blockBytes, recordHeaderBytes } from '../format/archive-index.ts';

/** What a task may be, so that the frame that comes of it keeps the limits of formats/archive/spec.md. */
const limits = {
  /** Blocks to read: 4 MiB. */
  spanBlocks: 64,
  /** Of one block; with more, the gaps between them are taken as changed. */
  blockChanges: 16,
  /** Blocks of zeros that are not read: 1 GiB, and no more digests of what they were. */
  zeroBlocks: 16384,
  /** Records of them, if every second block was zero before. 64 blocks that are read add no more than 3136. */
  zeroRecords: 11_000,
  /** The frame before compression, which makes it longer by a few bytes at worst. */
  rawBytes: (4 << 20) + (64 << 10),
} as const;

/** A block that is read, at worst: of each change the first and the last block of 4 KiB, cut by it, are zeros. */
const blockRawBytes = blockBytes + (3 * limits.blockChanges + 1) * recordHeaderBytes;

/** A PackTask without what is read for it. Blocks of tasks rise. */
export interface BlockSpans {
  /** Offset, length pairs: what is to be read. Whole blocks; the last may be cut by the end of the image. */
  spans: Float64Array;
  /** Bytes of the spans together: at most 4 MiB. */
  bytes: number;
  /** As PackTask has them. */
  changes: Float64Array;
  /** Where the first touched block begins and the last one ends: that, or the end of the image. */
  start: number;
  end: number;
}

export interface BlockSpansOptions {
  /** Bytes of the image; what is behind it is left out. */
  size: number;
  /** Blocks to look at whether they changed or not, rising: where an image that shrank ends now. */
  extra?: readonly number[];
}

/** `lists` rise and do not overlap, as `extentLists` of src/ops/diff-extents.ts yields them. */
export async function* blockSpans(
  lists: AsyncIterable<{ extents: ExtentList }> | Iterable<{ extents: ExtentList }>,
  options: BlockSpansOptions,
): AsyncGenerator<BlockSpans, void, undefined> {
  const planner = new SpanPlanner(options);
  for await (const { extents } of lists) {
    for (let i = 0; i < extents.count; i++) {
      const end = extents.offset(i) + extents.length(i);
      planner.add(extents.offset(i), end, extents.kind(i) === 'zero');
      yield* planner.take();
    }
  }
  planner.finish();
  yield* planner.take();
}

class SpanPlanner {
  readonly #size: number;
  readonly #extra: number[];
  /** Tasks that are finished and not yet taken. */
  #ready: BlockSpans[] = [];
  #task = emptyTask();
  /** Up to here all is planned; the block before may still get changes if it is in a span. */
  #reached = 0;
  /** Changes of the last block. */
  #blockChanges = 0;

  constructor({ size, extra = [] }: BlockSpansOptions) {
    this.#size = size;
    this.#extra = [...extra];
  }

  /** What became finished. */
  take(): BlockSpans[] {
    if (this.#ready.length === 0) return this.#ready;
    const ready = this.#ready;
    this.#ready = [];
    return ready;
  }

  add(offset: number, end: number, isZero: boolean): void {
    const last = Math.min(end, this.#size);
    let at = Math.max(offset, this.#reached);
    if (at >= last) return;
    this.#extraBefore(at);
    if (isZero) {
      // Where the image ends its last block does, too.
      const wholeStart = ceilBlock(at);
      const wholeEnd = last === this.#size ? ceilBlock(last) : floorBlock(last);
      if (wholeEnd > wholeStart) {
        if (wholeStart > at) this.#read(at, wholeStart, true);
        this.#skipZeros(wholeStart / blockBytes, wholeEnd / blockBytes);
        at = wholeEnd;
      }
    }
    if (at < last) this.#read(at, last, isZero);
    this.#reached = last;
  }

  finish(): void {
    this.#extraBefore(Infinity);
    this.#flush();
  }

  /** Changes inside blocks that are read. */
  #read(offset: number, end: number, isZero: boolean): void {
    for (let at = offset; at < end; ) {
      const openEnd = this.#openBlocks(at, end);
      const stop = Math.min(end, openEnd);
      this.#change(at, stop, isZero);
      at = stop;
    }
  }

  /** Makes the block at `offset` part of a span, and as many behind it as `end` asks for and fit; gives the span's end. */
  #openBlocks(offset: number, end: number): number {
    const spanEnd = this.#task.spanEnd;
    if (offset < spanEnd) return spanEnd;
    const room = (): number =>
      Math.min(
        limits.spanBlocks - this.#task.spanBlocks,
        Math.floor((limits.rawBytes - this.#task.rawBytes) / blockRawBytes),
      );
    if (room() <= 0) this.#flush();
    const task = this.#task;
    const start = floorBlock(offset);
    const blocks = Math.min(Math.ceil((end - start) / blockBytes), room());
    const newEnd = Math.min(start + blocks * blockBytes, this.#size);
    if (task.spanEnd === start) task.spans[task.spans.length - 1]! += newEnd - start;
    else task.spans.push(start, newEnd - start);
    task.spanBlocks += blocks;
    task.rawBytes += blocks * blockRawBytes;
    task.bytes += newEnd - start;
    task.spanEnd = newEnd;
    this.#touch(start, newEnd);
    this.#blockChanges = 0;
    return newEnd;
  }

  #change(offset: number, end: number, isZero: boolean): void {
    const { changes } = this.#task;
    const last = changes.length - 2;
    // A change that ends in a later block begins the count for that one.
    const isSameBlock = this.#blockChanges > 0 && floorBlock(offset) === floorBlock(endAt(changes, last) - 1);
    if (isSameBlock && this.#blockChanges >= limits.blockChanges) {
      changes[last + 1] = end - changes[last]!;
    } else {
      changes.push(offset, isZero ? offset - end : end - offset);
      this.#blockChanges = isSameBlock && floorBlock(end - 1) === floorBlock(offset) ? this.#blockChanges + 1 : 1;
    }
  }

  #skipZeros(first: number, end: number): void {
    for (let block = first; block < end; ) {
      const room = (): number =>
        Math.min(
          limits.zeroBlocks - this.#task.zeroBlocks,
          2 * (limits.zeroRecords - this.#task.zeroRecords),
          2 * Math.floor((limits.rawBytes - this.#task.rawBytes) / recordHeaderBytes),
        );
      if (room() <= 0) this.#flush();
      const task = this.#task;
      const count = Math.min(end - block, room());
      const offset = block * blockBytes;
      const stop = Math.min(offset + count * blockBytes, this.#size);
      task.changes.push(offset, offset - stop);
      task.zeroBlocks += count;
      task.zeroRecords += Math.ceil(count / 2);
      task.rawBytes += Math.ceil(count / 2) * recordHeaderBytes;
      this.#touch(offset, stop);
      this.#blockChanges = 0;
      block += count;
    }
  }

  /** Extra blocks that end before `offset`, unless they were touched. */
  #extraBefore(offset: number): void {
    for (;;) {
      const start = (this.#extra[0] ?? Infinity) * blockBytes;
      if (start >= this.#size || start + blockBytes > offset) return;
      void this.#extra.shift();
      if (start < this.#reached) continue;
      const end = Math.min(start + blockBytes, this.#size);
      void this.#openBlocks(start, end);
      this.#reached = end;
    }
  }

  #touch(start: number, end: number): void {
    if (this.#task.start < 0) this.#task.start = start;
    this.#task.end = end;
  }

  #flush(): void {
    const { spans, changes, bytes, start, end } = this.#task;
    if (start >= 0) {
      this.#ready.push({ spans: Float64Array.from(spans), changes: Float64Array.from(changes), bytes, start, end });
    }
    this.#task = emptyTask();
  }
}

const emptyTask = () => ({
  spans: [] as number[],
  changes: [] as number[],
  start: -1,
  end: 0,
  bytes: 0,
  spanBlocks: 0,
  /** Before the first span it is nowhere. */
  spanEnd: -1,
  zeroBlocks: 0,
  zeroRecords: 0,
  /** At worst. */
  rawBytes: 0,
});

const floorBlock = (offset: number): number => Math.floor(offset / blockBytes) * blockBytes;
const ceilBlock = (offset: number): number => Math.ceil(offset / blockBytes) * blockBytes;
const endAt = (changes: readonly number[], index: number): number => changes[index]! + Math.abs(changes[index + 1]!);
