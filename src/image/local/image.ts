// An image of the local pool, opened to read: the head or a snapshot. What a snapshot reads never changes under it.

import { RbdeltaError } from '../../error.ts';
import { printable } from '../../bytes/text.ts';
import type { Extent } from '../../diff/extent.ts';
import { type Geometry, geometryOf } from '../../diff/striping.ts';
import type { Image, ImageInfo } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { imageDirectory, ObjectFiles } from './files.ts';
import { findImage, findSnapshot, headSize, type ImageRef, imageInfo, loadHeader } from './header.ts';
import { isLocked } from './lock.ts';
import { mapKey, readMap } from './object-maps.ts';
import { imageExtents, ObjectTable, objectBytesBefore, objectsOf, piecesOf } from './objects.ts';
import { changedBetween, intersect, isUnchanged, needsHeadSize, type Ranges, versionAt } from './snapset.ts';
import type { Store } from './store.ts';

/** How many files are asked for their size at once. */
const sizesAtOnce = 64;

/** What the functions of an open image share. */
export interface OpenImage {
  store: Store;
  image: ImageRef;
  /** Of the opened version; null is the head. */
  snapId: number | null;
  /** As it was when the image was opened: the size of the head may change. */
  geometry: Geometry;
  objects: ObjectTable;
  files: ObjectFiles;
}

export function openImage(store: Store, spec: ImageSpec): Image {
  const opened = openParts(store, findImage(store, spec), spec.snap, false);
  return { ...readingPart(opened), close: () => opened.files.close() };
}

export function openParts(store: Store, image: ImageRef, snap: string | null, writable: boolean): OpenImage {
  const header = loadHeader(store, image);
  const snapshot = snap === null ? null : findSnapshot(header, image, snap);
  return {
    store,
    image,
    snapId: snapshot?.id ?? null,
    geometry: geometryOf(header, snapshot?.size ?? header.size),
    objects: new ObjectTable(store, image),
    files: new ObjectFiles(imageDirectory(store.dir, image.dataPoolId, image.prefix), writable),
  };
}

/** Everything of the port but `close`. */
export function readingPart(opened: OpenImage): Omit<Image, 'close'> {
  const { store, image, snapId } = opened;
  const info = (): ImageInfo => imageInfo(store, image, loadHeader(store, image), snapId);
  return {
    kind: 'local',
    info: async () => info(),
    objectMap: async (id) => readMap(store, mapKey(image, id)),
    async changedExtents(fromSnap, range, emit) {
      const header = loadHeader(store, image);
      const from = fromSnap === null ? 0 : findSnapshot(header, image, fromSnap).id;
      const now = imageInfo(store, image, header, snapId);
      if (snapId !== null && from > snapId) {
        const message = `snapshot '${printable(fromSnap ?? '')}' is newer than '${printable(now.snapshot?.name ?? '')}'`;
        throw new RbdeltaError('invalid', message);
      }
      const end = Math.min(range.offset + range.length, now.size);
      const clipped = { offset: range.offset, length: end - range.offset };
      if (clipped.length > 0) await changedInRange(opened, geometryOf(now), from, clipped, emit);
    },
    async read(offset, into) {
      checkRange(opened, offset, into.length);
      const pieces = piecesOf(opened.geometry, { offset, length: into.length });
      await Promise.all(
        pieces.map(({ objectNo, objectOffset, start, length }) =>
          readObject(opened, objectNo, objectOffset, into.subarray(start, start + length)),
        ),
      );
    },
    lock: async () => (isLocked(store, image) ? 'exclusive' : null),
    parent: async () => null,
  };
}

/** Refuses a range that is not inside the image as it is now, as `invalid`. */
export function checkRange(opened: OpenImage, offset: number, length: number): void {
  const size = opened.snapId === null ? headSize(opened.store, opened.image) : opened.geometry.size;
  if (offset >= 0 && length >= 0 && offset + length <= size) return;
  const name = printable(opened.image.name);
  const message = `${length} bytes at ${offset} are not inside image '${name}', which has ${size} bytes`;
  throw new RbdeltaError('invalid', message);
}

/** Fills `into` with what the opened version has from `offset` of the object on. */
async function readObject(opened: OpenImage, objectNo: number, offset: number, into: Uint8Array): Promise<void> {
  const { objects, files, snapId } = opened;
  const find = () => {
    const object = objects.get(objectNo);
    return object === null ? null : versionAt(object, snapId);
  };
  for (let version = find(); version !== null; ) {
    if (await files.read(files.path(objectNo, version.file), into, offset)) return;
    // it may have been replaced while its file was looked for; one that is still recorded never had content
    const again = find();
    if (again?.file === version.file) break;
    version = again;
  }
  into.fill(0);
}

/** Reports period by period: inside one, the extents of its objects interleave. Only objects with a record are visited. */
async function changedInRange(
  opened: OpenImage,
  geometry: Geometry,
  from: number,
  range: Extent,
  emit: (offset: number, length: number, exists: boolean) => void,
): Promise<void> {
  const { objects, files, snapId } = opened;
  const changed = [...objects.range(...objectsOf(geometry, range))].filter(
    ([, object]) => !isUnchanged(object, from, snapId),
  );
  let found: Found[] = [];
  let period = -1;
  for (let start = 0; start < changed.length; start += sizesAtOnce) {
    const some = changed.slice(start, start + sizesAtOnce);
    const sizes = await Promise.all(
      some.map(async ([no, object]) =>
        object.head !== null && needsHeadSize(object, snapId) ? files.size(files.path(no, object.head)) : 0,
      ),
    );
    for (const [i, [objectNo, object]] of some.entries()) {
      if (Math.floor(objectNo / geometry.stripeCount) !== period) {
        emitSorted(found, emit);
        found = [];
        period = Math.floor(objectNo / geometry.stripeCount);
      }
      const { data, zero } = changedBetween(object, from, snapId, sizes[i] ?? 0);
      const first = objectBytesBefore(geometry, objectNo, range.offset);
      const end = objectBytesBefore(geometry, objectNo, range.offset + range.length);
      const add = (ranges: Ranges, exists: boolean) => {
        for (const extent of imageExtents(geometry, objectNo, intersect(ranges, [first, end - first]))) {
          found.push({ ...extent, exists });
        }
      };
      add(data, true);
      add(zero, false);
    }
  }
  emitSorted(found, emit);
}

interface Found extends Extent {
  exists: boolean;
}

function emitSorted(found: Found[], emit: (offset: number, length: number, exists: boolean) => void): void {
  found.sort((a, b) => a.offset - b.offset);
  let last: Found | null = null;
  for (const extent of found) {
    if (last !== null && last.exists === extent.exists && last.offset + last.length === extent.offset) {
      last.length += extent.length;
      continue;
    }
    if (last !== null) emit(last.offset, last.length, last.exists);
    last = extent;
  }
  if (last !== null) emit(last.offset, last.length, last.exists);
}
