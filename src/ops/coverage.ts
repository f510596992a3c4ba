// What the records of a stream have covered so far: finds overlaps and gaps, though records may come a little unsorted.

import { RbdeltaError } from '../error.ts';

/** Old exporters sent the extents of a striped image unsorted within a stripe period; this is far more than one. */
export const limits = { reorderBytes: 1 << 30, reorderExtents: 1 << 16 } as const;

/**
 * Takes records in the order of the stream. One may go back by at most `limits.reorderBytes`, into a place that no
 * other has covered: memory is bounded, however long the stream.
 */
export class Coverage {
  /** Recent extents, joined where they touch, sorted; those before `#first` are settled. */
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  #first = 0;
  /** Nothing may come before this any more; all gaps before it were given out. */
  #settled = 0;
  readonly #onGap: ((start: number, end: number) => void) | null;

  /** `onGap` gets, in rising order, what no record has covered and none can any more. */
  constructor(onGap: ((start: number, end: number) => void) | null = null) {
    this.#onGap = onGap;
  }

  /** Throws 'corrupt' for a record that overlaps one before it, or goes back too far. */
  add(offset: number, length: number): void {
    if (length === 0) return;
    const last = this.#ends.length - 1;
    if (last < this.#first || offset > this.#ends[last]!) {
      if (offset < this.#settled) throw this.#tooFarBack(offset);
      this.#starts.push(offset);
      this.#ends.push(offset + length);
    } else if (offset === this.#ends[last]!) this.#ends[last] = offset + length;
    else this.#insert(offset, offset + length);
    this.#settle();
  }

  /** No record follows: gives out the gaps that are left, up to `size`. */
  finish(size: number): void {
    while (this.#first < this.#ends.length) this.#settleFirst();
    if (this.#settled < size) this.#onGap?.(this.#settled, size);
    this.#settled = size;
  }

  #insert(start: number, end: number): void {
    if (start < this.#settled) throw this.#tooFarBack(start);
    let low = this.#first;
    let high = this.#starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#starts[middle]! < start) low = middle + 1;
      else high = middle;
    }
    const joinsBefore = low > this.#first && this.#ends[low - 1]! >= start;
    const joinsAfter = low < this.#starts.length && this.#starts[low]! <= end;
    if ((joinsBefore && this.#ends[low - 1]! > start) || (joinsAfter && this.#starts[low]! < end))
      throw new RbdeltaError('corrupt', `the record for bytes ${start} to ${end} overlaps an earlier record`, {
        hint: '--force applies such records in their order, as rbd does',
      });
    if (joinsBefore && joinsAfter) {
      this.#ends[low - 1] = this.#ends[low]!;
      this.#starts.splice(low, 1);
      this.#ends.splice(low, 1);
    } else if (joinsBefore) this.#ends[low - 1] = end;
    else if (joinsAfter) this.#starts[low] = start;
    else {
      this.#starts.splice(low, 0, start);
      this.#ends.splice(low, 0, end);
    }
  }

  #settle(): void {
    const floor = this.#ends.at(-1)! - limits.reorderBytes;
    while (this.#ends[this.#first]! < floor || this.#ends.length - this.#first > limits.reorderExtents)
      this.#settleFirst();
    if (this.#first > limits.reorderExtents) {
      this.#starts.splice(0, this.#first);
      this.#ends.splice(0, this.#first);
      this.#first = 0;
    }
  }

  #settleFirst(): void {
    const start = this.#starts[this.#first]!;
    if (start > this.#settled) this.#onGap?.(this.#settled, start);
    this.#settled = this.#ends[this.#first]!;
    this.#first += 1;
  }

  #tooFarBack(offset: number): RbdeltaError {
    return new RbdeltaError(
      'corrupt',
      `a record goes back to byte ${offset}, when everything up to byte ${this.#settled} was over`,
      { hint: '--force applies such records in their order, as rbd does' },
    );
  }
}
