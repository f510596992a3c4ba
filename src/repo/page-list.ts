// The pages of an index while it is being written: frames go in, stored pages and their entries come out.

import { digestsOf, type Frame, hullOf, PageEncoder, type PageEntry } from '../format/archive-index.ts';

/** Compresses in a thread: a frame of zstd, and the first 16 bytes of its SHA-256. */
export type Compress = (raw: Uint8Array) => Promise<{ bytes: Uint8Array; hash: Uint8Array }>;

export interface StoredPage {
  bytes: Uint8Array;
  /** Its position is not known yet: 0. */
  entry: PageEntry;
}

/** Holds the pages until they are taken by `finish`. */
export class PageList {
  /** Of the pages that are finished, before compression. */
  rawBytes = 0;
  readonly #compress: Compress;
  readonly #encoder = new PageEncoder();
  readonly #pages: Promise<StoredPage>[] = [];
  #open = emptyPage();

  constructor(compress: Compress) {
    this.#compress = compress;
  }

  /** Frames rise in the image and in the segment. */
  add(frame: Frame): void {
    const { start, end } = hullOf(frame);
    if (this.#open.frames === 0) this.#open.start = start;
    this.#open.end = end;
    this.#open.frames += 1;
    this.#open.digests += digestsOf(frame.runs);
    this.#store(this.#encoder.add(frame));
  }

  /** All pages. */
  finish(): Promise<StoredPage[]> {
    this.#store(this.#encoder.finish());
    return Promise.all(this.#pages);
  }

  #store(raw: Buffer | null): void {
    if (raw === null) return;
    const open = this.#open;
    this.#open = emptyPage();
    this.rawBytes += raw.length;
    const page = this.#compress(raw).then(({ bytes, hash }) => {
      return { bytes, entry: { ...open, position: 0, bytes: bytes.length, rawBytes: raw.length, hash } };
    });
    // It is looked at by `finish`; until then a failure is not an unhandled one.
    page.catch(() => {});
    this.#pages.push(page);
  }
}

const emptyPage = () => ({ start: 0, end: 0, frames: 0, digests: 0 });
