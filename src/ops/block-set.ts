// A set of blocks of an image, a bit for each: 2 MiB for a TiB that is all in it, next to nothing where there are none.

/** Blocks that have a page of bits together: 4 GiB of an image. */
const pageBlocks = 1 << 16;

export class BlockSet {
  /** How many there are. */
  count = 0;
  readonly #pages = new Map<number, Uint8Array>();

  add(block: number): void {
    const number = Math.floor(block / pageBlocks);
    let page = this.#pages.get(number);
    if (page === undefined) this.#pages.set(number, (page = new Uint8Array(pageBlocks / 8)));
    const at = block % pageBlocks;
    const bit = 1 << (at & 7);
    if ((page[at >> 3]! & bit) !== 0) return;
    page[at >> 3]! |= bit;
    this.count += 1;
  }

  has(block: number): boolean {
    const page = this.#pages.get(Math.floor(block / pageBlocks));
    const at = block % pageBlocks;
    return page !== undefined && (page[at >> 3]! & (1 << (at & 7))) !== 0;
  }

  /** Runs of neighbours that are in the set, rising, of those in [first, end). */
  *runs(first: number, end: number): Generator<{ first: number; end: number }, void, undefined> {
    for (let block = first; block < end; ) {
      if (!this.has(block)) {
        block = this.#pages.has(Math.floor(block / pageBlocks)) ? block + 1 : this.#nextPage(block);
        continue;
      }
      const start = block;
      while (block < end && this.has(block)) block += 1;
      yield { first: start, end: block };
    }
  }

  /** The first block of the next page that is there; pages come in no order, but few of them. */
  #nextPage(block: number): number {
    let next = Number.POSITIVE_INFINITY;
    for (const number of this.#pages.keys()) {
      const start = number * pageBlocks;
      if (start > block && start < next) next = start;
    }
    return next;
  }
}
