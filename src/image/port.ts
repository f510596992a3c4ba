// The port to images: what a cluster promises to the rest of rbdelta. Adapters: local/, ceph/, file.ts

import type { Extent } from '../diff/extent.ts';
import type { ImageSpec } from './spec.ts';

/** A snapshot as the image's header records it. Ids rise in time, with gaps; names are unique among `user` ones. */
export interface Snapshot {
  id: number;
  name: string;
  size: number;
  protection: 'unprotected' | 'unprotecting' | 'protected';
  /** Bits of formats/rbd-header: 1 object map invalid, 2 fast-diff invalid. */
  flags: number;
  namespace: 'user' | 'group' | 'trash' | 'mirror' | 'unknown';
  /** What one in the trash was called. */
  originalName?: string;
  /** ms since the epoch; null where the header does not tell (old images). */
  createdMs: number | null;
  /** How many bytes of the parent this snapshot still sees; null without a parent. */
  parentOverlap: number | null;
}

/** The geometry and metadata of one opened version of an image. `size`, `flags`, `parent` are those of that version. */
export interface ImageInfo {
  id: string;
  name: string;
  pool: string;
  namespace: string;
  format: 1 | 2;
  size: number;
  order: number;
  stripeUnit: number;
  stripeCount: number;
  /** Feature bits of formats/rbd-header. */
  features: number;
  opFeatures: number;
  flags: number;
  /** Prefix of data objects, as `rbd_data.<id>`. */
  objectPrefix: string;
  dataPool: string | null;
  createdMs: number | null;
  modifiedMs: number | null;
  accessedMs: number | null;
  parent: {
    pool: string;
    namespace: string;
    image: string;
    imageId: string;
    snap: string;
    snapId: number;
    overlap: number;
    /** The parent is in the trash by now, which tells its name as well. Absent: it is not. */
    inTrash?: true;
  } | null;
  /** How many snapshots there may be; null: any number. */
  snapshotLimit: number | null;
  /** All snapshots of the image, of every namespace, by rising id. */
  snapshots: Snapshot[];
  /** The snapshot that was opened; null is the head. */
  snapshot: Snapshot | null;
}

/** One version (head or snapshot) of an image, opened to read. */
export interface Image {
  /** Which adapter this is: a message may name it, no logic may ask for it. */
  readonly kind: 'ceph' | 'local' | 'file';
  /** As of now: re-reads what can change (snapshots may come and go, the head may be resized). */
  info(): Promise<ImageInfo>;
  /**
   * The bytes of an object-map object (formats/object-map), as stored and not yet checked: of the head (`null`) or of
   * the snapshot with this id. Resolves to null where there is none.
   */
  objectMap(snapId: number | null): Promise<Uint8Array | null>;
  /**
   * Exact extents, in bytes, that differ between the snapshot `fromSnap` (a name; null is the beginning of time, where
   * a parent's data counts as well) and this version, inside `range`. Costs time for every object of `range`: ask only
   * about objects that may have changed. `emit` is called in rising order and must not throw; `exists` false means
   * that the extent reads as zeros (of a clone: as zeros or as the parent). Calls may overlap. With `ownOnly`, what a
   * parent has never counts.
   */
  changedExtents(
    fromSnap: string | null,
    range: Extent,
    emit: (offset: number, length: number, exists: boolean) => void,
    ownOnly?: boolean,
  ): Promise<void>;
  /** Fills `into` from `offset`; the whole of it lies inside the image. Many may be under way at once. */
  read(offset: number, into: Uint8Array): Promise<void>;
  /** Who holds the image, as `rbd lock ls` knows it; null for nobody. Absent: it cannot be locked (a file). */
  lock?(): Promise<'exclusive' | 'shared' | null>;
  /** Who has the image open, as `rbd status` knows it. Absent: nobody can tell (a file). */
  watchers?(): Promise<Watcher[]>;
  /** The parent, opened at the snapshot that this version was cloned from; null without one. The caller closes it. */
  parent(): Promise<Image | null>;
  close(): Promise<void>;
}

/** Locks that clients took on an image, all of one kind. */
export interface ImageLocks {
  exclusive: boolean;
  /** What those that share it agree on; '' for an exclusive one. */
  tag: string;
  /** `client` as client.4123. */
  lockers: { client: string; id: string; address: string }[];
}

/** A client that has an image open. */
export interface Watcher {
  address: string;
  client: number;
  cookie: number;
}

/** The head of an image, opened to write. */
export interface WritableImage extends Image {
  /** `false` where there can be no snapshots (a file): an import then makes none. Absent: there can. */
  readonly hasSnapshots?: false;
  /**
   * From here until it is closed nobody else writes it; `busy` where somebody does that will not let go. Absent: that
   * was so when it was opened, or nothing can be done about it (a file).
   */
  claim?(): Promise<void>;
  /** Writes `data` at `offset`. Many may be under way at once, then in no order; `data` may be reused afterwards. */
  write(offset: number, data: Uint8Array): Promise<void>;
  /** Makes the range read as zeros, freeing space where whole objects are covered; exact to the byte. */
  writeZeroes(offset: number, length: number): Promise<void>;
  /** When it resolves, every write that was acknowledged survives a crash. */
  flush(): Promise<void>;
  /** Grows with holes, or cuts. */
  resize(size: number, onProgress?: Progress): Promise<void>;
  createSnapshot(name: string): Promise<void>;
  removeSnapshot(name: string, onProgress?: Progress): Promise<void>;
  protectSnapshot(name: string): Promise<void>;
  unprotectSnapshot(name: string): Promise<void>;
  /** Makes the head equal to the snapshot, its size too. */
  rollback(name: string, onProgress?: Progress): Promise<void>;
}

/** The head of an image of a cluster, opened to write: what is more than a file. */
export interface ClusterImage extends WritableImage {
  renameSnapshot(name: string, to: string): Promise<void>;
  /** How many snapshots there may be; null: any number. `invalid` when there are more already. */
  limitSnapshots(most: number | null): Promise<void>;
  /** Copies what shows through from the parent and leaves it; `invalid` without a parent. */
  flatten(onProgress?: Progress): Promise<void>;
  /**
   * How many objects the map of the head (null) or of a snapshot is wrong about; it is flagged invalid when there are
   * any. `invalid` without the feature.
   */
  checkObjectMap(snap: string | null, onProgress?: Progress): Promise<number>;
  /** Makes the map anew from the objects, and trusts it again. */
  rebuildObjectMap(snap: string | null, onProgress?: Progress): Promise<void>;
}

/** Steps done of steps in all. */
export type Progress = (done: number, total: number) => void;

/** What a new image may be told. Absent: the cluster's defaults (order 22, features 0x3d, no striping). */
export interface CreateOptions {
  size: number;
  order?: number;
  features?: number;
  stripeUnit?: number;
  stripeCount?: number;
  dataPool?: string;
  /** Mirrored from the beginning (Ceph only). */
  mirrorMode?: 'journal' | 'snapshot';
  /** Where the journal goes that the feature `journaling` (Ceph only) makes; says nothing without that feature. */
  journal?: { order?: number; splayWidth?: number; pool?: string };
}

/** What a clone may be told besides; absent: as its parent (order, features), or the cluster's defaults. */
export interface CloneOptions extends Omit<CreateOptions, 'size'> {
  /** 1: of a protected snapshot only, which stays so; 2: of any, which then outlives its removal in the trash. */
  cloneFormat?: 1 | 2;
}

/** What a deep copy may be told; absent: as its source. */
export interface DeepCopyOptions extends CloneOptions {
  /** The copy of a clone has no parent. */
  flatten: boolean;
}

/** A clone, as its parent's list of children has it. */
export interface Child {
  pool: string;
  namespace: string;
  image: string;
  id: string;
  inTrash: boolean;
}

/** An image in the trash. */
export interface TrashedImage {
  id: string;
  name: string;
  source: string;
  deletedMs: number;
  /** Until then it is only removed by force. */
  protectedUntilMs: number;
}

/** How full a pool is: what is in it, as far as it can be told, and all that it could hold. */
export interface PoolUsage {
  usedBytes: number;
  totalBytes: number;
}

/** A RADOS object, as `rados ls` and `rados stat` tell it. */
export interface StoredObject {
  namespace: string;
  name: string;
  /** Bytes of its data; 0 for one that has only keys and values. */
  bytes: number;
}

/** Where images live. */
export interface Cluster {
  readonly kind: 'ceph' | 'local';
  /** Opens the head, or the snapshot that the spec names. */
  open(spec: ImageSpec): Promise<Image>;
  /** Opens the head; `spec.snap` must be null. */
  openToWrite(spec: ImageSpec): Promise<ClusterImage>;
  create(spec: ImageSpec, options: CreateOptions): Promise<void>;
  remove(spec: ImageSpec, onProgress?: Progress): Promise<void>;
  /** Removes the snapshot that the spec names whatever stands in its way: flattens its clones, takes its protection. */
  forceRemoveSnapshot(spec: ImageSpec, onProgress?: Progress): Promise<void>;
  /** Names of the images in a pool (default namespace: ''), sorted. */
  list(pool: string, namespace: string): Promise<string[]>;
  /** Image metadata (`rbd image-meta`), keys sorted. */
  metadata(spec: ImageSpec): Promise<Map<string, string>>;
  setMetadata(spec: ImageSpec, key: string, value: string): Promise<void>;
  /** `notFound` where there is no such key. */
  removeMetadata(spec: ImageSpec, key: string): Promise<void>;
  /** A new image that shows the snapshot which `parent` names. `invalid` where format 1 finds it not protected. */
  clone(parent: ImageSpec, child: ImageSpec, options: CloneOptions): Promise<void>;
  /**
   * A new image `copy` with the data, the metadata, the parent and the snapshots of another one, up to the version that
   * `spec` names. Leaves a part of it when it fails. Absent: it has to be put together from all of the others.
   */
  deepCopy?(spec: ImageSpec, copy: ImageSpec, options: DeepCopyOptions, onProgress?: Progress): Promise<void>;
  /** Clones of the snapshot, or of all snapshots of the image, sorted; those in the trash as well. */
  children(spec: ImageSpec): Promise<Child[]>;
  /** Another name in the same pool and namespace. */
  rename(spec: ImageSpec, name: string): Promise<void>;
  /** Takes the image's name away and keeps the rest, for `protectedUntilMs` at least. */
  moveToTrash(spec: ImageSpec, protectedUntilMs: number | null): Promise<void>;
  /** Locks that clients took (`rbd lock`), or that who writes has. */
  locks(spec: ImageSpec): Promise<ImageLocks>;
  /**
   * Takes a lock for this client, who need not stay; shared with others of the same tag, unless that is null. `busy` while
   * another one is in the way. An image with the feature exclusive-lock is not written while there is one (`readOnly`).
   */
  addLock(spec: ImageSpec, id: string, tag: string | null): Promise<void>;
  /** Takes the lock off, whoever holds it. */
  removeLock(spec: ImageSpec, id: string, client: string): Promise<void>;
  /** By rising id. */
  trash(pool: string, namespace: string): Promise<TrashedImage[]>;
  /** `spec.id` names it; `name` null: as it was called. */
  restoreFromTrash(spec: ImageSpec, name: string | null): Promise<void>;
  /** `permission` while it is protected, unless forced. */
  removeFromTrash(spec: ImageSpec, force: boolean, onProgress?: Progress): Promise<void>;
  /** Names of the namespaces of a pool, sorted, without the default one. */
  namespaces(pool: string): Promise<string[]>;
  createNamespace(pool: string, namespace: string): Promise<void>;
  /** `busy` while it has images. */
  removeNamespace(pool: string, namespace: string): Promise<void>;
  pools(): Promise<string[]>;
  poolUsage(pool: string): Promise<PoolUsage>;
  /** All RADOS objects of a pool, sorted by namespace and name. */
  objects(pool: string): Promise<StoredObject[]>;
  /** Keys and values of a RADOS object, sorted; empty for one that has none. */
  omap(pool: string, namespace: string, object: string): Promise<Map<string, Buffer>>;
  close(): Promise<void>;
}
