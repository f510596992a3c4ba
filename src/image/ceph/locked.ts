// Images that somebody has locked: not to wait for ever for a lock that no client will give back.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { feature, headerObjectName, type LockRecord, lockValue, lockXattr } from '../../format/rbd-header.ts';
import { type Connection, cName } from './connection.ts';
import { errnoName } from './errno.ts';
import { type Location, readInfo } from './header.ts';

/** What librbd's own exclusive lock has for a tag. */
const ownTag = 'internal';

/** Whoever wrote an image that takes an exclusive lock for it, and found another one, would wait until that is gone. */
export async function refuseLocked(connection: Connection, location: Location, label: string): Promise<void> {
  const { native } = connection;
  const { io, id, format } = location;
  if (format === 1) return;
  const object = cName(headerObjectName(id), 'object');
  let value = Buffer.alloc(4096);
  let result: number;
  while ((result = await native.callAsync('rados_getxattr', io.pointer, object, xattrName, value, value.length)) < 0) {
    if (errnoName(result) !== 'ERANGE') return; // there is none
    value = Buffer.alloc(value.length * 8);
  }
  const lock = decoded(value.subarray(0, result));
  const first = lock?.lockers[0];
  if (first === undefined || lock?.tag === ownTag) return;
  const { features } = await readInfo(connection, location, null);
  if (features & feature.exclusiveLock) throw lockedBy(label, `client.${first.client}`, first.cookie);
}

/** Null for what some other version of Ceph may write: librbd has the last word in any case. */
function decoded(value: Buffer): LockRecord | null {
  try {
    return lockValue.decode(value);
  } catch {
    return null;
  }
}

const xattrName = cName(lockXattr, 'xattr');

export const lockedBy = (label: string, client: string, id: string): RbdeltaError =>
  new RbdeltaError('readOnly', `${label} cannot be changed: it is locked by ${client}, '${printable(id)}'`, {
    hint: `rbdelta lock rm ${label} '${printable(id)}' ${client} takes the lock off`,
  });
