// Where in an image the changes are, in a bounded number of cells: enough to draw, whatever the size.

const cellCount = 4096;

/** Bytes of data and of zeros in each of up to 4096 cells of equal length. */
export class ChangeMap {
  /** Bytes of the image that a cell stands for: a power of two, at least 512. */
  cellBytes = 512;
  readonly #data = new Float64Array(cellCount);
  readonly #zero = new Float64Array(cellCount);
  #end: number;

  /** `size` of the image; null if nobody says: the map then grows with what is added. */
  constructor(size: number | null) {
    this.#end = size ?? 0;
    while (this.cellBytes * cellCount < this.#end) this.cellBytes *= 2;
  }

  /** The part of the image that is mapped, in bytes. */
  get end(): number {
    return this.#end;
  }

  addData(offset: number, length: number): void {
    this.#add(this.#data, offset, length);
  }

  addZero(offset: number, length: number): void {
    this.#add(this.#zero, offset, length);
  }

  /** The shares (0 to 1) of data and of zeros in each of `count` equal parts of the image. */
  parts(count: number): { data: number; zero: number }[] {
    const partBytes = this.#end / count;
    return Array.from({ length: count }, (_, i) => {
      const [start, end] = [i * partBytes, (i + 1) * partBytes];
      return { data: this.#share(this.#data, start, end), zero: this.#share(this.#zero, start, end) };
    });
  }

  /** Cells are taken to be even inside. */
  #share(cells: Float64Array, start: number, end: number): number {
    let bytes = 0;
    for (let cell = Math.floor(start / this.cellBytes); cell * this.cellBytes < end && cell < cellCount; cell++) {
      const cellStart = cell * this.cellBytes;
      const cellEnd = Math.min(cellStart + this.cellBytes, this.#end);
      const common = Math.min(cellEnd, end) - Math.max(cellStart, start);
      if (common > 0) bytes += ((cells[cell] ?? 0) * common) / (cellEnd - cellStart);
    }
    return end > start ? bytes / (end - start) : 0;
  }

  #add(cells: Float64Array, offset: number, length: number): void {
    const end = offset + length;
    this.#end = Math.max(this.#end, end);
    while (this.cellBytes * cellCount < this.#end) this.#coarsen();
    for (let at = offset; at < end; ) {
      const cell = Math.floor(at / this.cellBytes);
      const next = Math.min((cell + 1) * this.cellBytes, end);
      cells[cell] = (cells[cell] ?? 0) + next - at;
      at = next;
    }
  }

  #coarsen(): void {
    for (const cells of [this.#data, this.#zero]) {
      for (let i = 0; i < cellCount; i++) {
        cells[i] = i < cellCount / 2 ? (cells[2 * i] ?? 0) + (cells[2 * i + 1] ?? 0) : 0;
      }
    }
    this.cellBytes *= 2;
  }
}
