// The structures of an RBD header: snapshots, parents, children, of every version. Spec: formats/rbd-header/spec.md

import { type Codec, codec, type StructReader, type StructWriter, type Utime } from './struct.ts';

/** Which snapshot of which image a clone was made from. Ids, not names. */
export interface ParentSpec {
  pool: number;
  /** '' is the default namespace. */
  namespace: string;
  imageId: string;
  snapId: number;
}

/** The value of `parent`. `overlap` null: the head was flattened, but snapshots still see the parent. */
export interface Parent extends ParentSpec {
  overlap: number | null;
}

/** Who a snapshot belongs to. */
export type SnapshotNamespace =
  | { type: 'user' }
  | { type: 'group'; pool: number; groupId: string; groupSnapId: string }
  | { type: 'trash'; originalName: string; originalType: number }
  | {
      type: 'mirror';
      state: number;
      complete: boolean;
      peerUuids: string[];
      primaryUuid: string;
      /** Of a copy: the snapshot on the primary; of a primary: since when it is clean. null: none. */
      primarySnapId: number | null;
      lastCopiedObject: number;
      snapSeqs: [number, number][];
    }
  | { type: 'unknown'; number: number; body: Uint8Array };

export interface SnapshotRecord {
  id: number;
  name: string;
  size: number;
  protection: 'unprotected' | 'unprotecting' | 'protected';
  /** Bits of `flag`. */
  flags: number;
  namespace: SnapshotNamespace;
  /** null in records of versions that did not keep it (before 6). */
  created: Utime | null;
  /** Clones (of either version) that were counted on the snapshot itself; only v2 clones are. */
  childCount: number;
  /** How much of the parent the snapshot sees; null without a parent. */
  parentOverlap: number | null;
  /** The parent as records with a compat below 8 keep it; null in later ones, where the header has one `parent` for all. */
  parent: Parent | null;
}

/** An image that was cloned (v2) from a snapshot of this one. */
export interface ChildSpec {
  pool: number;
  imageId: string;
  namespace: string;
}

const protections = ['unprotected', 'unprotecting', 'protected'] as const;
const namespaceTypes = { user: 0, group: 1, trash: 2, mirror: 3 } as const;

/**
 * The value of `parent`, version 2 and version 1 (before Nautilus); written as version 2. In version 1 a parent in
 * pool -1 stands for none; such a value decodes to null, which cannot be written.
 */
export const parentValue: Codec<Parent | null> = codec(
  'the parent of the image',
  (from) => from.struct(2, (inner, version) => (version < 2 ? readParent1(inner) : readParent2(inner))),
  (to, parent) => {
    if (parent === null) throw new RangeError('no parent is written by leaving the value out');
    to.struct(2, 2, (inner) => {
      inner.i64(parent.pool).string(parent.namespace).string(parent.imageId).u64(parent.snapId);
      inner.optional(parent.overlap, (overlap) => inner.u64(overlap));
    });
  },
);

const readParent2 = (from: StructReader): Parent => ({
  pool: from.i64(),
  namespace: from.string(),
  imageId: from.string(),
  snapId: from.u64(),
  overlap: from.optional(() => from.u64()),
});

const readParent1 = (from: StructReader): Parent | null => {
  const pool = from.i64();
  const imageId = from.string();
  const snapId = from.snapId();
  const overlap = from.u64();
  return pool === -1 || snapId === null ? null : { pool, namespace: '', imageId, snapId, overlap };
};

/**
 * The value of `snapshot_<id>`: written as version 8, read as any. The layout follows compat, not version: below 8 a
 * field that is no longer used and a parent come before the protection.
 */
export const snapshotValue: Codec<SnapshotRecord> = codec(
  'the record of a snapshot',
  (from) =>
    from.struct(8, (inner, version, compat) => {
      const id = inner.u64();
      const name = inner.string();
      const size = inner.u64();
      let parent: Parent | null = null;
      if (compat < 8) {
        inner.u64();
        if (version >= 2) parent = inner.struct(1, readParent1);
      }
      return {
        id,
        name,
        size,
        protection: version >= 3 ? readProtection(inner) : 'unprotected',
        flags: version >= 4 ? inner.u64() : 0,
        namespace: version >= 5 ? readNamespace(inner) : { type: 'user' },
        created: version >= 6 ? inner.utime() : null,
        childCount: version >= 7 ? inner.u32() : 0,
        parentOverlap: version >= 8 ? inner.optional(() => inner.u64()) : (parent?.overlap ?? null),
        parent,
      };
    }),
  (to, snapshot) => {
    to.struct(8, 8, (inner) => {
      inner.u64(snapshot.id).string(snapshot.name).u64(snapshot.size);
      inner.u8(protections.indexOf(snapshot.protection)).u64(snapshot.flags);
      writeNamespace(inner, snapshot.namespace);
      inner.utime(snapshot.created ?? { seconds: 0, nanoseconds: 0 }).u32(snapshot.childCount);
      inner.optional(snapshot.parentOverlap, (overlap) => inner.u64(overlap));
    });
  },
);

const readProtection = (from: StructReader): SnapshotRecord['protection'] => {
  const at = from.position;
  const value = from.u8();
  const protection = protections[value];
  if (protection === undefined) throw from.damaged(`the protection at byte ${at} is ${value}; 2 is the most`);
  return protection;
};

const readNamespace = (from: StructReader): SnapshotNamespace =>
  from.struct(1, (inner) => {
    const type = inner.u32();
    switch (type) {
      case namespaceTypes.user:
        return { type: 'user' };
      case namespaceTypes.group:
        return { type: 'group', pool: inner.i64(), groupId: inner.string(), groupSnapId: inner.string() };
      case namespaceTypes.trash:
        return { type: 'trash', originalName: inner.string(), originalType: inner.u32() };
      case namespaceTypes.mirror:
        return {
          type: 'mirror',
          state: inner.u8(),
          complete: inner.bool(),
          peerUuids: inner.list(4, () => inner.string()),
          primaryUuid: inner.string(),
          primarySnapId: inner.snapId(),
          lastCopiedObject: inner.u64(),
          snapSeqs: inner.list(16, () => [inner.u64(), inner.u64()]),
        };
      default:
        return { type: 'unknown', number: type, body: inner.rest() };
    }
  });

const writeNamespace = (to: StructWriter, owner: SnapshotNamespace): void => {
  to.struct(1, 1, (inner) => {
    switch (owner.type) {
      case 'user':
        inner.u32(namespaceTypes.user);
        return;
      case 'group':
        inner.u32(namespaceTypes.group).i64(owner.pool).string(owner.groupId).string(owner.groupSnapId);
        return;
      case 'trash':
        inner.u32(namespaceTypes.trash).string(owner.originalName).u32(owner.originalType);
        return;
      case 'mirror':
        inner.u32(namespaceTypes.mirror).u8(owner.state).bool(owner.complete);
        inner.list(owner.peerUuids, (uuid) => inner.string(uuid));
        inner.string(owner.primaryUuid).snapId(owner.primarySnapId).u64(owner.lastCopiedObject);
        inner.list(owner.snapSeqs, ([theirs, ours]) => inner.u64(theirs).u64(ours));
        return;
      case 'unknown':
        inner.u32(owner.number).raw(owner.body);
        return;
      default:
        owner satisfies never;
    }
  });
};

/** The value of `snap_children_<id>`: the v2 clones of a snapshot, sorted by pool, namespace, id. */
export const snapChildrenValue: Codec<ChildSpec[]> = codec(
  'the list of clones of a snapshot',
  (from) =>
    from.list(6 + 16, () =>
      from.struct(2, (inner) => ({ pool: inner.i64(), imageId: inner.string(), namespace: inner.string() })),
    ),
  (to, children) => {
    to.list(children, (child) =>
      to.struct(2, 1, (inner) => inner.i64(child.pool).string(child.imageId).string(child.namespace)),
    );
  },
);
