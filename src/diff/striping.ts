// Striping v2: which bytes of the image live in which object. Rule: formats/rbd-header/spec.md, "striping".

import { RbdeltaError } from '../error.ts';
import type { Extent } from './extent.ts';

/** Bytes throughout; `stripeCount` counts objects. Without striping the stripe unit is the object and the count is 1. */
export interface Geometry {
  size: number;
  objectBytes: number;
  stripeUnit: number;
  stripeCount: number;
}

/** The geometry of one version of an image; takes what `ImageInfo` has. `size` may be that of another version. */
export const geometryOf = (
  info: { order: number; stripeUnit: number; stripeCount: number; size: number },
  size = info.size,
): Geometry => {
  const objectBytes = 2 ** info.order;
  if (info.stripeCount <= 1) return { size, objectBytes, stripeUnit: objectBytes, stripeCount: 1 };
  const stripeUnit = info.stripeUnit === 0 ? objectBytes : info.stripeUnit;
  if (objectBytes % stripeUnit !== 0) {
    const message = `stripe unit ${stripeUnit} does not divide the object size ${objectBytes}`;
    throw new RbdeltaError('corrupt', message);
  }
  return { size, objectBytes, stripeUnit, stripeCount: info.stripeCount };
};

/** A period is what one set of `stripeCount` objects holds: a gapless range of the image. */
export const periodBytes = (geometry: Geometry): number => geometry.objectBytes * geometry.stripeCount;

/** How many objects an image of this size may have: what its object map must cover. */
export const objectCount = (geometry: Geometry): number => {
  const { size, stripeUnit, stripeCount } = geometry;
  const period = periodBytes(geometry);
  const rest = size % period;
  // the last period has fewer objects only while its first stripe is not complete
  const missing = rest > 0 && rest < stripeCount * stripeUnit ? stripeCount - Math.ceil(rest / stripeUnit) : 0;
  return Math.ceil(size / period) * stripeCount - missing;
};

/** Where a byte of the image lives, and how many bytes from there on lie behind each other in that object. */
export const objectOf = (
  geometry: Geometry,
  offset: number,
): { objectNo: number; objectOffset: number; length: number } => {
  const { objectBytes, stripeUnit, stripeCount } = geometry;
  const unitsPerObject = objectBytes / stripeUnit;
  const unit = Math.floor(offset / stripeUnit);
  const stripe = Math.floor(unit / stripeCount);
  const inUnit = offset % stripeUnit;
  return {
    objectNo: Math.floor(stripe / unitsPerObject) * stripeCount + (unit % stripeCount),
    objectOffset: (stripe % unitsPerObject) * stripeUnit + inUnit,
    length: stripeUnit - inUnit,
  };
};

/** The extents of the image that an object holds, ascending, clipped to the image's size; none past its end. */
export const objectExtents = (geometry: Geometry, objectNo: number): Extent[] => {
  const { size, objectBytes, stripeUnit, stripeCount } = geometry;
  const extents: Extent[] = [];
  const period = Math.floor(objectNo / stripeCount) * periodBytes(geometry);
  let offset = period + (objectNo % stripeCount) * stripeUnit;
  for (let unit = 0; unit < objectBytes / stripeUnit && offset < size; unit += 1) {
    extents.push({ offset, length: Math.min(stripeUnit, size - offset) });
    offset += stripeUnit * stripeCount;
  }
  return extents;
};
