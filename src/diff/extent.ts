// Extents: ranges of bytes in an image. Offsets and lengths are numbers (at most 2^53 - 1); an end is exclusive.

export interface Extent {
  offset: number;
  length: number;
}

/** `data`: the bytes may have changed, read them. `zero`: the extent reads as zeros now. */
export interface ChangedExtent extends Extent {
  kind: 'data' | 'zero';
}

export const endOf = (extent: Extent): number => extent.offset + extent.length;

/** What both have in common; its length is 0 where that is nothing. */
export const intersection = (a: Extent, b: Extent): Extent => {
  const offset = Math.max(a.offset, b.offset);
  return { offset, length: Math.max(0, Math.min(endOf(a), endOf(b)) - offset) };
};

/** Many changed extents, as two numbers each: a call may find a hundred thousand of them. */
export class ExtentList {
  /** How many extents there are. */
  count = 0;
  #values = new Float64Array(32);

  /** Appends; an extent that continues the one before it, with the same kind, lengthens that. */
  append(offset: number, length: number, kind: ChangedExtent['kind']): void {
    const signed = kind === 'zero' ? -length : length;
    if (this.count > 0) {
      const before = this.#values[2 * this.count - 1]!;
      if (before < 0 === signed < 0 && this.#values[2 * this.count - 2]! + Math.abs(before) === offset) {
        this.#values[2 * this.count - 1] = before + signed;
        return;
      }
    }
    this.push(offset, length, kind);
  }

  /** Appends as it is. */
  push(offset: number, length: number, kind: ChangedExtent['kind']): void {
    if (2 * this.count === this.#values.length) {
      const longer = new Float64Array(this.#values.length * 2);
      longer.set(this.#values);
      this.#values = longer;
    }
    this.#values[2 * this.count] = offset;
    this.#values[2 * this.count + 1] = kind === 'zero' ? -length : length;
    this.count += 1;
  }

  /** `index` is less than `count`, here and below. */
  offset(index: number): number {
    return this.#values[2 * index]!;
  }

  length(index: number): number {
    return Math.abs(this.#values[2 * index + 1]!);
  }

  kind(index: number): ChangedExtent['kind'] {
    return this.#values[2 * index + 1]! < 0 ? 'zero' : 'data';
  }

  *[Symbol.iterator](): Generator<ChangedExtent, void, undefined> {
    for (let i = 0; i < this.count; i++) yield { offset: this.offset(i), length: this.length(i), kind: this.kind(i) };
  }
}
