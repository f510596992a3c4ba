// The omap of `rbd_header.<id>`: all that an image of format 2 knows about itself. Spec: formats/rbd-header/spec.md

import { nameFromBytes, nameToBytes } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { type GroupRef, groupRefValue, hex16 } from './rbd-directory.ts';
import {
  type ChildSpec,
  type Parent,
  parentValue,
  type SnapshotRecord,
  snapChildrenValue,
  snapshotValue,
} from './rbd-snapshot.ts';
import { type Codec, codec, type Utime } from './struct.ts';

export * from './rbd-directory.ts';
export * from './rbd-features.ts';
export * from './rbd-header-v1.ts';
export * from './rbd-lock.ts';
export * from './rbd-snapshot.ts';
export { type Codec, type Utime, utimeFromMs, utimeToMs } from './struct.ts';

/** A header as a whole. Numbers of bytes, unless it says otherwise. */
export interface RbdHeader {
  /** Of the head. */
  size: number;
  /** Objects have 2^order bytes. */
  order: number;
  /** Bits of `feature`. */
  features: number;
  objectPrefix: string;
  /** The newest snapshot id that was ever used; 0 for none. */
  snapSeq: number;
  created: Utime | null;
  accessed: Utime | null;
  modified: Utime | null;
  /** Bits of `flag`, of the head. */
  flags: number;
  /** Bytes; the object size when the image is not striped. */
  stripeUnit: number;
  /** 1 when the image is not striped. */
  stripeCount: number;
  /** Number of the pool with the data; null: the pool of the header. */
  dataPoolId: number | null;
  /** Bits of `opFeature`. */
  opFeatures: number;
  parent: Parent | null;
  /** By rising id, of every namespace. */
  snapshots: SnapshotRecord[];
  /** v2 clones by snapshot id. */
  snapChildren: Map<number, ChildSpec[]>;
  /** What `rbd image-meta` shows (and `conf_` settings). Values may be any bytes; names: src/bytes/text.ts */
  metadata: Map<string, string>;
  group: GroupRef | null;
  snapLimit: number | null;
  /** The value of `migration`, as it is: the image is being migrated. */
  migration: Uint8Array | null;
}

const u8 = (what: string): Codec<number> =>
  codec(
    what,
    (from) => from.u8(),
    (to, value) => to.u8(value),
  );
const u64 = (what: string): Codec<number> =>
  codec(
    what,
    (from) => from.u64(),
    (to, value) => to.u64(value),
  );
const utime = (what: string): Codec<Utime> =>
  codec(
    what,
    (from) => from.utime(),
    (to, value) => to.utime(value),
  );

/** Codecs of the values whose key is fixed, by key. */
export const headerValue = {
  size: u64('the size of the image'),
  order: u8('the order of the image'),
  features: u64('the features of the image'),
  object_prefix: codec<string>(
    'the object prefix of the image',
    (from) => from.string(),
    (to, value) => to.string(value),
  ),
  snap_seq: u64('the snapshot sequence of the image'),
  create_timestamp: utime('the time of creation of the image'),
  access_timestamp: utime('the time of access of the image'),
  modify_timestamp: utime('the time of modification of the image'),
  flags: u64('the flags of the image'),
  stripe_unit: u64('the stripe unit of the image'),
  stripe_count: u64('the stripe count of the image'),
  data_pool_id: codec<number>(
    'the data pool of the image',
    (from) => from.i64(),
    (to, value) => to.i64(value),
  ),
  op_features: u64('the operation features of the image'),
  parent: parentValue,
  rbd_group_ref: groupRefValue,
  snap_limit: u64('the snapshot limit of the image'),
} as const;

/** Keys that have something behind the prefix. */
export const snapshotKey = (snapId: number): string => `snapshot_${hex16(snapId)}`;
export const snapChildrenKey = (snapId: number): string => `snap_children_${hex16(snapId)}`;
export const metadataKey = (key: string): string => `metadata_${key}`;

/** Values of `metadata_` keys are the bytes themselves. */
export const metadataValue: Codec<string> = {
  decode: nameFromBytes,
  encode: nameToBytes,
};

const idPattern = /^(snapshot|snap_children)_([0-9a-f]{16})$/;

/**
 * The header out of all keys and values of the omap. Keys that it does not know are passed over. `corrupt` when one that
 * every image has is missing, or a value is damaged.
 */
export const decodeHeader = (omap: ReadonlyMap<string, Uint8Array>): RbdHeader => {
  const need = <T>(key: string, value: Codec<T>): T => {
    const bytes = omap.get(key);
    if (bytes === undefined) {
      throw new RbdeltaError('corrupt', `the header of the image is damaged: it has no ${key}`);
    }
    return value.decode(bytes);
  };
  const maybe = <T>(key: string, value: Codec<T>): T | null => {
    const bytes = omap.get(key);
    return bytes === undefined ? null : value.decode(bytes);
  };
  const order = need('order', headerValue.order);
  if (order > 62) throw new RbdeltaError('corrupt', `the header of the image is damaged: its order is ${order}`);
  const header: RbdHeader = {
    size: need('size', headerValue.size),
    order,
    features: need('features', headerValue.features),
    objectPrefix: need('object_prefix', headerValue.object_prefix),
    snapSeq: need('snap_seq', headerValue.snap_seq),
    created: maybe('create_timestamp', headerValue.create_timestamp),
    accessed: maybe('access_timestamp', headerValue.access_timestamp),
    modified: maybe('modify_timestamp', headerValue.modify_timestamp),
    flags: maybe('flags', headerValue.flags) ?? 0,
    stripeUnit: maybe('stripe_unit', headerValue.stripe_unit) ?? 2 ** order,
    stripeCount: maybe('stripe_count', headerValue.stripe_count) ?? 1,
    dataPoolId: maybe('data_pool_id', headerValue.data_pool_id),
    opFeatures: maybe('op_features', headerValue.op_features) ?? 0,
    parent: maybe('parent', headerValue.parent),
    snapshots: [],
    snapChildren: new Map(),
    metadata: new Map(),
    group: maybe('rbd_group_ref', headerValue.rbd_group_ref),
    snapLimit: maybe('snap_limit', headerValue.snap_limit),
    migration: omap.get('migration') ?? null,
  };
  for (const [key, bytes] of omap) {
    if (key.startsWith('metadata_')) {
      header.metadata.set(key.slice('metadata_'.length), metadataValue.decode(bytes));
      continue;
    }
    const [, kind, hex] = idPattern.exec(key) ?? [];
    if (kind === 'snapshot') {
      const snapshot = snapshotValue.decode(bytes);
      if (snapshotKey(snapshot.id) !== key) {
        throw new RbdeltaError(
          'corrupt',
          `the header of the image is damaged: ${key} holds the snapshot ${snapshot.id}`,
        );
      }
      header.snapshots.push(snapshot);
    } else if (kind === 'snap_children') {
      header.snapChildren.set(Number.parseInt(hex ?? '', 16), snapChildrenValue.decode(bytes));
    }
  }
  header.snapshots.sort((a, b) => a.id - b.id);
  return header;
};

/**
 * The keys and values that RBD would keep for the header; what is at its default (no flags, no striping, …) has no key.
 * The opposite of `decodeHeader`, except for keys that it passed over.
 */
export const encodeHeader = (header: RbdHeader): Map<string, Buffer> => {
  const omap = new Map<string, Buffer>();
  const put = <T>(key: string, value: Codec<T>, of: T | null) => {
    if (of !== null) omap.set(key, value.encode(of));
  };
  put('size', headerValue.size, header.size);
  put('order', headerValue.order, header.order);
  put('features', headerValue.features, header.features);
  put('object_prefix', headerValue.object_prefix, header.objectPrefix);
  put('snap_seq', headerValue.snap_seq, header.snapSeq);
  put('create_timestamp', headerValue.create_timestamp, header.created);
  put('access_timestamp', headerValue.access_timestamp, header.accessed);
  put('modify_timestamp', headerValue.modify_timestamp, header.modified);
  put('flags', headerValue.flags, header.flags || null);
  if (header.stripeCount !== 1 || header.stripeUnit !== 2 ** header.order) {
    put('stripe_unit', headerValue.stripe_unit, header.stripeUnit);
    put('stripe_count', headerValue.stripe_count, header.stripeCount);
  }
  put('data_pool_id', headerValue.data_pool_id, header.dataPoolId);
  put('op_features', headerValue.op_features, header.opFeatures || null);
  put('parent', headerValue.parent, header.parent);
  put('rbd_group_ref', headerValue.rbd_group_ref, header.group);
  put('snap_limit', headerValue.snap_limit, header.snapLimit);
  for (const snapshot of header.snapshots) put(snapshotKey(snapshot.id), snapshotValue, snapshot);
  for (const [snapId, children] of header.snapChildren) put(snapChildrenKey(snapId), snapChildrenValue, children);
  for (const [key, value] of header.metadata) put(metadataKey(key), metadataValue, value);
  if (header.migration !== null) omap.set('migration', Buffer.from(header.migration));
  return omap;
};
