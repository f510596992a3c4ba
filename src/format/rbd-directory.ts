// What a pool keeps about its images outside of their headers: directory, ids, clones, trash, groups. Spec: formats/rbd-header/spec.md

import type { ParentSpec } from './rbd-snapshot.ts';
import { type Codec, codec, type Utime } from './struct.ts';

/** Objects with one name in every pool (and namespace). */
export const poolObject = {
  /** omap: `name_<image>` to id, `id_<id>` to name. */
  directory: 'rbd_directory',
  /** omap: v1 clones by parent. */
  children: 'rbd_children',
  /** omap: `id_<id>` to trash record. */
  trash: 'rbd_trash',
  groupDirectory: 'rbd_group_directory',
  info: 'rbd_info',
} as const;

/** The object that holds, as its data, the id of the image with this name (`idData`). */
export const idObjectName = (imageName: string): string => `rbd_id.${imageName}`;
export const headerObjectName = (imageId: string): string => `rbd_header.${imageId}`;
/** The header object of a format 1 image. */
export const headerV1ObjectName = (imageName: string): string => `${imageName}.rbd`;

/** The object map of the head (null) or of a snapshot. */
export const objectMapName = (imageId: string, snapId: number | null): string =>
  `rbd_object_map.${imageId}${snapId === null ? '' : `.${hex16(snapId)}`}`;

/** The object with the `index`th data of an image; `prefix` is the header's `object_prefix`. */
export const dataObjectName = (prefix: string, index: number): string => `${prefix}.${hex16(index)}`;
/** The same for format 1, whose prefix is the block name. */
export const dataObjectNameV1 = (blockName: string, index: number): string =>
  `${blockName}.${index.toString(16).padStart(12, '0')}`;

/** `object_prefix` of a new image: with a data pool it also has the number of the pool that the header is in. */
export const objectPrefixOf = (imageId: string, headerPool: number | null): string =>
  headerPool === null ? `rbd_data.${imageId}` : `rbd_data.${headerPool}.${imageId}`;

export const hex16 = (value: number): string => value.toString(16).padStart(16, '0');

/** Keys of the directory (and, `id_` only, of the trash). */
export const directoryNameKey = (imageName: string): string => `name_${imageName}`;
export const directoryIdKey = (imageId: string): string => `id_${imageId}`;

/** Which entry a directory key is; null for another key, such as `state`. */
export const parseDirectoryKey = (key: string): { kind: 'name' | 'id'; of: string } | null => {
  if (key.startsWith('name_')) return { kind: 'name', of: key.slice(5) };
  if (key.startsWith('id_')) return { kind: 'id', of: key.slice(3) };
  return null;
};

/** Values of the directory: of `name_` keys an id, of `id_` keys a name. */
export const directoryValue: Codec<string> = codec(
  'the entry of the directory of images',
  (from) => from.string(),
  (to, value) => to.string(value),
);

/** The data of `rbd_id.<name>`. */
export const idData: Codec<string> = codec(
  'the id object of the image',
  (from) => from.string(),
  (to, id) => to.string(id),
);

/** A key of `rbd_children`, which is binary: a parent snapshot (v1 clones know no namespaces). */
export const childrenKey: Codec<Omit<ParentSpec, 'namespace'>> = codec(
  'the key of the list of clones',
  (from) => ({ pool: from.i64(), imageId: from.string(), snapId: from.u64() }),
  (to, parent) => to.i64(parent.pool).string(parent.imageId).u64(parent.snapId),
);

/** A value of `rbd_children`: ids of clones in this pool, sorted. */
export const childrenValue: Codec<string[]> = codec(
  'the list of clones',
  (from) => from.list(4, () => from.string()),
  (to, ids) => to.list(ids, (id) => to.string(id)),
);

/** An image in the trash. */
export interface TrashRecord {
  source: 'user' | 'mirroring' | 'migration' | 'removing' | 'user-parent' | number;
  name: string;
  deleted: Utime;
  /** Until then it cannot be purged by chance. */
  deferredUntil: Utime;
  state: number;
}

const trashSources = ['user', 'mirroring', 'migration', 'removing', 'user-parent'] as const;

/** A value of `rbd_trash`. */
export const trashValue: Codec<TrashRecord> = codec(
  'the record of an image in the trash',
  (from) =>
    from.struct(2, (inner, version) => {
      const source = inner.u8();
      return {
        source: trashSources[source] ?? source,
        name: inner.string(),
        deleted: inner.utime(),
        deferredUntil: inner.utime(),
        state: version >= 2 ? inner.u8() : 0,
      };
    }),
  (to, record) =>
    to.struct(2, 1, (inner) => {
      const { source } = record;
      inner.u8(typeof source === 'number' ? source : trashSources.indexOf(source));
      inner.string(record.name).utime(record.deleted).utime(record.deferredUntil).u8(record.state);
    }),
);

/** A group, as an image refers to it. */
export interface GroupRef {
  pool: number;
  groupId: string;
}

/** The value of `rbd_group_ref` in the header of an image that is in a group. */
export const groupRefValue: Codec<GroupRef> = codec(
  'the reference to the group of the image',
  (from) => from.struct(1, (inner) => ({ pool: inner.i64(), groupId: inner.string() })),
  (to, group) => to.struct(1, 1, (inner) => inner.i64(group.pool).string(group.groupId)),
);
