// Collects the extents that librbd reports, three numbers each, without an object for every one.

export class ReportedExtents {
  #numbers = new Float64Array(3 * 256);
  #count = 0;

  /** librbd's callback. It runs on the event loop while a librbd thread waits for it: only append. */
  readonly add = (offset: number | bigint, length: number | bigint, exists: number): number => {
    const at = this.#count * 3;
    if (at === this.#numbers.length) {
      const grown = new Float64Array(at * 2);
      grown.set(this.#numbers);
      this.#numbers = grown;
    }
    this.#numbers[at] = Number(offset);
    this.#numbers[at + 1] = Number(length);
    this.#numbers[at + 2] = exists;
    this.#count += 1;
    return 0;
  };

  forEach(emit: (offset: number, length: number, exists: boolean) => void): void {
    const numbers = this.#numbers;
    for (let at = 0, end = this.#count * 3; at < end; at += 3) {
      emit(numbers[at]!, numbers[at + 1]!, numbers[at + 2] !== 0);
    }
  }
}
