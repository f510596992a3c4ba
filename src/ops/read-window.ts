// Reads in flight, oldest first: bounded in number and bytes, their buffers used again.

import type { Piece } from '../diff/pieces.ts';
import type { Image } from '../image/port.ts';

/** What the reads in flight may take together. */
const windowBytes = 32 << 20;
/** Pieces in flight, those included that need no read. */
const windowPieces = 64;
/** Sizes of buffers: a read of 4 KiB shall not take 4 MiB. */
const bufferBytes = [64 << 10, 512 << 10, 4 << 20] as const;

export interface Read {
  piece: Piece;
  /** From the piece's offset to its end; empty for a piece that needs no read. */
  data: Uint8Array;
}

interface Pending extends Read {
  buffer: Buffer | null;
  done: Promise<void>;
}

export class ReadWindow {
  readonly #image: Image;
  readonly #reads: number;
  readonly #free = new Map<number, Buffer[]>(bufferBytes.map((bytes) => [bytes, []]));
  readonly #queue: Pending[] = [];
  #inFlight = 0;
  #bytes = 0;

  /** At most `reads` at a time. */
  constructor(image: Image, reads: number) {
    this.#image = image;
    this.#reads = reads;
  }

  get isEmpty(): boolean {
    return this.#queue.length === 0;
  }

  /** Whether `start` may be called; else the oldest has to be released first. */
  hasRoomFor(piece: Piece): boolean {
    if (this.#queue.length === 0) return true;
    if (this.#queue.length >= windowPieces) return false;
    const bytes = sizeFor(piece.end - piece.offset);
    return bytes === 0 || (this.#inFlight < this.#reads && this.#bytes + bytes <= windowBytes);
  }

  start(piece: Piece): void {
    const bytes = sizeFor(piece.end - piece.offset);
    if (bytes === 0) {
      this.#queue.push({ piece, data: Buffer.alloc(0), buffer: null, done: Promise.resolve() });
      return;
    }
    const buffer = this.#free.get(bytes)?.pop() ?? Buffer.allocUnsafeSlow(bytes);
    const data = buffer.subarray(0, piece.end - piece.offset);
    const done = this.#image.read(piece.offset, data);
    // it is looked at in its turn; until then a failure is not an unhandled one
    done.catch(() => {});
    this.#inFlight += 1;
    this.#bytes += bytes;
    this.#queue.push({ piece, data, buffer, done });
  }

  /** The oldest, when it has been read: it is valid until `releaseOldest`. There must be one. */
  async oldest(): Promise<Read> {
    const [read] = this.#queue;
    if (read === undefined) throw new Error('no read is in flight');
    await read.done;
    return read;
  }

  releaseOldest(): void {
    const buffer = this.#queue.shift()?.buffer;
    if (!buffer) return;
    this.#inFlight -= 1;
    this.#bytes -= buffer.length;
    this.#free.get(buffer.length)?.push(buffer);
  }

  /** Nothing may write into a buffer any more after this. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#queue.map(({ done }) => done));
  }
}

const sizeFor = (length: number): number =>
  length === 0 ? 0 : (bufferBytes.find((bytes) => bytes >= length) ?? length);
