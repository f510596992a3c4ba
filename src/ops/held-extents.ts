// Where an image holds data, as a compact list that is walked in rising order.

import type { Extent } from '../diff/extent.ts';

export class HeldExtents {
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #next = 0;

  /** Extents come in rising order; those that touch are joined. */
  add({ offset, length }: Extent): void {
    const last = this.#ends.length - 1;
    if (last >= 0 && this.#ends[last]! >= offset) this.#ends[last] = Math.max(this.#ends[last]!, offset + length);
    else {
      this.#starts.push(offset);
      this.#ends.push(offset + length);
    }
  }

  /** To be walked once more. */
  rewind(): void {
    this.#next = 0;
  }

  /** The parts that lie between `start` and `end`. From call to call, ranges rise and do not overlap. */
  within(start: number, end: number): Extent[] {
    const parts: Extent[] = [];
    while (this.#next < this.#ends.length && this.#ends[this.#next]! <= start) this.#next += 1;
    for (let i = this.#next; i < this.#starts.length && this.#starts[i]! < end; i += 1) {
      const offset = Math.max(start, this.#starts[i]!);
      parts.push({ offset, length: Math.min(end, this.#ends[i]!) - offset });
    }
    return parts;
  }
}
