// A chain as an image that can be read anywhere: for what needs whole blocks of it.

import type { Frame } from '../format/archive-index.ts';
import type { Chain } from './chain.ts';
import { livePieces } from './overlay.ts';

/** Decompressed frames that are held, in bytes. */
const cacheBytes = 64 << 20;

export class ChainBytes {
  readonly #chain: Chain;
  /** Longest unused first. By where they lie: a page that is read again gives other objects. */
  readonly #frames = new Map<string, { frame: Frame; bytes: Promise<Uint8Array> }>();
  #heldBytes = 0;

  constructor(chain: Chain) {
    this.#chain = chain;
  }

  /** Fills `into` with what the newest point holds from `offset` on. Many may be under way. */
  async read(offset: number, into: Uint8Array): Promise<void> {
    into.fill(0);
    for await (const pieces of livePieces(this.#chain, { start: offset, end: offset + into.length })) {
      for (const piece of pieces) {
        if (piece.frame === null) continue;
        const bytes = await this.#frame(piece.point, piece.frame);
        const part = bytes.subarray(piece.rawOffset, piece.rawOffset + piece.end - piece.offset);
        into.set(part, piece.offset - offset);
      }
    }
  }

  #frame(point: number, frame: Frame): Promise<Uint8Array> {
    const key = `${point} ${frame.segment} ${frame.offset}`;
    const held = this.#frames.get(key);
    if (held !== undefined) {
      this.#frames.delete(key);
      this.#frames.set(key, held);
      return held.bytes;
    }
    for (const [oldest, { frame }] of this.#frames) {
      if (this.#heldBytes + frame.rawBytes <= cacheBytes) break;
      this.#frames.delete(oldest);
      this.#heldBytes -= frame.rawBytes;
    }
    const bytes = this.#chain.points[point]!.archive.readFrame(frame);
    bytes.catch(() => this.#frames.delete(key));
    this.#frames.set(key, { frame, bytes });
    this.#heldBytes += frame.rawBytes;
    return bytes;
  }
}
