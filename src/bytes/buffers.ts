// A fixed number of equal buffers, used again and again: what is in flight is bounded by who holds one.

/** Buffers of `bytes` each, outside V8's heap and outside Node's shared pool, made when first needed. */
export class BufferPool {
  readonly bytes: number;
  readonly count: number;
  readonly #free: Buffer[] = [];
  readonly #waiting: ((buffer: Buffer) => void)[] = [];
  #made = 0;

  constructor(bytes: number, count: number) {
    this.bytes = bytes;
    this.count = count;
  }

  /** A buffer with any content; a promise of one while all are taken (first come, first served). */
  take(): Buffer | Promise<Buffer> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#made === this.count) return new Promise((resolve) => this.#waiting.push(resolve));
    this.#made += 1;
    return Buffer.allocUnsafeSlow(this.bytes);
  }

  /** Gives back what `take` gave, once, when nothing reads or writes it any more. */
  give(buffer: Buffer): void {
    if (buffer.length !== this.bytes) throw new RangeError(`a buffer of ${buffer.length} bytes is not of this pool`);
    const next = this.#waiting.shift();
    if (next) next(buffer);
    else this.#free.push(buffer);
  }
}
