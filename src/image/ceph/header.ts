// What an image's header says, read as an object: all snapshots with sizes and flags in one round trip.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  decodeHeader,
  decodeHeaderV1,
  directoryIdKey,
  directoryValue,
  headerObjectName,
  headerV1ObjectName,
  idData,
  idObjectName,
  poolObject,
  type RbdHeader,
  type SnapshotRecord,
  snapshotKey,
  snapshotValue,
  trashValue,
  utimeToMs,
} from '../../format/rbd-header.ts';
import type { ImageInfo, Snapshot } from '../port.ts';
import type { Connection, IoContext } from './connection.ts';
import { readObject, readOmap } from './objects.ts';

/** What finds an image again: by its id, or by its name for format 1. */
export interface Location {
  io: IoContext;
  name: string;
  /** '' for format 1. */
  id: string;
  format: 1 | 2;
}

/** Looks an image up by name; null where there is none. */
export async function locate(connection: Connection, io: IoContext, name: string): Promise<Location | null> {
  const id = await readObject(connection, io, idObjectName(name));
  if (id !== null) return { io, name, id: idData.decode(id), format: 2 };
  const old = await readObject(connection, io, headerV1ObjectName(name));
  return old === null ? null : { io, name, id: '', format: 1 };
}

/** Looks an image up by its id, in the trash as well; null where there is none. */
export async function locateById(connection: Connection, io: IoContext, id: string): Promise<Location | null> {
  const found = await imageName(connection, io, id);
  return found && { io, name: found.name, id, format: 2 };
}

/**
 * The header as of now, told for the head (`snapId` null) or for one snapshot. `notFound` where the image or that
 * snapshot has been removed.
 */
export async function readInfo(connection: Connection, location: Location, snapId: number | null): Promise<ImageInfo> {
  if (location.format === 1) return readInfoV1(connection, location, snapId);
  const { io, id } = location;
  const omap = await readOmap(connection, io, headerObjectName(id));
  if (omap === null) throw gone(location, null);
  const header = decodeHeader(omap);
  const snapshots = header.snapshots.map(toSnapshot);
  const snapshot = find(location, snapshots, snapId);
  const dataPool =
    header.dataPoolId === null ? null : (connection.poolName(header.dataPoolId) ?? `${header.dataPoolId}`);
  return {
    id,
    name: location.name,
    pool: io.pool,
    namespace: io.namespace,
    format: 2,
    size: snapshot?.size ?? header.size,
    order: header.order,
    stripeUnit: header.stripeUnit,
    stripeCount: header.stripeCount,
    features: header.features,
    opFeatures: header.opFeatures,
    flags: snapshot?.flags ?? header.flags,
    objectPrefix: header.objectPrefix,
    dataPool,
    createdMs: header.created && utimeToMs(header.created),
    modifiedMs: header.modified && utimeToMs(header.modified),
    accessedMs: header.accessed && utimeToMs(header.accessed),
    parent: await parentOf(connection, header, snapId),
    // librbd takes a limit off by writing the largest number
    snapshotLimit: header.snapLimit === null || header.snapLimit >= 2 ** 63 ? null : header.snapLimit,
    snapshots,
    snapshot,
  };
}

async function readInfoV1(connection: Connection, location: Location, snapId: number | null): Promise<ImageInfo> {
  const bytes = await readObject(connection, location.io, headerV1ObjectName(location.name));
  if (bytes === null) throw gone(location, null);
  const header = decodeHeaderV1(bytes);
  const snapshots = header.snapshots.map(
    ({ id, name, size }): Snapshot => ({
      id,
      name,
      size,
      protection: 'unprotected',
      flags: 0,
      namespace: 'user',
      createdMs: null,
      parentOverlap: null,
    }),
  );
  const snapshot = find(location, snapshots, snapId);
  return {
    id: '',
    name: location.name,
    pool: location.io.pool,
    namespace: location.io.namespace,
    format: 1,
    size: snapshot?.size ?? header.size,
    order: header.order,
    stripeUnit: 2 ** header.order,
    stripeCount: 1,
    features: 0,
    opFeatures: 0,
    flags: 0,
    objectPrefix: header.blockName,
    dataPool: null,
    createdMs: null,
    modifiedMs: null,
    accessedMs: null,
    parent: null,
    snapshotLimit: null,
    snapshots,
    snapshot,
  };
}

const toSnapshot = (record: SnapshotRecord): Snapshot => ({
  id: record.id,
  name: record.name,
  size: record.size,
  protection: record.protection,
  flags: record.flags,
  namespace: record.namespace.type,
  ...(record.namespace.type === 'trash' && { originalName: record.namespace.originalName }),
  createdMs: record.created && utimeToMs(record.created),
  parentOverlap: record.parentOverlap,
});

function find(location: Location, snapshots: Snapshot[], snapId: number | null): Snapshot | null {
  if (snapId === null) return null;
  const found = snapshots.find(({ id }) => id === snapId);
  if (!found) throw gone(location, snapId);
  return found;
}

function gone({ io, name }: Location, snapId: number | null): RbdeltaError {
  const what = snapId === null ? '' : `the snapshot with the id ${snapId} of `;
  return new RbdeltaError('notFound', `${what}image '${printable(name)}' in pool '${io.pool}' was removed meanwhile`);
}

/** The parent that the head or a snapshot sees, with names: the header has only ids. */
async function parentOf(
  connection: Connection,
  header: RbdHeader,
  snapId: number | null,
): Promise<ImageInfo['parent']> {
  const record = header.snapshots.find(({ id }) => id === snapId);
  const parent = record?.parent ?? header.parent;
  const overlap = record ? record.parentOverlap : (header.parent?.overlap ?? null);
  if (!parent || overlap === null) return null;
  const io = await connection.ioById(parent.pool, parent.namespace);
  const [image, snap] = await Promise.all([
    imageName(connection, io, parent.imageId),
    snapshotName(connection, io, parent.imageId, parent.snapId),
  ]);
  return {
    pool: io.pool,
    namespace: io.namespace,
    image: image?.name ?? '',
    imageId: parent.imageId,
    snap,
    snapId: parent.snapId,
    overlap,
    ...(image?.inTrash === true ? { inTrash: true } : {}),
  };
}

/** Null where the pool does not know the id. */
async function imageName(
  connection: Connection,
  io: IoContext,
  id: string,
): Promise<{ name: string; inTrash: boolean } | null> {
  const key = directoryIdKey(id);
  const live = (await readOmap(connection, io, poolObject.directory, key))?.get(key);
  if (live) return { name: directoryValue.decode(live), inTrash: false };
  const trashed = (await readOmap(connection, io, poolObject.trash, key))?.get(key);
  return trashed ? { name: trashValue.decode(trashed).name, inTrash: true } : null;
}

async function snapshotName(connection: Connection, io: IoContext, id: string, snapId: number): Promise<string> {
  const key = snapshotKey(snapId);
  const record = (await readOmap(connection, io, headerObjectName(id), key))?.get(key);
  return record ? snapshotValue.decode(record).name : '';
}
