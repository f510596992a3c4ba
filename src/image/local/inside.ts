// What is inside a local pool: its RADOS objects with their sizes, and files that nothing names.

import { readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { nameFromBytes } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { dataObjectName } from '../../format/rbd-header.ts';
import { bytesOf, imageDirectory, ObjectFiles, poolDirectory, removeDirectory } from './files.ts';
import { idOfName, imageNames, type Space, trashRecords } from './directory.ts';
import { imageById, type ImageRef } from './header.ts';
import { isLocked, lockImage } from './lock.ts';
import { readMap } from './object-maps.ts';
import { ObjectTable } from './objects.ts';
import { isGivenPoolId, namespaceNames, poolIdOf, poolNames } from './pools.ts';
import { filesOf } from './snapset.ts';
import { isErrno, keysIn, type Store } from './store.ts';

/** A RADOS object as `rados ls` and `rados stat` tell it. */
export interface StoredObject {
  namespace: string;
  name: string;
  /** Bytes of its data; 0 for one that has only keys and values. */
  bytes: number;
}

/** All RADOS objects of a pool, sorted by namespace and name. */
export async function listObjects(store: Store, poolId: number): Promise<StoredObject[]> {
  const found = new Map<string, StoredObject>();
  const add = (namespace: string, name: string, bytes: number) =>
    found.set(`${namespace}\0${name}`, { namespace, name, bytes });
  const range = { start: keyOfPool(poolId), end: keyOfPool(poolId + 1) };
  for (const key of keysIn(store.omap, range)) add(...objectOfKey(key), 0);
  for (const { key, value } of store.content.getRange({ ...range })) add(...objectOfKey(key), value.length);
  for (const key of keysIn(store.maps, range)) {
    const [namespace, name] = objectOfKey(key);
    // a map has several keys; its count comes first
    if (!found.has(`${namespace}\0${name}`)) {
      add(namespace, name, readMap(store, key.subarray(0, key.length - 4))?.length ?? 0);
    }
  }
  for (const image of allImages(store)) {
    if (image.dataPoolId !== poolId) continue;
    const files = new ObjectFiles(imageDirectory(store.dir, poolId, image.prefix), false);
    for (const [objectNo, { head }] of new ObjectTable(store, image).range(0, Number.MAX_SAFE_INTEGER)) {
      if (head === null) continue;
      add(image.namespace, dataObjectName(image.prefix, objectNo), await bytesOf(files.path(objectNo, head)));
    }
  }
  return [...found].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, object]) => object);
}

/**
 * Removes files and directories of images that nothing names: what a crash left; or counts them only. Images that are
 * open to write are passed over.
 */
export async function sweep(
  store: Store,
  { poolId = null, remove: removes = true }: { poolId?: number | null; remove?: boolean } = {},
): Promise<{ files: number; bytes: number }> {
  const swept = { files: 0, bytes: 0 };
  const remove = async (path: string) => {
    for (const file of await filesUnder(path)) {
      swept.files += 1;
      swept.bytes += await bytesOf(file);
    }
    if (removes) await removeDirectory(path);
  };
  // directories first: those of images that are made meanwhile are not among them
  const directories = await imageDirectories(store.dir, poolId);
  store.renew();
  const images = new Map(
    allImages(store).map((image) => [imageDirectory(store.dir, image.dataPoolId, image.prefix), image]),
  );
  for (const directory of directories) {
    const image = images.get(directory);
    if (image === undefined) await remove(directory);
    else if (removes) await sweepImage(store, image, directory, remove);
    else if (!isLocked(store, image)) await passUnnamed(store, image, directory, remove);
  }
  return swept;
}

/** The directory of a pool's files that no pool has the id of. */
export interface StrayFiles {
  poolId: number;
  path: string;
  files: number;
  bytes: number;
  /** What a removed pool has left; else the pool is missing. */
  isLeftover: boolean;
}

export async function strayFiles(store: Store): Promise<StrayFiles[]> {
  // directories first: those of pools that are made meanwhile are not among them
  const names = await namesIn(join(store.dir, 'objects'));
  store.renew();
  const images = allImages(store);
  const pools = new Set(poolNames(store).map((name) => poolIdOf(store, name)));
  const ids = names.filter((name) => /^[1-9]\d{0,9}$/.test(name)).map(Number);
  const stray = ids
    .filter((id) => !pools.has(id))
    .map((id) => {
      const range = { start: keyOfPool(id), end: keyOfPool(id + 1) };
      const isNamed = [store.omap, store.content, store.maps, store.objects].some(
        (table) => keysIn(table, { ...range, limit: 1 }).length > 0,
      );
      const isUsed = isNamed || images.some(({ dataPoolId }) => dataPoolId === id);
      return { poolId: id, isLeftover: !isUsed && isGivenPoolId(store, id) };
    });
  return Promise.all(
    stray.map(async (one) => {
      const path = poolDirectory(store.dir, one.poolId);
      const files = await filesUnder(path);
      let bytes = 0;
      for (const file of files) bytes += await bytesOf(file);
      return { ...one, path, files: files.length, bytes };
    }),
  );
}

async function sweepImage(
  store: Store,
  image: ImageRef,
  directory: string,
  remove: (path: string) => Promise<void>,
): Promise<void> {
  let lock: { release(): void };
  try {
    lock = lockImage(store, () => imageById(store, image.poolId, image.namespace, image.id));
  } catch (error) {
    // open, or removed meanwhile with its files
    if (error instanceof RbdeltaError && ['busy', 'notFound'].includes(error.code)) return;
    throw error;
  }
  try {
    await passUnnamed(store, image, directory, remove);
  } finally {
    lock.release();
  }
}

async function passUnnamed(
  store: Store,
  image: ImageRef,
  directory: string,
  action: (path: string) => Promise<void>,
): Promise<void> {
  const files = new ObjectFiles(directory, false);
  const named = new Set<string>();
  for (const [objectNo, object] of new ObjectTable(store, image).range(0, Number.MAX_SAFE_INTEGER)) {
    for (const file of filesOf(object)) named.add(files.path(objectNo, file));
  }
  for (const file of await filesUnder(directory)) if (!named.has(file)) await action(file);
}

/** Those in the trash as well. */
export function allImages(store: Store): ImageRef[] {
  return poolNames(store).flatMap((pool) => {
    const poolId = poolIdOf(store, pool);
    return ['', ...namespaceNames(store, poolId)].flatMap((namespace) =>
      imageIds(store, { poolId, namespace }).map((id) => imageById(store, poolId, namespace, id)),
    );
  });
}

/** Of all images of a namespace, those in the trash as well. */
export const imageIds = (store: Store, space: Space): string[] => [
  ...imageNames(store, space.poolId, space.namespace).flatMap((name) => idOfName(store, space, name) ?? []),
  ...trashRecords(store, space).map(([id]) => id),
];

async function imageDirectories(dir: string, poolId: number | null): Promise<string[]> {
  const root = join(dir, 'objects');
  const pools = poolId === null ? await namesIn(root) : [String(poolId)];
  const images = await Promise.all(
    pools.map(async (pool) => (await namesIn(join(root, pool))).map((n) => join(root, pool, n))),
  );
  return images.flat();
}

/** Of a directory or of a single file. */
async function filesUnder(path: string): Promise<string[]> {
  try {
    const entries = await readdir(path, { withFileTypes: true, recursive: true });
    return entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => join(entry.parentPath ?? dirname(path), entry.name));
  } catch (error) {
    if (isErrno(error, 'ENOTDIR')) return [path];
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  }
}

const namesIn = (path: string): Promise<string[]> =>
  readdir(path).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw error;
  });

/** Where the keys of a pool start, in any table but that of the cluster. */
export function keyOfPool(poolId: number): Buffer {
  const key = Buffer.alloc(4);
  key.writeUInt32BE(poolId, 0);
  return key;
}

/** Namespace and name, which a key of any table starts with: see `objectKey`. */
export function objectOfKey(bytes: Uint8Array): [string, string] {
  const key = Buffer.from(bytes);
  const space = key.indexOf(0, 4);
  return [nameFromBytes(key.subarray(4, space)), nameFromBytes(key.subarray(space + 1, key.indexOf(0, space + 1)))];
}
