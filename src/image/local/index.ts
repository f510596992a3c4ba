// The local pool: a directory that holds what RADOS holds for RBD images. The cluster that needs no cluster.

import { nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { metadataKey, metadataValue } from '../../format/rbd-header.ts';
import type { Cluster, Progress } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { addLock, locksOf, refuseLocked, removeLock } from './advisory-locks.ts';
import { type CheckReport, checkPools, repairPools } from './check.ts';
import { childrenOf } from './clones.ts';
import { cloneImage, createImage, dropImage, removeImage, renameImage } from './create.ts';
import { imageNames } from './directory.ts';
import { imageDirectory, poolDirectory, removeDirectory } from './files.ts';
import { findImage, findSnapshot, headerKey, loadHeader, readOmap } from './header.ts';
import { openImage } from './image.ts';
import { allImages, imageIds, listObjects, type StoredObject, sweep } from './inside.ts';
import { refuseOpen } from './lock.ts';
import {
  addNamespace,
  addPool,
  checkName,
  checkNamespace,
  dropNamespace,
  dropPool,
  namespaceNames,
  poolIdOf,
  poolNames,
} from './pools.ts';
import { poolUsage, type Quota, quotaOf, setQuota } from './quota.ts';
import { initialiseStore, isStore, limits, objectKey, openStore, type Store } from './store.ts';
import { moveToTrash, removeFromTrash, restoreFromTrash, trashedImages } from './trash.ts';
import { openToWrite } from './writable.ts';

/** A cluster in a directory, and what only this adapter can do. */
export interface LocalPool extends Cluster {
  readonly kind: 'local';
  readonly dir: string;
  /** Makes a pool, and the directory a local pool when it is not yet one; throws `exists`. Resolves to the pool's id. */
  createPool(name: string): Promise<number>;
  /** Throws `busy` while the pool has images, unless forced: then they are gone. */
  removePool(name: string, options?: { force?: boolean }): Promise<void>;
  poolId(name: string): Promise<number>;
  quota(pool: string): Promise<Quota>;
  /** What is left out stays as it is. A write past it is refused as `quota`. */
  setQuota(pool: string, quota: Partial<Quota>): Promise<void>;
  /** What `rados ls` would list. */
  objects(pool: string): Promise<StoredObject[]>;
  /** Keys and values of a RADOS object, sorted; empty for one that does not exist. */
  omap(pool: string, namespace: string, object: string): Promise<Map<string, Buffer>>;
  /** Whether one pool, or all (null), are sound; with `repair`, what is not is made so where that loses nothing. */
  check(pool: string | null, options?: { repair?: boolean }): Promise<CheckReport>;
  /** Removes files that crashes left behind and nothing names; images that are open to write are passed over. */
  sweep(): Promise<{ files: number; bytes: number }>;
}

/**
 * Opens the local pool in `dir`. A directory that is absent or empty counts as one without pools, and stays as it is
 * until `createPool`; one with other files is refused as `invalid`, one of a newer version as `unsupported`.
 */
export async function openLocalPool(dir: string): Promise<LocalPool> {
  let store: Store | null = (await isStore(dir)) ? await openStore(dir) : null;
  const need = (): Store => {
    if (store !== null) return store;
    throw new RbdeltaError('notFound', `there is no local pool in ${dir} yet`, { hint: 'rbdelta pool create NAME' });
  };
  return {
    kind: 'local',
    dir,
    open: async (spec) => openImage(need(), spec),
    async openToWrite(spec) {
      if (spec.snap === null) return openToWrite(need(), spec);
      throw new RbdeltaError('invalid', `snapshot '${printable(spec.snap)}' cannot be written: only the head can`);
    },
    create: async (spec, options) => createImage(need(), spec, options),
    remove: async (spec, onProgress) => {
      await removeImage(need(), spec);
      onProgress?.(1, 1);
    },
    forceRemoveSnapshot: (spec, onProgress) => forceRemoveSnapshot(need(), spec, onProgress),
    clone: async (parent, child, options) => cloneImage(need(), parent, child, options),
    async children(spec) {
      const image = findImage(need(), spec);
      const header = loadHeader(need(), image);
      return childrenOf(need(), image, spec.snap === null ? null : findSnapshot(header, image, spec.snap).id);
    },
    rename: async (spec, name) => renameImage(need(), spec, name),
    locks: async (spec) => locksOf(need(), spec),
    addLock: async (spec, id, tag) => addLock(need(), spec, id, tag),
    removeLock: async (spec, id, client) => removeLock(need(), spec, id, client),
    moveToTrash: async (spec, untilMs) => moveToTrash(need(), spec, untilMs),
    async trash(pool, namespace) {
      const poolId = poolIdOf(need(), pool);
      checkNamespace(need(), poolId, namespace);
      return trashedImages(need(), { poolId, namespace });
    },
    restoreFromTrash: async (spec, name) => restoreFromTrash(need(), spec, name),
    async removeFromTrash(spec, force, onProgress) {
      await removeFromTrash(need(), spec, force);
      onProgress?.(1, 1);
    },
    list: async (pool, namespace) => {
      const poolId = poolIdOf(need(), pool);
      checkNamespace(need(), poolId, namespace);
      return imageNames(need(), poolId, namespace);
    },
    metadata: async (spec) => new Map([...loadHeader(need(), findImage(need(), spec)).metadata].sort(byName)),
    async setMetadata(spec, key, value) {
      const bytes = nameToBytes(key).length;
      if (bytes === 0 || bytes > limits.metadataKeyBytes) {
        const message = `a key of image metadata has 1 to ${limits.metadataKeyBytes} bytes, and this one has ${bytes}`;
        throw new RbdeltaError('invalid', message);
      }
      const opened = need();
      opened.transact(() => {
        const image = findImage(opened, spec);
        refuseLocked(opened, image);
        void opened.omap.put(headerKey(image, metadataKey(key)), metadataValue.encode(value));
      });
    },
    async removeMetadata(spec, key) {
      const opened = need();
      opened.transact(() => {
        const image = findImage(opened, spec);
        refuseLocked(opened, image);
        if (!opened.omap.doesExist(headerKey(image, metadataKey(key)))) {
          throw new RbdeltaError('notFound', `image '${printable(image.name)}' has no metadata '${printable(key)}'`);
        }
        void opened.omap.remove(headerKey(image, metadataKey(key)));
      });
    },
    poolUsage: async (pool) => poolUsage(need(), poolIdOf(need(), pool)),
    pools: async () => (store === null ? [] : poolNames(store)),
    async createPool(name) {
      checkName(name, 'pool');
      if (store === null) {
        if (!(await isStore(dir))) await initialiseStore(dir);
        store = await openStore(dir);
      }
      return addPool(store, name);
    },
    removePool: (name, options) => removePool(need(), name, options?.force ?? false),
    poolId: async (name) => poolIdOf(need(), name),
    quota: async (pool) => quotaOf(need(), poolIdOf(need(), pool)),
    setQuota: async (pool, quota) => setQuota(need(), poolIdOf(need(), pool), quota),
    createNamespace: async (pool, namespace) => addNamespace(need(), pool, namespace),
    async removeNamespace(pool, namespace) {
      const opened = need();
      opened.transact(() => {
        const poolId = poolIdOf(opened, pool);
        if (imageIds(opened, { poolId, namespace }).length > 0) {
          throw new RbdeltaError('busy', `namespace '${printable(namespace)}' has images`, {
            hint: 'remove them first, those in its trash as well',
          });
        }
        dropNamespace(opened, poolId, namespace);
      });
    },
    namespaces: async (pool) => namespaceNames(need(), poolIdOf(need(), pool)),
    objects: async (pool) => listObjects(need(), poolIdOf(need(), pool)),
    omap: async (pool, namespace, object) => readOmap(need(), objectKey(poolIdOf(need(), pool), namespace, object)),
    check: (pool, options) => (options?.repair === true ? repairPools(need(), pool) : checkPools(need(), pool)),
    sweep: () => sweep(need()),
    async close() {
      await store?.close();
      store = null;
    },
  };
}

/** The clones of the snapshot get its data first. */
async function forceRemoveSnapshot(store: Store, spec: ImageSpec, onProgress?: Progress): Promise<void> {
  const found = findImage(store, spec);
  const snap = findSnapshot(loadHeader(store, found), found, spec.snap ?? '');
  for (const { pool, namespace, id } of childrenOf(store, found, snap.id)) {
    const child = await openToWrite(store, { pool, namespace, image: '', id, snap: null });
    try {
      await child.flatten();
    } finally {
      await child.close();
    }
  }
  const image = await openToWrite(store, { ...spec, snap: null });
  try {
    if (snap.protection === 'protected') await image.unprotectSnapshot(snap.name);
    await image.removeSnapshot(snap.name, onProgress);
  } finally {
    await image.close();
  }
}

async function removePool(store: Store, name: string, force: boolean): Promise<void> {
  const { poolId, images } = store.transact(() => {
    const poolId = poolIdOf(store, name);
    const found = allImages(store).filter((image) => image.poolId === poolId || image.dataPoolId === poolId);
    if (found.length > 0 && !force) {
      const message = `pool '${printable(name)}' has or holds the data of ${found.length} images`;
      throw new RbdeltaError('notEmpty', message, { hint: 'remove them first' });
    }
    for (const image of found) refuseOpen(store, image);
    for (const image of found) dropImage(store, image);
    dropPool(store, name);
    return { poolId, images: found };
  }, 'frees');
  for (const image of images) await removeDirectory(imageDirectory(store.dir, image.dataPoolId, image.prefix));
  await removeDirectory(poolDirectory(store.dir, poolId));
}

const byName = ([a]: [string, string], [b]: [string, string]): number => (a < b ? -1 : a > b ? 1 : 0);
