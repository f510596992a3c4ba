// Where an image's metadata is: the directory, the id object, the header's keys; read and written with RBD's encodings.

import { nameFromBytes, nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  decodeHeader,
  directoryIdKey,
  directoryNameKey,
  directoryValue,
  encodeHeader,
  headerObjectName,
  headerValue,
  idData,
  idObjectName,
  type RbdHeader,
  type SnapshotRecord,
  utimeToMs,
  poolObject,
} from '../../format/rbd-header.ts';
import type { ImageInfo, Snapshot } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { checkNamespace, poolIdOf, poolNameOf } from './pools.ts';
import { keysIn, objectKey, type Store, within } from './store.ts';

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

/** Finds an image; throws `notFound` for pool, namespace or image. */
export function findImage(store: Store, spec: ImageSpec): ImageRef {
  const poolId = poolIdOf(store, spec.pool);
  checkNamespace(store, poolId, spec.namespace);
  const { id, name } =
    spec.id === undefined ? { id: idOf(store, poolId, spec), name: spec.image } : byId(store, poolId, spec, spec.id);
  const header = loadHeader(store, { poolId, namespace: spec.namespace, id, name });
  return {
    pool: spec.pool,
    poolId,
    namespace: spec.namespace,
    name,
    id,
    dataPoolId: header.dataPoolId ?? poolId,
    prefix: header.objectPrefix,
  };
}

function idOf(store: Store, poolId: number, spec: ImageSpec): string {
  const data = store.content.get(objectKey(poolId, spec.namespace, idObjectName(spec.image)));
  if (data === undefined) throw noImage(spec, `'${printable(spec.image)}'`);
  return idData.decode(data);
}

function byId(store: Store, poolId: number, spec: ImageSpec, id: string): { id: string; name: string } {
  const directory = objectKey(poolId, spec.namespace, poolObject.directory);
  const value = store.omap.get(Buffer.concat([directory, nameToBytes(directoryIdKey(id))]));
  if (value === undefined) throw noImage(spec, `with the id '${printable(id)}'`);
  return { id, name: directoryValue.decode(value) };
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

/** Enters a new image in the directory. In a transaction. */
export function addToDirectory(store: Store, image: HeaderOf): void {
  const directory = objectKey(image.poolId, image.namespace, poolObject.directory);
  const put = (key: string, value: string) =>
    void store.omap.put(Buffer.concat([directory, nameToBytes(key)]), directoryValue.encode(value));
  put(directoryNameKey(image.name), image.id);
  put(directoryIdKey(image.id), image.name);
  void store.content.put(objectKey(image.poolId, image.namespace, idObjectName(image.name)), idData.encode(image.id));
}

/** In a transaction. */
export function removeFromDirectory(store: Store, image: HeaderOf): void {
  const directory = objectKey(image.poolId, image.namespace, poolObject.directory);
  for (const key of [directoryNameKey(image.name), directoryIdKey(image.id)]) {
    void store.omap.remove(Buffer.concat([directory, nameToBytes(key)]));
  }
  void store.content.remove(objectKey(image.poolId, image.namespace, idObjectName(image.name)));
}

/** Names of the images of a namespace, sorted. */
export function imageNames(store: Store, poolId: number, namespace: string): string[] {
  const prefix = Buffer.concat([objectKey(poolId, namespace, poolObject.directory), Buffer.from('name_')]);
  return keysIn(store.omap, within(prefix))
    .map((key) => nameFromBytes(key.subarray(prefix.length)))
    .sort();
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
    parent: null,
    snapshots,
    snapshot,
  };
}

/** Whether a feature bit is set: features may be more than 32 bits. */
export const hasFeature = (header: RbdHeader, bit: number): boolean => Math.floor(header.features / bit) % 2 === 1;

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
  createdMs: snap.created && utimeToMs(snap.created),
  parentOverlap: snap.parentOverlap,
});
