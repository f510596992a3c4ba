// A store whose payload passes at a limited rate, both ways together.

import { type Clock, TokenBucket } from '../bytes/rate.ts';
import { type Piece, type Pieces } from './pieces.ts';
import type { Store } from './port.ts';

export interface LimitOptions {
  /** Ends all waiting. */
  signal?: AbortSignal | undefined;
  clock?: Clock;
}

/** The same store. What it copies within itself, lists and removes is not counted; what is tried again is counted once. */
export function rateLimitedStore(store: Store, bytesPerSecond: number, { signal, clock }: LimitOptions = {}): Store {
  const bucket = new TokenBucket(bytesPerSecond, clock);

  async function* limited(pieces: Pieces): AsyncGenerator<Piece> {
    for await (const piece of pieces) {
      if (!(piece instanceof Uint8Array)) {
        yield piece;
        continue;
      }
      for (let at = 0; at < piece.length; at += bucket.stepBytes) {
        const step = piece.subarray(at, at + bucket.stepBytes);
        await bucket.take(step.length, signal);
        yield step;
      }
    }
  }

  return {
    ...store,
    async get(key, maxBytes) {
      await bucket.take(0, signal);
      const bytes = await store.get(key, maxBytes);
      bucket.spend(bytes?.length ?? 0);
      return bytes;
    },
    async read(key, offset, into) {
      await bucket.take(into.length, signal);
      await store.read(key, offset, into);
    },
    async put(key, bytes, options) {
      await bucket.take(bytes.length, signal);
      await store.put(key, bytes, options);
    },
    write: (key, pieces, options) => store.write(key, limited(pieces), options),
  };
}
