// Clones and their parents, and copies with all that belongs to an image, through librbd.

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { Child, CloneOptions, DeepCopyOptions, Progress } from '../port.ts';
import { formatSpec, type ImageSpec } from '../spec.ts';
import { checkCreated, refuseSnapshot } from './admin.ts';
import { type Connection, cName } from './connection.ts';
import { check, errnoName, failure } from './errno.ts';
import { readInfo } from './header.ts';
import { find, noSnapshot, openPointer } from './image.ts';
import { withImageOptions } from './image-options.ts';
import type { Native } from './native.ts';
import { throttled } from './progress.ts';

/** rbd_linked_image_spec_t */
const linkedSpec = { bytes: 48, poolName: 8, namespace: 16, imageId: 24, imageName: 32, inTrash: 40 } as const;

export async function cloneImage(
  connection: Connection,
  parent: ImageSpec,
  child: ImageSpec,
  options: CloneOptions,
): Promise<void> {
  refuseSnapshot(child);
  const snap = parent.snap ?? '';
  const from = await find(connection, parent);
  const { snapshots } = await readInfo(connection, from, null);
  const found = snapshots.find(({ name, namespace }) => name === snap && namespace === 'user');
  if (found === undefined) throw noSnapshot(snap, printable(formatSpec({ ...parent, snap: null })), snapshots);
  const io = await connection.io(child.pool, child.namespace);
  const names = [cName(from.name, 'image'), cName(snap, 'snapshot')];
  const result = await withImageOptions(connection, printable(formatSpec(child)), options, (opts) =>
    connection.native.callAsync('rbd_clone3', from.io.pointer, ...names, io.pointer, cName(child.image, 'image'), opts),
  );
  if (errnoName(result) === 'EINVAL' && found.protection !== 'protected' && options.cloneFormat !== 2) {
    const label = printable(formatSpec(parent));
    throw new RbdeltaError('invalid', `cannot clone ${label}: it is not protected`, {
      hint: `rbdelta snap protect ${label}; or --rbd-default-clone-format 2`,
    });
  }
  await checkCreated(connection, io, child, result, options);
}

export async function deepCopy(
  connection: Connection,
  spec: ImageSpec,
  copy: ImageSpec,
  options: DeepCopyOptions,
  onProgress?: Progress,
): Promise<void> {
  refuseSnapshot(copy);
  const { native } = connection;
  const from = await find(connection, spec);
  const io = await connection.io(copy.pool, copy.namespace);
  const label = printable(formatSpec(spec));
  const names = [cName(from.id, 'id'), spec.snap === null ? null : cName(spec.snap, 'snapshot')] as const;
  const image = await openPointer(connection, label, 'rbd_open_by_id_read_only', from.io.pointer, ...names);
  try {
    const report = throttled(onProgress ?? (() => undefined));
    const name = cName(copy.image, 'image');
    const result = await withImageOptions(connection, printable(formatSpec(copy)), options, (opts) =>
      native.callAsync('rbd_deep_copy_with_progress', image, io.pointer, name, opts, report, null),
    );
    if (
      errnoName(result) === 'EINVAL' &&
      !options.flatten &&
      (await readInfo(connection, from, null)).parent !== null
    ) {
      throw failure(result, `copy ${label}`, {
        hint: 'its parent may not be protected: --rbd-default-clone-format 2, or --flatten',
      });
    }
    await checkCreated(connection, io, copy, result, options);
  } finally {
    await native.callAsync('rbd_close', image);
  }
}

/** Sorted by names; those in the trash as well. */
export async function listChildren(connection: Connection, spec: ImageSpec): Promise<Child[]> {
  const { native } = connection;
  const location = await find(connection, spec);
  const label = printable(formatSpec(spec));
  const { snapshots } = await readInfo(connection, location, null);
  const found = snapshots.find(({ name, namespace }) => name === spec.snap && namespace === 'user');
  if (spec.snap !== null && found === undefined) {
    throw noSnapshot(spec.snap, printable(formatSpec({ ...spec, snap: null })), snapshots);
  }
  if (location.format === 1) return [];
  const snap = spec.snap === null ? null : cName(spec.snap, 'snapshot');
  const id = cName(location.id, 'id');
  const image = await openPointer(connection, label, 'rbd_open_by_id_read_only', location.io.pointer, id, snap);
  try {
    for (let room = 64; ; ) {
      const entries = Buffer.alloc(room * linkedSpec.bytes);
      const count: [number | bigint] = [room];
      const result = await native.callAsync('rbd_list_children3', image, entries, count);
      if (errnoName(result) === 'ERANGE') {
        room = Number(count[0]) + 16;
        continue;
      }
      check(result, () => `list the clones of ${label}`);
      const children = Array.from({ length: Number(count[0]) }, (_, i) =>
        childAt(native, entries.subarray(i * linkedSpec.bytes, (i + 1) * linkedSpec.bytes)),
      );
      native.call('rbd_linked_image_spec_list_cleanup', entries, Number(count[0]));
      return children.sort(byName);
    }
  } finally {
    await native.callAsync('rbd_close', image);
  }
}

function childAt(native: Native, entry: Buffer): Child {
  const text = (at: number): string => nameFromBytes(native.stringAt(entry.readBigUInt64LE(at)));
  return {
    pool: text(linkedSpec.poolName),
    namespace: text(linkedSpec.namespace),
    image: text(linkedSpec.imageName),
    id: text(linkedSpec.imageId),
    inTrash: entry[linkedSpec.inTrash] !== 0,
  };
}

const byName = (a: Child, b: Child): number => {
  const keys = ({ pool, namespace, image }: Child): string => [pool, namespace, image].join('\0');
  return keys(a) < keys(b) ? -1 : 1;
};
