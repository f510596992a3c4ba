// How much a pool grows, at most, by what is about to be written to an image: what its quota is asked for.

import { isZero } from '../../bytes/zero.ts';
import type { OpenImage } from './image.ts';
import type { Piece } from './objects.ts';
import { add, type Amount, nothing } from './quota.ts';
import { type DataObject, isHeadOwn, type SnapContext, snapsSince } from './snapset.ts';
import { headBytesOf } from './unflushed.ts';

/** A range of an object that is to read as zeros. */
export interface ZeroedPart {
  objectNo: number;
  from: number;
  to: number;
}

const objectAt = ({ objects }: OpenImage, objectNo: number): DataObject =>
  objects.get(objectNo) ?? { seq: 0, head: null, clones: [] };

/** By writes: new objects, longer ones, and what snapshots keep. */
export async function growthByWrite(
  opened: OpenImage,
  context: SnapContext,
  pieces: readonly Piece[],
): Promise<Amount> {
  const ends = new Map<number, number>();
  for (const { objectNo, objectOffset, length } of pieces) {
    ends.set(objectNo, Math.max(ends.get(objectNo) ?? 0, objectOffset + length));
  }
  let growth = nothing;
  for (const [objectNo, end] of ends) {
    const object = objectAt(opened, objectNo);
    const headBytes = await headBytesOf(opened, objectNo, object);
    const more = await growthTo(opened, context, { objectNo, object, headBytes, bytes: Math.max(end, headBytes) });
    growth = add(growth, more);
  }
  return growth;
}

/** By zeros: copies that snapshots need, and objects that hide what a parent would show. */
export async function growthByZeros(
  opened: OpenImage,
  context: SnapContext,
  parts: readonly ZeroedPart[],
): Promise<Amount> {
  let growth = nothing;
  for (const part of parts) growth = add(growth, await growthByZero(opened, context, part));
  return growth;
}

async function growthByZero(opened: OpenImage, context: SnapContext, part: ZeroedPart): Promise<Amount> {
  const { objectNo, from, to } = part;
  const { parent, geometry } = opened;
  const { objectBytes } = geometry;
  const object = objectAt(opened, objectNo);
  const covered = parent?.covered(geometry, objectNo) ?? 0;
  const isWhole = from === 0 && to === objectBytes;
  if (covered === 0 && (object.head === null || isWhole)) return nothing;
  if (object.head === null && isWhole && context.snaps.length === 0) return { bytes: 0, objects: 1 };
  if (object.head === null) return growthTo(opened, context, { objectNo, object, headBytes: 0, bytes: 0 });
  const headBytes = await headBytesOf(opened, objectNo, object);
  if (to !== objectBytes && from >= headBytes) return nothing;
  const bytes = to === objectBytes || to >= headBytes ? from : headBytes;
  return growthTo(opened, context, { objectNo, object, headBytes, bytes });
}

interface HeadChange {
  objectNo: number;
  object: DataObject;
  /** Of the head now. */
  headBytes: number;
  /** Of the head then. */
  bytes: number;
}

export async function growthTo(opened: OpenImage, context: SnapContext, change: HeadChange): Promise<Amount> {
  const { objectNo, object, headBytes, bytes } = change;
  if (isHeadOwn(object, context)) return { bytes: Math.max(0, bytes - headBytes), objects: 0 };
  const copied = await growthByCopy(opened, objectNo, object);
  const own = { bytes: Math.max(bytes, copied.bytes), objects: 1 };
  return snapsSince(object, context) ? add(own, copied) : own;
}

/** When the object is given what it shows of the parent. */
export async function growthByCopy(opened: OpenImage, objectNo: number, object: DataObject): Promise<Amount> {
  const shown = object.head === null ? await shownOfParent(opened, objectNo) : null;
  return shown === null ? nothing : { bytes: shown.length, objects: 1 };
}

/** What shows through of the parent; null where that is nothing but zeros. */
export async function shownOfParent({ parent, geometry }: OpenImage, objectNo: number): Promise<Buffer | null> {
  const link = parent?.link() ?? null;
  if (parent === null || link === null) return null;
  const data = Buffer.alloc(parent.covered(geometry, objectNo));
  await parent.read(link, geometry, objectNo, 0, data);
  if (isZero(data)) return null;
  // the object ends where its data does, as in RADOS
  let end = data.length;
  while (data[end - 1] === 0) end -= 1;
  return data.subarray(0, end);
}
