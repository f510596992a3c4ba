// The namespaces of a pool, through librbd.

import { nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { type Connection, cName } from './connection.ts';
import { check, errnoName } from './errno.ts';

/** Sorted, without the default one. */
export async function listNamespaces(connection: Connection, pool: string): Promise<string[]> {
  const io = await connection.io(pool, '');
  for (let room = 4096; ; ) {
    const names = Buffer.alloc(room);
    const size: [number | bigint] = [room];
    const result = await connection.native.callAsync('rbd_namespace_list', io.pointer, names, size);
    if (errnoName(result) === 'ERANGE') {
      room = Number(size[0]) + 256;
      continue;
    }
    check(result, () => `list the namespaces of pool '${printable(pool)}'`);
    // each ends with a NUL
    return nameFromBytes(names.subarray(0, Number(size[0])))
      .split('\0')
      .filter((name) => name !== '')
      .sort();
  }
}

export async function createNamespace(connection: Connection, pool: string, namespace: string): Promise<void> {
  const io = await connection.io(pool, '');
  const result = await connection.native.callAsync('rbd_namespace_create', io.pointer, cName(namespace, 'namespace'));
  const label = printable(`${pool}/${namespace}`);
  if (errnoName(result) === 'EEXIST') throw new RbdeltaError('exists', `there is already a namespace ${label}`);
  check(result, () => `make the namespace ${label}`);
}

export async function removeNamespace(connection: Connection, pool: string, namespace: string): Promise<void> {
  const io = await connection.io(pool, '');
  const result = await connection.native.callAsync('rbd_namespace_remove', io.pointer, cName(namespace, 'namespace'));
  const label = printable(`${pool}/${namespace}`);
  if (errnoName(result) === 'ENOENT') throw new RbdeltaError('notFound', `there is no namespace ${label}`);
  if (errnoName(result) === 'EBUSY') {
    throw new RbdeltaError('busy', `namespace ${label} has images`, {
      hint: 'remove them first, those in its trash as well',
    });
  }
  check(result, () => `remove the namespace ${label}`);
}
