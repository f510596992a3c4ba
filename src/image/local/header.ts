// Where an image's metadata is: the directory, the id object, the header's keys; read and written with RBD's encodings.

import { nameFromBytes, nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  decodeHeader,
  encodeHeader,
  feature,
  headerObjectName,
  headerValue,
  type RbdHeader,
  type SnapshotRecord,
  snapshotKey,
  snapshotValue,
  utimeToMs,
} from '../../format/rbd-header.ts';
import type { ImageInfo, Snapshot } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { idOfName, nameOfId } from './directory.ts';
import { checkNamespace, poolIdOf, poolNameOf } from './pools.ts';
import { objectKey, type Store, within } from './store.ts';

/** An image that was found by its name: what does not change about it. */
export interface ImageRef {
  pool: string;
  poolId: number;
  namespace: string;
  name: string;
  id: string;
  dataPoolId: number;
  prefix: string;
}

/** Finds an image, by name or by id; throws `notFound` for pool, namespace or image. */
export function findImage(store: Store, spec: ImageSpec): ImageRef {
  const poolId = poolIdOf(store, spec.pool);
  checkNamespace(store, poolId, spec.namespace);
  const space = { poolId, namespace: spec.namespace };
  if (spec.id === undefined) {
    const id = idOfName(store, space, spec.image);
    if (id === null) throw noImage(spec, `'${printable(spec.image)}'`);
    return refOf(store, spec.pool, { ...space, id, name: spec.image });
  }
  const found = nameOfId(store, space, spec.id);
  if (found === null) throw noImage(spec, `with the id '${printable(spec.id)}'`);
  return refOf(store, spec.pool, { ...space, id: spec.id, name: found.name });
}

/** An image that other images or snapshots know by its id; throws `notFound` when it is gone. */
export function imageById(store: Store, poolId: number, namespace: string, id: string): ImageRef {
  const space = { poolId, namespace };
  const name = nameOfId(store, space, id)?.name ?? '';
  return refOf(store, poolNameOf(store, poolId) ?? '', { ...space, id, name });
}

function refOf(store: Store, pool: string, image: HeaderOf): ImageRef {
  const header = loadHeader(store, image);
  const { poolId, namespace, id, name } = image;
  return { pool, poolId, namespace, name, id, dataPoolId: header.dataPoolId ?? poolId, prefix: header.objectPrefix };
}

function noImage({ pool, namespace }: ImageSpec, what: string): RbdeltaError {
  const where = printable(namespace === '' ? pool : `${pool}/${namespace}`);
  return new RbdeltaError('notFound', `there is no image ${what} in pool '${where}'`, {
    hint: `rbdelta ls ${where} shows its images`,
  });
}

type HeaderOf = Pick<ImageRef, 'poolId' | 'namespace' | 'id' | 'name'>;

export const headerKey = (image: HeaderOf, key = ''): Buffer =>
  Buffer.concat([objectKey(image.poolId, image.namespace, headerObjectName(image.id)), nameToBytes(key)]);

/** All keys and values of an object's omap, in one state of the store. */
export function readOmap(store: Store, object: Buffer): Map<string, Buffer> {
  const omap = new Map<string, Buffer>();
  for (const { key, value } of store.omap.getRange(within(object))) {
    omap.set(nameFromBytes(key.subarray(object.length)), value);
  }
  return omap;
}

/** The header as it is now; throws `notFound` when the image was removed meanwhile. */
export function loadHeader(store: Store, image: HeaderOf): RbdHeader {
  const omap = readOmap(store, headerKey(image));
  if (omap.size === 0) throw new RbdeltaError('notFound', `image '${printable(image.name)}' was removed`);
  return decodeHeader(omap);
}

/** The size of the head as it is now, without the rest of the header. */
export function headSize(store: Store, image: HeaderOf): number {
  const value = store.omap.get(headerKey(image, 'size'));
  return value === undefined ? loadHeader(store, image).size : headerValue.size.decode(value);
}

/** Puts what differs between the stored header and `header`, and removes keys that it no longer has. In a transaction. */
export function storeHeader(store: Store, image: HeaderOf, header: RbdHeader): void {
  const before = readOmap(store, headerKey(image));
  const after = encodeHeader(header);
  for (const [key, value] of after) {
    if (before.get(key)?.equals(value) !== true) void store.omap.put(headerKey(image, key), value);
  }
  // keys that this version does not know stay
  const known = before.size === 0 ? [] : encodeHeader(decodeHeader(before)).keys();
  for (const key of known) if (!after.has(key)) void store.omap.remove(headerKey(image, key));
}

/** The port's view of a header, opened at the snapshot with this id, or at the head. */
export function imageInfo(store: Store, image: ImageRef, header: RbdHeader, snapId: number | null): ImageInfo {
  const snapshots = header.snapshots.map(snapshotInfo);
  const snapshot = snapId === null ? null : (snapshots.find((snap) => snap.id === snapId) ?? null);
  if (snapId !== null && snapshot === null) {
    const message = `snapshot ${snapId} of image '${printable(image.name)}' was removed while it was in use`;
    throw new RbdeltaError('notFound', message);
  }
  return {
    id: image.id,
    name: image.name,
    pool: image.pool,
    namespace: image.namespace,
    format: 2,
    size: snapshot?.size ?? header.size,
    order: header.order,
    stripeUnit: header.stripeUnit,
    stripeCount: header.stripeCount,
    features: header.features,
    opFeatures: header.opFeatures,
    flags: snapshot?.flags ?? header.flags,
    objectPrefix: header.objectPrefix,
    dataPool: header.dataPoolId === null ? null : poolNameOf(store, header.dataPoolId),
    createdMs: header.created && utimeToMs(header.created),
    modifiedMs: header.modified && utimeToMs(header.modified),
    accessedMs: header.accessed && utimeToMs(header.accessed),
    parent: parentInfo(store, header, snapId),
    snapshotLimit: header.snapLimit,
    snapshots,
    snapshot,
  };
}

/** The parent that the head or a snapshot sees, with names: the header has only ids. */
function parentInfo(store: Store, header: RbdHeader, snapId: number | null): ImageInfo['parent'] {
  const record = header.snapshots.find((snap) => snap.id === snapId);
  const spec = record?.parent ?? header.parent;
  const overlap = record === undefined ? (header.parent?.overlap ?? null) : record.parentOverlap;
  if (spec === null || overlap === null) return null;
  const space = { poolId: spec.pool, namespace: spec.namespace };
  const named = nameOfId(store, space, spec.imageId);
  const snapshot = store.omap.get(headerKey({ ...space, id: spec.imageId, name: '' }, snapshotKey(spec.snapId)));
  return {
    pool: poolNameOf(store, spec.pool) ?? String(spec.pool),
    namespace: spec.namespace,
    image: named?.name ?? '',
    imageId: spec.imageId,
    snap: snapshot === undefined ? '' : snapshotValue.decode(snapshot).name,
    snapId: spec.snapId,
    overlap,
    ...(named?.inTrash === true ? { inTrash: true } : {}),
  };
}

/** Whether a feature bit is set: features may be more than 32 bits. */
export const hasFeature = (header: RbdHeader, bit: number): boolean => Math.floor(header.features / bit) % 2 === 1;

/** Sets or takes a bit of the operations; the feature of the same name is there as long as one is. */
export function setOperation(header: RbdHeader, bit: number, on: boolean): void {
  header.opFeatures = on ? header.opFeatures | bit : header.opFeatures & ~bit;
  const has = hasFeature(header, feature.operations);
  if (has !== (header.opFeatures !== 0)) header.features += has ? -feature.operations : feature.operations;
}

/** A user's snapshot by its name; throws `notFound`. */
export function findSnapshot(header: RbdHeader, image: { name: string }, name: string): SnapshotRecord {
  const found = header.snapshots.find((snap) => snap.name === name && snap.namespace.type === 'user');
  if (found !== undefined) return found;
  throw new RbdeltaError('notFound', `image '${printable(image.name)}' has no snapshot '${printable(name)}'`);
}

const snapshotInfo = (snap: SnapshotRecord): Snapshot => ({
  id: snap.id,
  name: snap.name,
  size: snap.size,
  protection: snap.protection,
  flags: snap.flags,
  namespace: snap.namespace.type,
  ...(snap.namespace.type === 'trash' && { originalName: snap.namespace.originalName }),
  createdMs: snap.created && utimeToMs(snap.created),
  parentOverlap: snap.parentOverlap,
});
