// What one point tells, as a layer of a sweep (sweep.ts): its records, or its runs of blocks, page by page.

import { blockBytes, type Frame, recordHeaderBytes } from '../format/archive-index.ts';
import type { IndexReader } from './archive-reader.ts';
import type { Layer } from './sweep.ts';

/** Which column of the frames: records count bytes, runs count blocks. */
export type Column = 'records' | 'runs';

const units = { records: 1, runs: blockBytes } as const;
/** What stands before each payload. Digests stand one behind the other. */
const headers = { records: recordHeaderBytes, runs: 0 } as const;

/** Holds the page that it is at, and with `readsAhead` the next one. Items are cut at `stop`, and none is behind it. */
export class PointLayer implements Layer {
  readonly rank: number;
  start = 0;
  end = 0;
  ready = false;
  /** Of the item: */
  isZero = false;
  frame: Frame | null = null;
  /** Where the item begins, and where its payload does: bytes of the decompressed frame, or digests of the frame. */
  origin = 0;
  payload = 0;

  readonly #index: IndexReader;
  readonly #column: Column;
  readonly #unit: number;
  readonly #header: number;
  readonly #stop: number;
  readonly #readsAhead: boolean;
  #page: number;
  readonly #pagesEnd: number;
  #frames: Frame[] | null = null;
  #frameAt = 0;
  /** The column of the frame, and the place in it of the item that is next. */
  #pairs: Float64Array = none;
  #pairAt = 0;
  #nextPayload = 0;
  #ahead: { page: number; frames: Promise<Frame[]> } | null = null;

  /** Of the items of `column` those that meet [start, stop), in the unit of the column. */
  constructor(
    index: IndexReader,
    options: { rank: number; column: Column; start: number; stop: number; readsAhead: boolean },
  ) {
    this.rank = options.rank;
    this.#index = index;
    this.#column = options.column;
    this.#unit = units[options.column];
    this.#header = headers[options.column];
    this.#stop = options.stop;
    this.#readsAhead = options.readsAhead;
    [this.#page, this.#pagesEnd] = index.pagesIn(options.start * this.#unit, options.stop * this.#unit);
    this.#between(options.start);
    if (this.#readsAhead) this.#readAhead(this.#page);
  }

  seek(at: number): void {
    while (this.end <= at) {
      if (this.#frames === null) {
        if (this.start === Number.POSITIVE_INFINITY) return;
        return this.#between(at);
      }
      if (this.#pairAt < this.#pairs.length) this.#nextItem();
      else if (this.#frameAt < this.#frames.length) this.#nextFrame(at);
      else this.#leavePage();
      if (this.ready && this.start >= this.#stop) return this.#finish();
    }
  }

  async load(): Promise<void> {
    const page = this.#page;
    const frames = await (this.#ahead?.page === page ? this.#ahead.frames : this.#index.page(page));
    this.#ahead = null;
    this.#frames = frames;
    this.#frameAt = 0;
    this.#pairs = none;
    this.#pairAt = 0;
  }

  /** Nothing is fetched any more: what is under way has settled. */
  async close(): Promise<void> {
    await this.#ahead?.frames.catch(() => {});
    this.#finish();
  }

  #nextItem(): void {
    const start = this.#pairs[this.#pairAt]!;
    const signed = this.#pairs[this.#pairAt + 1]!;
    const length = Math.abs(signed);
    this.#pairAt += 2;
    this.isZero = signed < 0;
    this.origin = this.start = start;
    this.end = Math.min(start + length, this.#stop);
    this.payload = this.#nextPayload + this.#header;
    this.#nextPayload = this.payload + (signed < 0 ? 0 : length);
    this.ready = true;
  }

  #nextFrame(at: number): void {
    const frames = this.#frames as Frame[];
    const frame = frames[this.#frameAt]!;
    this.#frameAt += 1;
    const pairs = frame[this.#column];
    const end = pairs[pairs.length - 2]! + Math.abs(pairs[pairs.length - 1]!);
    if (end <= at) return;
    this.frame = frame;
    this.#pairs = pairs;
    this.#pairAt = 0;
    this.#nextPayload = 0;
    // not as soon as there is a page: a thousand points would hold two of them each
    if (this.#readsAhead && 2 * this.#frameAt >= frames.length) this.#readAhead(this.#page + 1);
  }

  #leavePage(): void {
    this.#frames = this.frame = null;
    this.#pairs = none;
    this.#page += 1;
    this.ready = false;
  }

  /** Stands before the first page that ends behind `at`, which is not loaded. */
  #between(at: number): void {
    const { pages } = this.#index.directory;
    this.#page = Math.max(this.#page, this.#index.pagesIn(at * this.#unit, Number.POSITIVE_INFINITY)[0]);
    if (this.#page >= this.#pagesEnd) return this.#finish();
    this.start = this.end = pages[this.#page]!.start / this.#unit;
    this.ready = false;
  }

  #finish(): void {
    this.#frames = this.frame = null;
    this.#pairs = none;
    this.#page = this.#pagesEnd;
    this.start = this.end = Number.POSITIVE_INFINITY;
    this.ready = true;
  }

  #readAhead(page: number): void {
    if (page >= this.#pagesEnd || this.#ahead?.page === page) return;
    const frames = this.#index.page(page);
    // a failure is told when the page is needed
    frames.catch(() => {});
    this.#ahead = { page, frames };
  }
}

const none = new Float64Array(0);
