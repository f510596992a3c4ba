// Pieces on their way into an object of a store: one side appends and waits while there is much, the other one pulls.

import type { CopiedRange } from '../store/port.ts';

type Piece = Uint8Array | CopiedRange;

/** What may wait in memory: `push` waits while it is more. */
const waitingBytes = 8 << 20;
/** A range that is copied takes no memory; but not all of them may wait. */
const rangeBytes = 64 << 10;

const weightOf = (piece: Piece): number => (piece instanceof Uint8Array ? piece.length : rangeBytes);

/** Iterate once. */
export class PieceQueue implements AsyncIterable<Piece> {
  #pieces: Piece[] = [];
  #bytes = 0;
  #ended = false;
  #failure: { error: unknown } | null = null;
  #changed: (() => void)[] = [];

  /** Resolves when there is room for another piece, at once or later; rejects with what `fail` was told. */
  async push(piece: Piece): Promise<void> {
    this.#check();
    this.#pieces.push(piece);
    this.#bytes += weightOf(piece);
    this.#wake();
    while (this.#bytes > waitingBytes) {
      await this.#change();
      this.#check();
    }
  }

  /** Nothing follows. */
  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Both sides get this error from now on, unless the end was pulled before. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#pieces = [];
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Piece, void, undefined> {
    for (;;) {
      this.#check();
      const piece = this.#pieces.shift();
      if (piece !== undefined) {
        yield piece;
        this.#bytes -= weightOf(piece);
        this.#wake();
      } else if (this.#ended) {
        return;
      } else {
        await this.#change();
      }
    }
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#changed.push(resolve));
  }

  #wake(): void {
    const changed = this.#changed;
    this.#changed = [];
    for (const resolve of changed) resolve();
  }
}
