// What is inside a pool: its objects, with their sizes.

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { mapOrdered } from '../../bytes/ordered.ts';
import type { StoredObject } from '../port.ts';
import { type Connection, cName, type IoContext } from './connection.ts';
import { check, errnoName } from './errno.ts';
import type { Pointer } from './native.ts';

/** LIBRADOS_ALL_NSPACES */
const allNamespaces = Buffer.from('\u0001\0');
const sizesAtOnce = 16;

/** All objects of a pool, of every namespace, sorted by namespace and name. */
export async function listObjects(connection: Connection, pool: string): Promise<StoredObject[]> {
  const { native } = connection;
  const out: [Pointer | null] = [null];
  const { pointer } = await connection.io(pool, '');
  // a context of its own: namespaces are a setting of it
  const id = native.call('rados_ioctx_get_id', pointer);
  const doing = () => `list the objects of pool '${printable(pool)}'`;
  check(native.call('rados_ioctx_create2', connection.rados, id, out), doing);
  const io = out[0]!;
  try {
    native.call('rados_ioctx_set_namespace', io, allNamespaces);
    const found = await namesIn(connection, io, doing);
    const objects: StoredObject[] = [];
    const sized = mapOrdered(found, sizesAtOnce, async ({ namespace, name }) => {
      const context: IoContext = await connection.io(pool, namespace);
      const size = [0];
      const result = await native.callAsync('rados_stat', context.pointer, cName(name, 'object'), size, [0]);
      if (errnoName(result) === 'ENOENT') return null;
      check(result, doing);
      return { namespace, name, bytes: Number(size[0]) };
    });
    for await (const object of sized) if (object !== null) objects.push(object);
    const keyOf = ({ namespace, name }: StoredObject) => `${namespace}\0${name}`;
    return objects.sort((a, b) => (keyOf(a) < keyOf(b) ? -1 : 1));
  } finally {
    native.call('rados_ioctx_destroy', io);
  }
}

async function namesIn(
  { native }: Connection,
  io: Pointer,
  doing: () => string,
): Promise<{ namespace: string; name: string }[]> {
  const list: [Pointer | null] = [null];
  check(native.call('rados_nobjects_list_open', io, list), doing);
  const found: { namespace: string; name: string }[] = [];
  try {
    for (;;) {
      const [name, key, namespace]: [Pointer | null][] = [[null], [null], [null]];
      const result = await native.callAsync('rados_nobjects_list_next', list[0], name, key, namespace);
      if (errnoName(result) === 'ENOENT') return found;
      check(result, doing);
      const text = (at: [Pointer | null] | undefined) => nameFromBytes(native.stringAt(at?.[0] ?? null));
      found.push({ namespace: text(namespace), name: text(name) });
    }
  } finally {
    native.call('rados_nobjects_list_close', list[0]);
  }
}
