// A Ceph cluster behind the port: opens images, makes and removes them, lists them.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { feature } from '../../format/rbd-header.ts';
import type {
  Child,
  CloneOptions,
  Cluster,
  ClusterImage,
  CreateOptions,
  DeepCopyOptions,
  Image,
  ImageLocks,
  PoolUsage,
  Progress,
  StoredObject,
  TrashedImage,
} from '../port.ts';
import { formatSpec, type ImageSpec } from '../spec.ts';
import {
  createImage,
  forceRemoveSnapshot,
  listImages,
  listPools,
  readMetadata,
  removeImage,
  removeMetadata,
  writeMetadata,
} from './admin.ts';
import { cloneImage, deepCopy, listChildren } from './clones.ts';
import { type Connection, cName } from './connection.ts';
import { type CephFacts, readFacts } from './facts.ts';
import { readInfo } from './header.ts';
import { adopt, CephImage, find, noSnapshot, openHead, openPointer } from './image.ts';
import { listObjects } from './inside.ts';
import { refuseLocked } from './locked.ts';
import { addLock, listLocks, removeLock } from './locks.ts';
import { readPoolUsage } from './monitor.ts';
import { createNamespace, listNamespaces, removeNamespace } from './namespaces.ts';
import { readOmap } from './objects.ts';
import { listTrash, moveToTrash, removeFromTrash, renameImage, restoreFromTrash } from './trash.ts';
import { CephWritableImage, notPrimary } from './writable.ts';

export class CephCluster implements Cluster {
  readonly kind = 'ceph' as const;
  readonly #connection: Connection;
  readonly #open = new Set<CephImage>();
  #closed: Promise<void> | undefined;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Takes no lock and leaves no trace: read-only, at the snapshot if one is named. */
  async open(spec: ImageSpec): Promise<Image> {
    const connection = this.#connection;
    const label = printable(formatSpec(spec));
    const location = await find(connection, spec);
    let snapId: number | null = null;
    if (spec.snap !== null) {
      const { snapshots } = await readInfo(connection, location, null);
      const snapshot = snapshots.find(({ name, namespace }) => name === spec.snap && namespace === 'user');
      if (!snapshot) throw noSnapshot(spec.snap, printable(formatSpec({ ...spec, snap: null })), snapshots);
      snapId = snapshot.id;
    }
    const snap = spec.snap === null ? null : cName(spec.snap, 'snapshot');
    const pointer =
      location.format === 1
        ? await openPointer(
            connection,
            label,
            'rbd_open_read_only',
            location.io.pointer,
            cName(spec.image, 'image'),
            snap,
          )
        : await openPointer(
            connection,
            label,
            'rbd_open_by_id_read_only',
            location.io.pointer,
            cName(location.id, 'id'),
            snap,
          );
    const siblings = this.#open;
    return await adopt(
      connection,
      pointer,
      () => new CephImage({ connection, location, snapId, pointer, label, siblings }),
    );
  }

  async openToWrite(spec: ImageSpec): Promise<ClusterImage> {
    if (spec.snap !== null) {
      throw new RbdeltaError('invalid', `a snapshot cannot be written: ${printable(formatSpec(spec))}`);
    }
    const connection = this.#connection;
    const label = printable(formatSpec(spec));
    const location = await find(connection, spec);
    const { features } = await readInfo(connection, location, null);
    if (features & feature.nonPrimary) throw notPrimary(label);
    await refuseLocked(connection, location, label);
    const pointer = await openHead(connection, location, label);
    const siblings = this.#open;
    return await adopt(
      connection,
      pointer,
      () => new CephWritableImage({ connection, location, snapId: null, pointer, label, siblings }),
    );
  }

  create(spec: ImageSpec, options: CreateOptions): Promise<void> {
    return createImage(this.#connection, spec, options);
  }

  remove(spec: ImageSpec, onProgress?: Progress): Promise<void> {
    return removeImage(this.#connection, spec, onProgress);
  }

  forceRemoveSnapshot(spec: ImageSpec, onProgress?: Progress): Promise<void> {
    return forceRemoveSnapshot(this.#connection, spec, onProgress);
  }

  list(pool: string, namespace: string): Promise<string[]> {
    return listImages(this.#connection, pool, namespace);
  }

  metadata(spec: ImageSpec): Promise<Map<string, string>> {
    return readMetadata(this.#connection, spec);
  }

  setMetadata(spec: ImageSpec, key: string, value: string): Promise<void> {
    return writeMetadata(this.#connection, spec, key, value);
  }

  removeMetadata(spec: ImageSpec, key: string): Promise<void> {
    return removeMetadata(this.#connection, spec, key);
  }

  clone(parent: ImageSpec, child: ImageSpec, options: CloneOptions): Promise<void> {
    return cloneImage(this.#connection, parent, child, options);
  }

  deepCopy(spec: ImageSpec, copy: ImageSpec, options: DeepCopyOptions, onProgress?: Progress): Promise<void> {
    return deepCopy(this.#connection, spec, copy, options, onProgress);
  }

  children(spec: ImageSpec): Promise<Child[]> {
    return listChildren(this.#connection, spec);
  }

  rename(spec: ImageSpec, name: string): Promise<void> {
    return renameImage(this.#connection, spec, name);
  }

  moveToTrash(spec: ImageSpec, protectedUntilMs: number | null): Promise<void> {
    return moveToTrash(this.#connection, spec, protectedUntilMs);
  }

  locks(spec: ImageSpec): Promise<ImageLocks> {
    return listLocks(this.#connection, spec);
  }

  addLock(spec: ImageSpec, id: string, tag: string | null): Promise<void> {
    return addLock(this.#connection, spec, id, tag);
  }

  removeLock(spec: ImageSpec, id: string, client: string): Promise<void> {
    return removeLock(this.#connection, spec, id, client);
  }

  trash(pool: string, namespace: string): Promise<TrashedImage[]> {
    return listTrash(this.#connection, pool, namespace);
  }

  restoreFromTrash(spec: ImageSpec, name: string | null): Promise<void> {
    return restoreFromTrash(this.#connection, spec, name);
  }

  removeFromTrash(spec: ImageSpec, force: boolean, onProgress?: Progress): Promise<void> {
    return removeFromTrash(this.#connection, spec, force, onProgress);
  }

  namespaces(pool: string): Promise<string[]> {
    return listNamespaces(this.#connection, pool);
  }

  createNamespace(pool: string, namespace: string): Promise<void> {
    return createNamespace(this.#connection, pool, namespace);
  }

  removeNamespace(pool: string, namespace: string): Promise<void> {
    return removeNamespace(this.#connection, pool, namespace);
  }

  async pools(): Promise<string[]> {
    return listPools(this.#connection);
  }

  poolUsage(pool: string): Promise<PoolUsage> {
    return readPoolUsage(this.#connection, pool);
  }

  objects(pool: string): Promise<StoredObject[]> {
    return listObjects(this.#connection, pool);
  }

  async omap(pool: string, namespace: string, object: string): Promise<Map<string, Buffer>> {
    const io = await this.#connection.io(pool, namespace);
    return (await readOmap(this.#connection, io, object)) ?? new Map<string, Buffer>();
  }

  /** The pool of a spec that names none (`rbd_default_pool`). */
  get defaultPool(): string {
    return this.#connection.setting('rbd_default_pool') || 'rbd';
  }

  /** What there is to say about this cluster and who talks to it: for `rbdelta doctor`. */
  facts(): Promise<CephFacts> {
    return readFacts(this.#connection);
  }

  /** Closes what is still open, too. */
  close(): Promise<void> {
    this.#closed ??= (async () => {
      await Promise.allSettled([...this.#open].map((image) => image.close()));
      await this.#connection.close();
    })();
    return this.#closed;
  }
}
