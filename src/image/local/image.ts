// An image of the local pool, opened to read: the head or a snapshot. What a snapshot reads never changes under it.

import { RbdeltaError } from '../../error.ts';
import { printable } from '../../bytes/text.ts';
import type { Extent } from '../../diff/extent.ts';
import { type Geometry, geometryOf, periodBytes } from '../../diff/striping.ts';
import type { ParentSpec, SnapshotRecord } from '../../format/rbd-header.ts';
import type { Image, ImageInfo } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { lockKindOf } from './advisory-locks.ts';
import { imageDirectory, ObjectFiles } from './files.ts';
import { findImage, findSnapshot, headSize, imageById, type ImageRef, imageInfo, loadHeader } from './header.ts';
import { isLocked, watchersOf } from './lock.ts';
import { mapKey, readMap } from './object-maps.ts';
import { imageExtents, ObjectTable, objectBytesBefore, objectsOf, piecesOf } from './objects.ts';
import { type ParentLink, ParentView } from './parent.ts';
import { poolIdOf } from './pools.ts';
import {
  changedBetween,
  type DataObject,
  intersect,
  isUnchanged,
  needsHeadSize,
  type Ranges,
  versionAt,
} from './snapset.ts';
import type { Store } from './store.ts';
import { headBytesOf, refuseMissing } from './unflushed.ts';

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
  /** What shows where the image has no objects; null for an image that was not cloned. */
  parent: ParentView | null;
}

export function openImage(store: Store, spec: ImageSpec): Image {
  const image = findImage(store, spec);
  return openVersion(
    store,
    image,
    spec.snap === null ? null : findSnapshot(loadHeader(store, image), image, spec.snap),
  );
}

function openVersion(store: Store, image: ImageRef, snapshot: SnapshotRecord | null): Image {
  const opened = openParts(store, image, snapshot, false);
  return { ...readingPart(opened), close: () => closeParts(opened) };
}

/** The snapshot that a clone was made from, by its ids: it and its image may be in the trash. */
function openParent(store: Store, { pool, namespace, imageId, snapId }: ParentSpec): Image {
  const image = imageById(store, pool, namespace, imageId);
  const snapshot = loadHeader(store, image).snapshots.find((snap) => snap.id === snapId);
  if (snapshot !== undefined) return openVersion(store, image, snapshot);
  const message = `the snapshot with the id ${snapId} of image '${printable(image.name)}', a parent, is gone`;
  throw new RbdeltaError('notFound', message);
}

export function openParts(
  store: Store,
  image: ImageRef,
  snapshot: SnapshotRecord | null,
  writable: boolean,
): OpenImage {
  const header = loadHeader(store, image);
  const snapId = snapshot?.id ?? null;
  return {
    store,
    image,
    snapId,
    geometry: geometryOf(header, snapshot?.size ?? header.size),
    objects: new ObjectTable(store, image),
    files: new ObjectFiles(imageDirectory(store.dir, image.dataPoolId, image.prefix), writable),
    // an image that has none never gets one
    parent: header.parent && new ParentView(store, image, snapId, (spec) => openParent(store, spec)),
  };
}

export async function closeParts({ files, parent }: OpenImage): Promise<void> {
  await files.close();
  await parent?.close();
}

/** Everything of the port but `close`. */
export function readingPart(opened: OpenImage): Omit<Image, 'close'> {
  const { store, image, snapId } = opened;
  const info = (): ImageInfo => imageInfo(store, image, loadHeader(store, image), snapId);
  return {
    kind: 'local',
    info: async () => info(),
    objectMap: async (id) => readMap(store, mapKey(image, id)),
    async changedExtents(fromSnap, range, emit, ownOnly = false) {
      const header = loadHeader(store, image);
      const from = fromSnap === null ? 0 : findSnapshot(header, image, fromSnap).id;
      const now = imageInfo(store, image, header, snapId);
      if (snapId !== null && from > snapId) {
        const message = `snapshot '${printable(fromSnap ?? '')}' is newer than '${printable(now.snapshot?.name ?? '')}'`;
        throw new RbdeltaError('invalid', message);
      }
      const end = Math.min(range.offset + range.length, now.size);
      const clipped = { offset: range.offset, length: end - range.offset };
      if (clipped.length > 0) await changedInRange(opened, geometryOf(now), from, clipped, emit, ownOnly);
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
    lock: async () => (isLocked(store, image) ? 'exclusive' : lockKindOf(store, image)),
    watchers: async () => watchersOf(store, image),
    async parent() {
      const { parent } = info();
      return parent && openParent(store, { ...parent, pool: poolIdOf(store, parent.pool) });
    },
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
  const { store, objects, files, snapId, parent, geometry } = opened;
  let missing: string | null = null;
  for (;;) {
    // both at once: they are of one state of the store
    const object = objects.get(objectNo);
    const link = parent?.link() ?? null;
    const version = object === null ? null : versionAt(object, snapId);
    if (version !== null) {
      if (await files.read(files.path(objectNo, version.file), into, offset)) return;
      if (version.file === missing) {
        if (version.size !== 0) refuseMissing(opened, objectNo, version.file);
        return;
      }
      missing = version.file;
      // who writes meanwhile may have taken it away, and its record
      store.renew();
      continue;
    }
    into.fill(0);
    if (link === null || parent === null) return;
    await parent.read(link, geometry, objectNo, offset, into);
    // once it is flattened, the parent may be gone while it is read
    if (parent.link() === link) return;
  }
}

/** Reports period by period: inside one, the extents of its objects interleave. Only objects with a record are visited. */
async function changedInRange(
  opened: OpenImage,
  geometry: Geometry,
  from: number,
  range: Extent,
  emit: (offset: number, length: number, exists: boolean) => void,
  ownOnly: boolean,
): Promise<void> {
  const { objects, snapId, parent } = opened;
  const link = parent?.link() ?? null;
  const overlap = Math.min(link?.overlap ?? 0, geometry.size);
  const changed: [number, DataObject][] = [];
  for (const entry of objects.range(...objectsOf(geometry, range))) {
    if (!isUnchanged(entry[1], from, snapId)) changed.push(entry);
  }
  let found: Found[] = [];
  let period = -1;
  const show = link !== null && !ownOnly && from === 0 && range.offset < overlap;
  /** Objects that report something of their own: only where one does not, the parent's extents are reported. */
  const own = new Set<number>();
  for (let start = 0; start < changed.length; start += sizesAtOnce) {
    const some = changed.slice(start, start + sizesAtOnce);
    const sizes = await Promise.all(
      some.map(async ([no, object]) => (needsHeadSize(object, snapId) ? headBytesOf(opened, no, object) : 0)),
    );
    for (const [i, [objectNo, object]] of some.entries()) {
      if (!show && Math.floor(objectNo / geometry.stripeCount) !== period) {
        emitSorted(found, periodBytes(geometry), emit);
        found = [];
        period = Math.floor(objectNo / geometry.stripeCount);
      }
      const covered = ownOnly ? 0 : objectBytesBefore(geometry, objectNo, overlap);
      const { data, zero } = changedBetween(object, from, snapId, sizes[i] ?? 0, covered);
      if (data.length > 0 || zero.length > 0) own.add(objectNo);
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
  if (show) {
    const shown = { offset: range.offset, length: Math.min(range.length, overlap - range.offset) };
    found.push(...(await shownBy(opened, geometry, link, shown, own)));
  }
  emitSorted(found, periodBytes(geometry), emit);
}

/** What there is in the parent, inside `range` of the overlap, but for some objects. */
async function shownBy(
  { parent }: OpenImage,
  geometry: Geometry,
  link: ParentLink,
  range: Extent,
  own: ReadonlySet<number>,
): Promise<Found[]> {
  const found: Found[] = [];
  await parent?.image(link).changedExtents(null, range, (offset, length) => {
    for (const { objectNo, start, length: part } of piecesOf(geometry, { offset, length })) {
      if (!own.has(objectNo)) found.push({ offset: offset + start, length: part, exists: true });
    }
  });
  return found;
}

interface Found extends Extent {
  exists: boolean;
}

/** Neighbours are joined up to the borders of periods. */
function emitSorted(
  found: Found[],
  period: number,
  emit: (offset: number, length: number, exists: boolean) => void,
): void {
  found.sort((a, b) => a.offset - b.offset);
  let last: Found | null = null;
  for (const extent of found) {
    const end = last === null ? 0 : last.offset + last.length;
    if (last !== null && last.exists === extent.exists && end === extent.offset && end % period !== 0) {
      last.length += extent.length;
      continue;
    }
    if (last !== null) emit(last.offset, last.length, last.exists);
    last = extent;
  }
  if (last !== null) emit(last.offset, last.length, last.exists);
}
