// Reads of RADOS objects: data and omap, a few round trips each.

import { nameFromBytes } from '../../bytes/text.ts';
import { type Connection, cName, type IoContext } from './connection.ts';
import { check, errnoName } from './errno.ts';
import type { Pointer } from './native.ts';

/** rados_read returns an int, and an OSD answers a request from memory. */
const limits = { chunkBytes: 64 << 20, omapKeys: 1024 } as const;

/** All bytes of an object; null where there is none. One round trip below `guess` bytes, then one for each 64 MiB. */
export async function readObject(
  connection: Connection,
  io: IoContext,
  object: string,
  guess = 4096,
): Promise<Buffer | null> {
  const { native } = connection;
  const name = cName(object, 'object');
  const read = async (into: Buffer, offset: number): Promise<number | null> => {
    const result = await native.callAsync('rados_read', io.pointer, name, into, into.length, offset);
    if (errnoName(result) === 'ENOENT') return null;
    return check(result, () => `read the object ${object} of pool '${io.pool}'`);
  };

  const first = Buffer.allocUnsafeSlow(guess);
  const got = await read(first, 0);
  if (got === null) return null;
  if (got < first.length) return first.subarray(0, got);

  const size = await sizeOf(connection, io, object, name);
  if (size === null) return null;
  const all = Buffer.allocUnsafeSlow(size);
  let at = first.copy(all);
  while (at < size) {
    const more = await read(all.subarray(at, Math.min(size, at + limits.chunkBytes)), at);
    if (!more) break; // it was cut meanwhile
    at += more;
  }
  return all.subarray(0, at);
}

async function sizeOf(connection: Connection, io: IoContext, object: string, name: Buffer): Promise<number | null> {
  const size = [0];
  const result = await connection.native.callAsync('rados_stat', io.pointer, name, size, [0]);
  if (errnoName(result) === 'ENOENT') return null;
  check(result, `look at the object ${object} of pool '${io.pool}'`);
  return Number(size[0]);
}

/**
 * The omap of an object, or of it the keys that begin with `prefix`, in the order of their bytes; null where there is no
 * such object. One round trip for each 1024 keys.
 */
export async function readOmap(
  connection: Connection,
  io: IoContext,
  object: string,
  prefix = '',
): Promise<Map<string, Buffer> | null> {
  const { native } = connection;
  const omap = new Map<string, Buffer>();
  const name = cName(object, 'object');
  let after: Buffer = Buffer.of(0);
  for (;;) {
    // librados writes here when the operation is done: whether there is more, what became of it, where the pairs are.
    const results = Buffer.alloc(24);
    const op = native.pointer('rados_create_read_op');
    let iterator: Pointer = 0n;
    try {
      native.call(
        'rados_read_op_omap_get_vals2',
        op,
        after,
        cName(prefix, 'key'),
        limits.omapKeys,
        results.subarray(16),
        results.subarray(0, 1),
        results.subarray(8, 12),
      );
      const result = await native.callAsync('rados_read_op_operate', op, io.pointer, name, 0);
      iterator = results.readBigUInt64LE(16);
      if (errnoName(result) === 'ENOENT') return null;
      const doing = () => `read the keys of the object ${object} of pool '${io.pool}'`;
      check(result, doing);
      check(results.readInt32LE(8), doing);
      const last = takePairs(connection, iterator, omap);
      if (results[0] === 0 || last === null) return omap;
      after = Buffer.concat([last, Buffer.of(0)]);
    } finally {
      if (iterator !== 0n) native.call('rados_omap_get_end', iterator);
      native.call('rados_release_read_op', op);
    }
  }
}

/** Copies the pairs of one page; returns the last key, or null for an empty page. */
function takePairs({ native }: Connection, iterator: Pointer, into: Map<string, Buffer>): Buffer | null {
  let last: Buffer | null = null;
  for (;;) {
    const key: [Pointer | null] = [null];
    const value: [Pointer | null] = [null];
    const keyLength = [0];
    const valueLength = [0];
    check(
      native.call('rados_omap_get_next2', iterator, key, value, keyLength, valueLength),
      'read the keys of an object',
    );
    if (key[0] === null) return last;
    last = native.bytesAt(key[0], Number(keyLength[0]));
    into.set(
      nameFromBytes(last),
      value[0] === null ? Buffer.alloc(0) : native.bytesAt(value[0], Number(valueLength[0])),
    );
  }
}
