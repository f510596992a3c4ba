// Bytes and object maps of images, for the suites that every cluster passes.

import { decodeObjectMap, objectState } from '../../src/format/object-map.ts';
import type { Image } from '../../src/image/port.ts';

/** All that a version reads as. */
export async function contentOf(image: Image): Promise<Buffer> {
  const content = Buffer.alloc((await image.info()).size, 0xaa);
  await image.read(0, content);
  return content;
}

/** The object map of the head (null) or of a snapshot, one number an object. */
export async function statesOf(image: Image, snapId: number | null): Promise<number[]> {
  const map = decodeObjectMap((await image.objectMap(snapId))!);
  return Array.from({ length: map.count }, (_, index) => objectState(map.states, index));
}
