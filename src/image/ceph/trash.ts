// The trash of a pool or namespace, through librbd; and new names of images.

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { Progress, TrashedImage } from '../port.ts';
import { formatSpec, type ImageSpec } from '../spec.ts';
import { refuseSnapshot } from './admin.ts';
import { type Connection, cName } from './connection.ts';
import { check, errnoName } from './errno.ts';
import { expectNamespace, find } from './image.ts';
import { refuseLocked } from './locked.ts';
import { throttled } from './progress.ts';

/** rbd_trash_image_info_t */
const trashInfo = { bytes: 40, id: 0, name: 8, source: 16, deleted: 24, deferredUntil: 32 } as const;

/** rbd_trash_image_source_t */
const sources = ['user', 'mirroring', 'migration', 'removing', 'user-parent'];

export async function renameImage(connection: Connection, spec: ImageSpec, name: string): Promise<void> {
  refuseSnapshot(spec);
  const { io } = await find(connection, spec);
  const names = [cName(spec.image, 'image'), cName(name, 'image')];
  const result = await connection.native.callAsync('rbd_rename', io.pointer, ...names);
  const label = printable(formatSpec(spec));
  if (errnoName(result) === 'EEXIST') {
    throw new RbdeltaError('exists', `cannot rename ${label}: there is already an image '${printable(name)}'`);
  }
  check(result, () => `rename ${label}`);
}

export async function moveToTrash(connection: Connection, spec: ImageSpec, untilMs: number | null): Promise<void> {
  refuseSnapshot(spec);
  const location = await find(connection, spec);
  await refuseLocked(connection, location, printable(formatSpec(spec)));
  const { io } = location;
  const delay = untilMs === null ? 0 : Math.max(0, Math.ceil((untilMs - Date.now()) / 1000));
  const result = await connection.native.callAsync('rbd_trash_move', io.pointer, cName(spec.image, 'image'), delay);
  check(result, () => `move ${printable(formatSpec(spec))} to the trash`);
}

/** By rising id. */
export async function listTrash(connection: Connection, pool: string, namespace: string): Promise<TrashedImage[]> {
  const { native } = connection;
  const io = await connection.io(pool, namespace);
  for (let room = 1024; ; ) {
    const entries = Buffer.alloc(room * trashInfo.bytes);
    const count: [number | bigint] = [room];
    const result = await native.callAsync('rbd_trash_list', io.pointer, entries, count);
    if (errnoName(result) === 'ERANGE') {
      room = Number(count[0]) + 16;
      continue;
    }
    check(result, () => `list the trash of pool '${printable(pool)}'`);
    const images = Array.from({ length: Number(count[0]) }, (_, i): TrashedImage => {
      const entry = entries.subarray(i * trashInfo.bytes, (i + 1) * trashInfo.bytes);
      const text = (at: number): string => nameFromBytes(native.stringAt(entry.readBigUInt64LE(at)));
      const source = entry.readInt32LE(trashInfo.source);
      return {
        id: text(trashInfo.id),
        name: text(trashInfo.name),
        source: sources[source] ?? String(source),
        deletedMs: Number(entry.readBigInt64LE(trashInfo.deleted)) * 1000,
        protectedUntilMs: Number(entry.readBigInt64LE(trashInfo.deferredUntil)) * 1000,
      };
    });
    native.call('rbd_trash_list_cleanup', entries, Number(count[0]));
    if (images.length === 0) await expectNamespace(connection, io);
    return images.sort((a, b) => (a.id < b.id ? -1 : 1));
  }
}

export async function restoreFromTrash(connection: Connection, spec: ImageSpec, name: string | null): Promise<void> {
  const io = await connection.io(spec.pool, spec.namespace);
  const id = spec.id ?? '';
  const names = [cName(id, 'id'), cName(name ?? '', 'image')];
  const result = await connection.native.callAsync('rbd_trash_restore', io.pointer, ...names);
  if (errnoName(result) === 'ENOENT') throw notInTrash(spec.pool, id);
  if (errnoName(result) === 'EEXIST') {
    throw new RbdeltaError('exists', `cannot restore image ${printable(id)}: there is an image of that name already`, {
      hint: 'give it another one with --image',
    });
  }
  check(result, () => `restore the image ${printable(id)} from the trash`);
}

export async function removeFromTrash(
  connection: Connection,
  spec: ImageSpec,
  force: boolean,
  onProgress?: Progress,
): Promise<void> {
  const io = await connection.io(spec.pool, spec.namespace);
  const id = spec.id ?? '';
  const report = throttled(onProgress ?? (() => undefined));
  const args = [io.pointer, cName(id, 'id'), force, report, null];
  const result = await connection.native.callAsync('rbd_trash_remove_with_progress', ...args);
  if (errnoName(result) === 'ENOENT') throw notInTrash(spec.pool, id);
  const doing = `remove the image ${printable(id)} from the trash`;
  if (errnoName(result) === 'EPERM') {
    throw new RbdeltaError('permission', `cannot ${doing}: it is protected for some time yet`, {
      hint: 'rbdelta trash ls --long shows until when; --force removes it all the same',
    });
  }
  check(result, doing);
}

const notInTrash = (pool: string, id: string): RbdeltaError =>
  new RbdeltaError('notFound', `the trash of pool '${printable(pool)}' has no image '${printable(id)}'`, {
    hint: 'rbdelta trash ls shows what it has, by id',
  });
