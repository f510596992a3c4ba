// A clone that nothing was written to yet: what it shows of its parent already is not written again.

import { zeroRuns } from '../bytes/zero.ts';
import type { Image, WritableImage } from '../image/port.ts';

const blockBytes = 4096;
const pieceBytes = 4 << 20;

export interface OverParent {
  /** The clone; of each byte, only the first write may go through this. */
  target: WritableImage;
  /** Bytes that were not written, since the parent has them. */
  keptBytes(): number;
}

/** `overlap`: what the clone shows of the parent, which is read. Blocks of 4 KiB that are equal are left alone. */
export function overParent(clone: WritableImage, parent: Image, overlap: number): OverParent {
  let kept = 0;
  const write = async (offset: number, data: Uint8Array): Promise<void> => {
    const shown = Math.max(0, Math.min(data.length, overlap - offset));
    const there = Buffer.allocUnsafe(shown);
    await parent.read(offset, there);
    const runs = differing(data, there, offset);
    kept += data.length - runs.reduce((bytes, { from, to }) => bytes + to - from, 0);
    await Promise.all(runs.map(({ from, to }) => clone.write(offset + from, data.subarray(from, to))));
  };
  const writeZeroes = async (offset: number, length: number): Promise<void> => {
    const end = Math.min(offset + length, overlap);
    for (let at = offset; at < end; ) {
      const piece = Buffer.allocUnsafe(Math.min(pieceBytes, end - at));
      await parent.read(at, piece);
      const held: [number, number][] = [];
      zeroRuns(piece, at, blockBytes, (from, to, zero) => void (zero || held.push([from, to])));
      for (const [from, to] of held) await clone.writeZeroes(at + from, to - from);
      at += piece.length;
    }
  };
  const target = new Proxy(clone, {
    get(_, name) {
      if (name === 'write') return write;
      if (name === 'writeZeroes') return writeZeroes;
      const value: unknown = clone[name as keyof WritableImage];
      return typeof value === 'function' ? value.bind(clone) : value;
    },
  });
  return { target, keptBytes: () => kept };
}

/** Runs of blocks, aligned to the image, that are not the same; all that `there` is too short for is not. */
function differing(data: Uint8Array, there: Buffer, offset: number): { from: number; to: number }[] {
  const runs: { from: number; to: number }[] = [];
  const here = Buffer.from(data.buffer, data.byteOffset, data.length);
  for (let from = 0; from < data.length; ) {
    const to = Math.min(data.length, from + blockBytes - ((offset + from) % blockBytes));
    const end = Math.min(to, there.length);
    const isSame = to <= there.length && here.compare(there, from, end, from, end) === 0;
    const last = runs.at(-1);
    if (!isSame && last?.to === from) last.to = to;
    else if (!isSame) runs.push({ from, to });
    from = to;
  }
  return runs;
}
