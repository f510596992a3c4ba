// The data objects of an image: their records in the store, and which bytes of the image are where in them.

import type { Extent } from '../../diff/extent.ts';
import { type Geometry, objectOf, periodBytes } from '../../diff/striping.ts';
import type { ImageRef } from './header.ts';
import type { DataObject, Ranges } from './snapset.ts';
import { objectKey, type Put, removeRange, type Store } from './store.ts';

type Owner = Pick<ImageRef, 'dataPoolId' | 'namespace' | 'prefix'>;

/** The records of one image's objects. What has no record does not exist and never did. */
export class ObjectTable {
  readonly #store: Store;
  readonly #prefix: Buffer;

  constructor(store: Store, image: Owner) {
    this.#store = store;
    this.#prefix = objectKey(image.dataPoolId, image.namespace, image.prefix);
  }

  get(objectNo: number): DataObject | null {
    return this.#store.objects.get(this.#key(objectNo)) ?? null;
  }

  /** Null removes the record. */
  put(objectNo: number, object: DataObject | null): Put {
    const key = this.#key(objectNo);
    return object === null ? this.#store.objects.remove(key) : this.#store.objects.put(key, object);
  }

  /** Objects with a record, from number `first` up to, and not with, `end`; in one state of the store. */
  *range(first: number, end: number): Generator<[number, DataObject]> {
    if (first >= end) return;
    const range = this.#store.objects.getRange({ start: this.#key(first), end: this.#key(end) });
    const at = this.#prefix.length;
    for (const { key, value } of range) yield [numberAt(key, at), value];
  }

  /** In a transaction. */
  clear(): void {
    removeRange(this.#store.objects, { start: this.#key(0), end: this.#key(Number.MAX_SAFE_INTEGER) });
  }

  #key(objectNo: number): Buffer {
    const key = Buffer.alloc(this.#prefix.length + 8);
    key.set(this.#prefix);
    key.writeBigUInt64BE(BigInt(objectNo), this.#prefix.length);
    return key;
  }
}

/** A big-endian u64, without a copy or a bigint: very many are read in a row. */
function numberAt(bytes: Uint8Array, at: number): number {
  let number = 0;
  for (let i = at; i < at + 8; i += 1) number = number * 256 + bytes[i]!;
  return number;
}

/** A part of a range of the image that lies in one object; `start` counts from the start of the range. */
export interface Piece {
  objectNo: number;
  objectOffset: number;
  start: number;
  length: number;
}

/** The parts of a range of the image, by rising offset, each within one stripe unit. */
export function piecesOf(geometry: Geometry, range: Extent): Piece[] {
  const pieces: Piece[] = [];
  for (let start = 0; start < range.length; ) {
    const { objectNo, objectOffset, length: most } = objectOf(geometry, range.offset + start);
    const length = Math.min(most, range.length - start);
    pieces.push({ objectNo, objectOffset, start, length });
    start += length;
  }
  return pieces;
}

/** How many bytes of an object belong to the first `end` bytes of the image: always its first ones. */
export function objectBytesBefore(geometry: Geometry, objectNo: number, end: number): number {
  const { objectBytes, stripeUnit, stripeCount } = geometry;
  const period = periodBytes(geometry);
  const inPeriod = Math.min(period, Math.max(0, end - Math.floor(objectNo / stripeCount) * period));
  const row = Math.floor(inPeriod / (stripeUnit * stripeCount));
  const inRow = inPeriod - row * stripeUnit * stripeCount - (objectNo % stripeCount) * stripeUnit;
  return Math.min(objectBytes, row * stripeUnit + Math.min(stripeUnit, Math.max(0, inRow)));
}

/** Numbers of the objects that a range may touch: from the first up to, and not with, the second. */
export function objectsOf(geometry: Geometry, range: Extent): [number, number] {
  const period = periodBytes(geometry);
  const first = Math.floor(range.offset / period) * geometry.stripeCount;
  return [first, Math.ceil((range.offset + range.length) / period) * geometry.stripeCount];
}

/** The extents of the image that hold ranges of an object, each within one stripe unit. */
export function imageExtents(geometry: Geometry, objectNo: number, ranges: Ranges): Extent[] {
  const { stripeUnit, stripeCount } = geometry;
  const start = Math.floor(objectNo / stripeCount) * periodBytes(geometry) + (objectNo % stripeCount) * stripeUnit;
  const extents: Extent[] = [];
  for (let i = 0; i < ranges.length; i += 2) {
    const end = ranges[i]! + ranges[i + 1]!;
    for (let at = ranges[i]!; at < end; ) {
      const inUnit = at % stripeUnit;
      const length = Math.min(stripeUnit - inUnit, end - at);
      extents.push({ offset: start + Math.floor(at / stripeUnit) * stripeUnit * stripeCount + inUnit, length });
      at += length;
    }
  }
  return extents;
}
