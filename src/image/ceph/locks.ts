// Locks that clients take on images, through librbd (cls_lock in the end).

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { ImageLocks } from '../port.ts';
import { formatSpec, type ImageSpec } from '../spec.ts';
import { refuseSnapshot } from './admin.ts';
import { type Connection, cName } from './connection.ts';
import { check, errnoName, failure } from './errno.ts';
import { find, openHead } from './image.ts';
import type { Native, Pointer } from './native.ts';

export async function listLocks(connection: Connection, spec: ImageSpec): Promise<ImageLocks> {
  return withHead(connection, spec, (image, label) => readLocks(connection.native, image, label));
}

/** Of an image that is open. */
export async function readLocks(native: Native, image: Pointer, label: string): Promise<ImageLocks> {
  for (let room = 4096; ; room *= 4) {
    const exclusive = [0];
    const buffers = Array.from({ length: 4 }, () => Buffer.alloc(room));
    const lengths = buffers.map((): [number | bigint] => [room]);
    const args = buffers.flatMap((buffer, i) => [buffer, lengths[i]]);
    const result = await native.callAsync('rbd_list_lockers', image, exclusive, ...args);
    if (errnoName(result) === 'ERANGE') continue;
    const count = check(result, () => `list the locks of ${label}`);
    const [tag = [], clients = [], ids = [], addresses = []] = buffers.map(textsOf);
    return {
      exclusive: exclusive[0] !== 0,
      tag: exclusive[0] === 0 ? (tag[0] ?? '') : '',
      lockers: Array.from({ length: count }, (_, i) => ({
        client: clients[i] ?? '',
        id: ids[i] ?? '',
        address: addresses[i] ?? '',
      })),
    };
  }
}

export async function addLock(connection: Connection, spec: ImageSpec, id: string, tag: string | null): Promise<void> {
  await withHead(connection, spec, async (image, label) => {
    const cookie = cName(id, 'lock');
    const result =
      tag === null
        ? await connection.native.callAsync('rbd_lock_exclusive', image, cookie)
        : await connection.native.callAsync('rbd_lock_shared', image, cookie, cName(tag, 'tag'));
    if (errnoName(result) === 'EBUSY') {
      const { exclusive, tag: current, lockers } = await readLocks(connection.native, image, label);
      const first = lockers[0];
      const who = exclusive || tag === null ? `lock '${first?.id}' of ${first?.client}` : `with the tag '${current}'`;
      throw new RbdeltaError('busy', `the lock of ${label} is already held: ${printable(who)}`, {
        hint: `rbdelta lock ls ${label} shows who holds it`,
      });
    }
    check(result, () => `lock ${label}`);
  });
}

/** librbd keeps another client from writing as well, in case it lives on (`rbd_blocklist_on_break_lock`). */
export async function removeLock(connection: Connection, spec: ImageSpec, id: string, client: string): Promise<void> {
  await withHead(connection, spec, async (image, label) => {
    const { native, rados } = connection;
    const cookie = cName(id, 'lock');
    // one's own is given back
    const isOwn = client === `client.${native.call('rados_get_instance_id', rados)}`;
    const result = isOwn
      ? await native.callAsync('rbd_unlock', image, cookie)
      : await native.callAsync('rbd_break_lock', image, cName(client, 'client'), cookie);
    if (errnoName(result) === 'ENOENT') {
      throw new RbdeltaError('notFound', `${label} has no lock '${printable(id)}' of ${printable(client)}`, {
        hint: `rbdelta lock ls ${label} shows its locks`,
      });
    }
    if (errnoName(result) === 'EINVAL') {
      throw failure(result, `take a lock off ${label}`, { hint: 'the client is named as client.4123, from lock ls' });
    }
    check(result, () => `take a lock off ${label}`);
  });
}

/** Opened to write, as rbd does: that takes no lock by itself. */
async function withHead<T>(
  connection: Connection,
  spec: ImageSpec,
  use: (image: Pointer, label: string) => Promise<T>,
): Promise<T> {
  refuseSnapshot(spec);
  const location = await find(connection, spec);
  const label = printable(formatSpec(spec));
  const image = await openHead(connection, location, label);
  try {
    return await use(image, label);
  } finally {
    await connection.native.callAsync('rbd_close', image);
  }
}

/** Texts that end with a NUL each. */
function textsOf(buffer: Buffer): string[] {
  const texts: string[] = [];
  for (let at = 0; at < buffer.length && texts.length < buffer.length; ) {
    const end = buffer.indexOf(0, at);
    if (end < 0) break;
    texts.push(nameFromBytes(buffer.subarray(at, end)));
    at = end + 1;
  }
  return texts;
}
