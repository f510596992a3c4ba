// The pieces of a new object, watched on their way into any store.

import { interruption } from '../bytes/errno.ts';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { CopiedRange, WriteOptions } from './port.ts';

export type Piece = Uint8Array | CopiedRange;
export type Pieces = AsyncIterable<Piece> | Iterable<Piece>;

/** The same pieces, without empty ones; `tooLarge` when they are more than promised, `interrupted` by the signal. */
export async function* watchedPieces(
  pieces: Pieces,
  { maxBytes, signal }: WriteOptions,
  task: string,
): AsyncGenerator<Piece> {
  let bytes = 0;
  for await (const piece of pieces) {
    if (signal?.aborted) throw interruption(signal);
    bytes += piece.length;
    if (bytes > maxBytes) {
      throw new RbdeltaError('tooLarge', `${task}: it was to be at most ${counted(maxBytes, 'byte')}, and is more`);
    }
    if (piece.length > 0) yield piece;
  }
  if (signal?.aborted) throw interruption(signal);
}
