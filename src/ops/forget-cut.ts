// What a shrink takes away from the fingerprint of an image.

import { blockBytes } from '../format/archive-index.ts';
import type { ArchiveWriter } from '../repo/archive-writer.ts';
import type { Chain } from '../repo/chain.ts';
import { StateCursor } from '../repo/overlay.ts';
import type { Packer } from '../repo/packer.ts';

/** So many digests at a time. */
const cutBlocks = 16384;

/** What the image held behind its end at the base is not part of its state any more. */
export async function forgetCut(chain: Chain, size: number, packer: Packer, writer: ArchiveWriter): Promise<void> {
  const end = Math.ceil(chain.size / blockBytes);
  const cursor = new StateCursor(chain);
  for (let first = Math.ceil(size / blockBytes); first < end; first += cutBlocks) {
    const old = await cursor.old(first, Math.min(first + cutBlocks, end));
    const nothing = { data: new ArrayBuffer(0), spans: new Float64Array(0), changes: new Float64Array(0) };
    await writer.append(await packer.pack({ ...nothing, old, trim: false, dropZeros: false }), size);
  }
}
