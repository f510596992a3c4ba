// Memory for payloads in flight: slabs that pieces of any length share, bounded in all, reused, nothing copied.

/** Bytes of one slab; no piece is longer. */
const slabBytes = 4 << 20;

interface Slab {
  bytes: Buffer;
  used: number;
  /** Pieces handed out and not released. */
  pieces: number;
}

/** Hands out pieces in order. At most `bytes` are in use at once: then `allocate` waits for a slab to be released. */
export class PayloadBuffers {
  readonly #count: number;
  readonly #slabs = new Map<ArrayBufferLike, Slab>();
  readonly #free: Slab[] = [];
  readonly #waiting: ((slab: Slab) => void)[] = [];
  #current: Slab | null = null;

  constructor(bytes: number) {
    this.#count = Math.max(2, Math.floor(bytes / slabBytes));
  }

  /** A piece with any content, of at most 4 MiB; a promise of one while all memory is taken. One call at a time. */
  allocate(bytes: number): Uint8Array | Promise<Uint8Array> {
    if (bytes > slabBytes) throw new RangeError(`a piece of ${bytes} bytes is longer than a slab`);
    const current = this.#current;
    if (current && slabBytes - current.used >= bytes) return cut(current, bytes);
    this.#current = null;
    if (current?.pieces === 0) this.#reuse(current);
    const next = this.#next();
    if (!(next instanceof Promise)) return cut((this.#current = next), bytes);
    return next.then((slab) => cut((this.#current = slab), bytes));
  }

  /** Gives back what `allocate` gave, once, when nothing reads or writes it any more. */
  release(piece: Uint8Array): void {
    const slab = this.#slabs.get(piece.buffer);
    if (!slab || slab.pieces === 0) throw new RangeError('a piece that was not allocated here');
    slab.pieces -= 1;
    if (slab.pieces > 0) return;
    if (slab === this.#current) slab.used = 0;
    else this.#reuse(slab);
  }

  #next(): Slab | Promise<Slab> {
    const free = this.#free.pop();
    if (free) return free;
    if (this.#slabs.size === this.#count) return new Promise((resolve) => this.#waiting.push(resolve));
    const slab = { bytes: Buffer.allocUnsafeSlow(slabBytes), used: 0, pieces: 0 };
    this.#slabs.set(slab.bytes.buffer, slab);
    return slab;
  }

  #reuse(slab: Slab): void {
    slab.used = 0;
    const next = this.#waiting.shift();
    if (next) next(slab);
    else this.#free.push(slab);
  }
}

function cut(slab: Slab, bytes: number): Uint8Array {
  const piece = slab.bytes.subarray(slab.used, slab.used + bytes);
  // Words stay aligned for the zero scan.
  slab.used = Math.min(slabBytes, slab.used + Math.ceil(bytes / 8) * 8);
  slab.pieces += 1;
  return piece;
}
