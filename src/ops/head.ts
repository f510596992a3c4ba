// Whether the head of an image is what a diff starts from: equal to a snapshot, or empty.

import { interruption } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { printable } from '../bytes/text.ts';
import type { Extent } from '../diff/extent.ts';
import type { Image } from '../image/port.ts';
import { changedExtents, planDiff } from './changes.ts';
import { HeldExtents } from './held-extents.ts';

/** `unchecked`: nobody looked. `differs`: `what` says where, as the end of a sentence. */
export type HeadFinding = { kind: 'unchecked' } | { kind: 'equal' } | { kind: 'differs'; what: string };

export interface HeadOptions {
  signal?: AbortSignal | undefined;
  onNotice?: ((text: string) => void) | undefined;
}

const pieceBytes = 1 << 20;
const readsInFlight = 8;

/**
 * Compares the head with its snapshot `base`. Object maps tell where they may differ; there the bytes are compared, so
 * that a write of the same bytes does not count. Stops at the first difference.
 */
export async function compareWithSnapshot(
  target: Image,
  openAtSnap: (snap: string) => Promise<Image>,
  base: string,
  options: HeadOptions,
): Promise<HeadFinding> {
  const at = await openAtSnap(base);
  try {
    const { size } = await at.info();
    const head = await target.info();
    if (head.size !== size)
      return { kind: 'differs', what: `it has ${head.size} bytes, ${size} at "${printable(base)}"` };
    const found = Buffer.allocUnsafe(pieceBytes * readsInFlight);
    const expected = Buffer.allocUnsafe(pieceBytes * readsInFlight);
    const offset = await firstHit(target, base, options, async ({ offset, length }, slot) => {
      const here = found.subarray(slot * pieceBytes, slot * pieceBytes + length);
      const there = expected.subarray(slot * pieceBytes, slot * pieceBytes + length);
      await Promise.all([target.read(offset, here), at.read(offset, there)]);
      return here.equals(there) ? null : firstDifference(here, there);
    });
    return offset === null
      ? { kind: 'equal' }
      : { kind: 'differs', what: `byte ${offset} was changed since "${printable(base)}"` };
  } finally {
    await at.close();
  }
}

/** Whether the image reads as zeros from end to end. Stops at the first byte that is not zero. */
export async function checkEmpty(target: Image, options: HeadOptions): Promise<HeadFinding> {
  const found = Buffer.allocUnsafe(pieceBytes * readsInFlight);
  const zeros = Buffer.alloc(pieceBytes);
  const offset = await firstHit(target, null, options, async ({ offset, length }, slot) => {
    const here = found.subarray(slot * pieceBytes, slot * pieceBytes + length);
    await target.read(offset, here);
    const there = zeros.subarray(0, length);
    return here.equals(there) ? null : firstDifference(here, there);
  });
  return offset === null ? { kind: 'equal' } : { kind: 'differs', what: `byte ${offset} is not zero` };
}

/** Where the image may hold data, by whole objects: what has to be cleared. */
export async function heldExtents(target: Image, options: HeadOptions): Promise<HeldExtents> {
  const plan = await planDiff(target, { fromSnap: null, wholeObject: true, ...defined(options) });
  const held = new HeldExtents();
  for await (const extent of changedExtents(target, plan)) if (extent.kind === 'data') held.add(extent);
  return held;
}

/** The first offset at which `differsAt` finds something, among what changed since `fromSnap`. */
async function firstHit(
  target: Image,
  fromSnap: string | null,
  options: HeadOptions,
  differsAt: (piece: Extent, slot: number) => Promise<number | null>,
): Promise<number | null> {
  const plan = await planDiff(target, { fromSnap, ...defined(options) });
  const free = Array.from({ length: readsInFlight }, (_, slot) => slot);
  const looks = mapOrdered(pieces(changedExtents(target, plan)), readsInFlight, async (piece) => {
    if (options.signal?.aborted) throw interruption(options.signal);
    const slot = free.pop();
    if (slot === undefined) throw new Error('more reads are under way than there are buffers');
    try {
      const at = await differsAt(piece, slot);
      return at === null ? null : piece.offset + at;
    } finally {
      free.push(slot);
    }
  });
  for await (const offset of looks) if (offset !== null) return offset;
  return null;
}

async function* pieces(extents: AsyncIterable<Extent>): AsyncGenerator<Extent> {
  for await (const { offset, length } of extents)
    for (let done = 0; done < length; done += pieceBytes)
      yield { offset: offset + done, length: Math.min(pieceBytes, length - done) };
}

function firstDifference(a: Uint8Array, b: Uint8Array): number {
  let i = 0;
  while (i < a.length && a[i] === b[i]) i += 1;
  return i;
}

/** Options of planDiff are absent, never undefined. */
function defined({ signal, onNotice }: HeadOptions): { signal?: AbortSignal; onNotice?: (text: string) => void } {
  return { ...(signal && { signal }), ...(onNotice && { onNotice }) };
}
