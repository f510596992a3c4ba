// What is done to images as wholes, and to pools: make, remove, list, metadata.

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { headerObjectName, metadataKey, metadataValue } from '../../format/rbd-header.ts';
import type { CreateOptions, Progress } from '../port.ts';
import { formatSpec, type ImageSpec } from '../spec.ts';
import { type Connection, cName, type IoContext } from './connection.ts';
import { check, errnoName, failure } from './errno.ts';
import { readInfo } from './header.ts';
import { expectNamespace, find, noSnapshot, openHead } from './image.ts';
import { withImageOptions } from './image-options.ts';
import { refuseLocked } from './locked.ts';
import { readOmap } from './objects.ts';
import { throttled } from './progress.ts';

/** RBD_SNAP_REMOVE_UNPROTECT and RBD_SNAP_REMOVE_FLATTEN */
const removeByForce = 1 | 2;

export async function createImage(connection: Connection, spec: ImageSpec, options: CreateOptions): Promise<void> {
  const { native } = connection;
  refuseSnapshot(spec);
  const io = await connection.io(spec.pool, spec.namespace);
  const label = printable(formatSpec(spec));
  const name = cName(spec.image, 'image');
  const result = await withImageOptions(connection, label, options, (opts) =>
    native.callAsync('rbd_create4', io.pointer, name, options.size, opts),
  );
  await checkCreated(connection, io, spec, result, options);
}

/** What librbd said of a new image. */
export async function checkCreated(
  connection: Connection,
  io: IoContext,
  spec: ImageSpec,
  result: number,
  options: Pick<CreateOptions, 'mirrorMode'>,
): Promise<void> {
  const label = printable(formatSpec(spec));
  if (errnoName(result) === 'EEXIST') {
    throw new RbdeltaError('exists', `there is already an image ${label}`, {
      hint: `rbdelta info ${label} shows it; choose another name, or remove it: rbdelta rm ${label}`,
    });
  }
  if (errnoName(result) === 'ENOENT') {
    await expectNamespace(connection, io);
    if (options.mirrorMode !== undefined) {
      // librbd, of a pool that is not mirrored; in Ceph 16 of the mode journal in any pool
      throw failure(result, `make the image ${label} with the mirror mode ${options.mirrorMode}`, {
        hint: `the pool must be mirrored: rbd mirror pool enable ${printable(spec.pool)} image`,
      });
    }
  }
  check(result, `make the image ${label}`);
}

export async function removeImage(connection: Connection, spec: ImageSpec, onProgress?: Progress): Promise<void> {
  const { native } = connection;
  refuseSnapshot(spec);
  const location = await find(connection, spec);
  await refuseLocked(connection, location, printable(formatSpec(spec)));
  const { io } = location;
  const name = cName(spec.image, 'image');
  const result = onProgress
    ? await native.callAsync('rbd_remove_with_progress', io.pointer, name, throttled(onProgress), null)
    : await native.callAsync('rbd_remove', io.pointer, name);
  const label = printable(formatSpec(spec));
  if (errnoName(result) === 'ENOTEMPTY') {
    const { snapshots } = await readInfo(connection, location, null);
    const count = snapshots.length === 1 ? 'a snapshot' : `${snapshots.length} snapshots`;
    throw new RbdeltaError('notEmpty', `cannot remove the image ${label}: it has ${count}`, {
      hint: `rbdelta snap ls ${label} shows them, rbdelta snap purge ${label} removes them`,
    });
  }
  check(result, () => `remove the image ${label}`);
}

/** Removes the snapshot that the spec names; librbd flattens its clones and takes its protection. */
export async function forceRemoveSnapshot(
  connection: Connection,
  spec: ImageSpec,
  onProgress?: Progress,
): Promise<void> {
  const { native } = connection;
  const snap = spec.snap ?? '';
  const location = await find(connection, spec);
  const label = printable(formatSpec({ ...spec, snap: null }));
  const image = await openHead(connection, location, label);
  try {
    const report = throttled(onProgress ?? (() => undefined));
    const name = cName(snap, 'snapshot');
    const result = await native.callAsync('rbd_snap_remove2', image, name, removeByForce, report, null);
    if (errnoName(result) === 'ENOENT') {
      const { snapshots } = await readInfo(connection, location, null);
      const found = snapshots.some((one) => one.name === snap && one.namespace === 'user');
      if (!found) throw noSnapshot(snap, label, snapshots);
    }
    check(result, () => `remove the snapshot '${printable(snap)}' of ${label}`);
  } finally {
    await native.callAsync('rbd_close', image);
  }
}

/** Sorted by their bytes' order in UTF-16, as Array.sort does. */
export async function listImages(connection: Connection, pool: string, namespace: string): Promise<string[]> {
  const { native } = connection;
  const io = await connection.io(pool, namespace);
  let room = 1024;
  for (;;) {
    // Pairs of pointers: id, name.
    const specs = new BigUint64Array(room * 2);
    const count: [number | bigint] = [room];
    const result = await native.callAsync('rbd_list2', io.pointer, specs, count);
    if (errnoName(result) === 'ERANGE') {
      room = Number(count[0]) + 16;
      continue;
    }
    check(result, () => `list the images of pool '${printable(pool)}'`);
    const names: string[] = [];
    for (let i = 0; i < Number(count[0]); i++) names.push(nameFromBytes(native.stringAt(specs[i * 2 + 1]!)));
    native.call('rbd_image_spec_list_cleanup', specs, Number(count[0]));
    if (names.length === 0) await expectNamespace(connection, io);
    return names.sort();
  }
}

export async function readMetadata(connection: Connection, spec: ImageSpec): Promise<Map<string, string>> {
  const location = await find(connection, spec);
  const prefix = metadataKey('');
  // Format 1 has nowhere to keep it.
  const omap =
    location.format === 1 ? null : await readOmap(connection, location.io, headerObjectName(location.id), prefix);
  const entries = [...(omap ?? [])].map(([key, value]): [string, string] => [
    key.slice(prefix.length),
    metadataValue.decode(value),
  ]);
  return new Map(entries.sort(([a], [b]) => (a < b ? -1 : 1)));
}

export async function writeMetadata(
  connection: Connection,
  spec: ImageSpec,
  key: string,
  value: string,
): Promise<void> {
  const { native } = connection;
  const location = await find(connection, spec);
  const label = printable(formatSpec(spec));
  const image = await openHead(connection, location, label);
  try {
    const result = await native.callAsync(
      'rbd_metadata_set',
      image,
      cName(key, 'metadata key'),
      cName(value, 'metadata value'),
    );
    check(result, () => `set the metadata '${printable(key)}' of ${label}`);
  } finally {
    await native.callAsync('rbd_close', image);
  }
}

export async function removeMetadata(connection: Connection, spec: ImageSpec, key: string): Promise<void> {
  const { native } = connection;
  const location = await find(connection, spec);
  const label = printable(formatSpec(spec));
  const image = await openHead(connection, location, label);
  try {
    const result = await native.callAsync('rbd_metadata_remove', image, cName(key, 'metadata key'));
    if (errnoName(result) === 'ENOENT') {
      throw new RbdeltaError('notFound', `image ${label} has no metadata '${printable(key)}'`);
    }
    check(result, () => `remove the metadata '${printable(key)}' of ${label}`);
  } finally {
    await native.callAsync('rbd_close', image);
  }
}

/** Sorted names. */
export function listPools({ native, rados }: Connection): string[] {
  let buffer = Buffer.alloc(4096);
  let needed = 0;
  while (
    (needed = check(native.call('rados_pool_list', rados, buffer, buffer.length), 'list the pools')) > buffer.length
  ) {
    buffer = Buffer.alloc(needed);
  }
  const names: string[] = [];
  // Each ends with a NUL, the list with an empty one.
  for (let at = 0; buffer[at] !== 0 && at < buffer.length; ) {
    const end = buffer.indexOf(0, at);
    names.push(nameFromBytes(buffer.subarray(at, end)));
    at = end + 1;
  }
  return names.sort();
}

export function refuseSnapshot(spec: ImageSpec): void {
  if (spec.snap !== null) {
    throw new RbdeltaError('invalid', `an image is meant here, not a snapshot: ${printable(formatSpec(spec))}`);
  }
  if (spec.image === '') throw failure(-22, 'use an image without a name');
}
