// Locks that people put on images (`lock add`): kept as RADOS keeps them, in an xattr of the header object.

import { nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  feature,
  headerObjectName,
  type Locker,
  type LockRecord,
  lockValue,
  lockXattr,
} from '../../format/rbd-header.ts';
import type { ImageLocks } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { findImage, hasFeature, type ImageRef, loadHeader } from './header.ts';
import { watchersOf } from './lock.ts';
import { limits, objectKey, type Store } from './store.ts';

type Named = Pick<ImageRef, 'poolId' | 'namespace' | 'id' | 'name'>;

const none: LockRecord = { kind: 'none', tag: '', lockers: [] };

/** The only xattrs there are: the table that has room for them is the cluster's own. */
const keyOf = ({ poolId, namespace, id }: Named): Buffer =>
  Buffer.concat([Buffer.from('xattr/'), objectKey(poolId, namespace, headerObjectName(id)), Buffer.from(lockXattr)]);

function recordOf(store: Store, image: Named): LockRecord {
  const value = store.cluster.get(keyOf(image));
  return value === undefined ? none : lockValue.decode(value);
}

/** What people took; else what a process has that writes, if the image has the feature that makes it take a lock. */
export function locksOf(store: Store, spec: ImageSpec): ImageLocks {
  const image = findUnversioned(store, spec);
  const { kind, tag, lockers } = recordOf(store, image);
  const taken = lockers.map(({ client, cookie }) => ({ client: `client.${client}`, id: cookie, address: '-' }));
  if (taken.length > 0) return { exclusive: kind === 'exclusive', tag, lockers: taken };
  const writers = hasFeature(loadHeader(store, image), feature.exclusiveLock) ? watchersOf(store, image) : [];
  return {
    exclusive: true,
    tag: '',
    lockers: writers.map(({ client, cookie }) => ({ client: `client.${client}`, id: `auto ${cookie}`, address: '-' })),
  };
}

/** `exclusive`, `shared` or null, as `ls --long` shows it. */
export function lockKindOf(store: Store, image: Named): 'exclusive' | 'shared' | null {
  const { kind, lockers } = recordOf(store, image);
  return kind === 'none' || lockers.length === 0 ? null : kind;
}

/** `tag` null: nobody else may have one. Its holder is this process, which need not live on. */
export function addLock(store: Store, spec: ImageSpec, id: string, tag: string | null): void {
  const bytes = nameToBytes(id).length;
  if (bytes === 0 || bytes > limits.nameBytes || id.includes('\0')) {
    throw new RbdeltaError('invalid', `the id of a lock has 1 to ${limits.nameBytes} bytes, none of them 0`);
  }
  const own: Locker = {
    client: process.pid,
    cookie: id,
    expiration: { seconds: 0, nanoseconds: 0 },
    address: { type: 0, nonce: 0, socket: Buffer.alloc(0) },
    description: '',
  };
  store.transact(() => {
    const image = findUnversioned(store, spec);
    const [writer] = hasFeature(loadHeader(store, image), feature.exclusiveLock) ? watchersOf(store, image) : [];
    if (writer !== undefined) throw held(image, `process ${writer.client} has it open to write`);
    const { kind, tag: current, lockers } = recordOf(store, image);
    const mine = lockers.some(({ client, cookie }) => client === own.client && cookie === id);
    if (mine) throw new RbdeltaError('exists', `this process holds the lock '${printable(id)}' already`);
    const [first] = lockers;
    if (first !== undefined && (kind === 'exclusive' || tag === null)) {
      throw held(image, `lock '${printable(first.cookie)}' of client.${first.client}`);
    }
    if (first !== undefined && current !== tag) throw held(image, `with the tag '${printable(current)}'`);
    const all = [...lockers, own].sort((a, b) => a.client - b.client || (a.cookie < b.cookie ? -1 : 1));
    put(store, image, { kind: tag === null ? 'exclusive' : 'shared', tag: tag ?? '', lockers: all });
  });
}

/** Whoever holds it; `notFound` where there is no such lock, `busy` where a living writer has it. */
export function removeLock(store: Store, spec: ImageSpec, id: string, client: string): void {
  const number = /^client\.(\d{1,15})$/u.exec(client)?.[1];
  if (number === undefined) {
    throw new RbdeltaError('invalid', `'${printable(client)}' is no client`, { hint: 'as client.4123, from lock ls' });
  }
  store.transact(() => {
    const image = findUnversioned(store, spec);
    const record = recordOf(store, image);
    const lockers = record.lockers.filter((one) => one.cookie !== id || one.client !== Number(number));
    if (lockers.length === record.lockers.length) {
      const writer = watchersOf(store, image).find((one) => `auto ${one.cookie}` === id);
      if (writer?.client === Number(number)) throw held(image, `process ${writer.client} has it open to write`);
      throw new RbdeltaError(
        'notFound',
        `image '${printable(image.name)}' has no lock '${printable(id)}' of ${client}`,
        {
          hint: 'rbdelta lock ls shows its locks',
        },
      );
    }
    put(store, image, { ...record, lockers });
  });
}

/** As librbd: who would write an image that takes an exclusive lock for it, and finds another one, may only read. */
export function refuseLocked(store: Store, image: Named): void {
  const [first] = recordOf(store, image).lockers;
  if (first === undefined || !hasFeature(loadHeader(store, image), feature.exclusiveLock)) return;
  const lock = `lock '${printable(first.cookie)}' of client.${first.client}`;
  throw new RbdeltaError('readOnly', `image '${printable(image.name)}' is locked: ${lock}`, {
    hint: `rbdelta lock ls shows its locks, rbdelta lock rm IMAGE '${printable(first.cookie)}' client.${first.client} takes it off`,
  });
}

/** Forgets those of a removed image. In a transaction. */
export const dropLocks = (store: Store, image: Named): void => void store.cluster.remove(keyOf(image));

function put(store: Store, image: Named, record: LockRecord): void {
  void (record.lockers.length === 0
    ? store.cluster.remove(keyOf(image))
    : store.cluster.put(keyOf(image), lockValue.encode(record)));
}

function findUnversioned(store: Store, spec: ImageSpec): ImageRef {
  if (spec.snap !== null) throw new RbdeltaError('invalid', 'an image is locked, not a snapshot');
  return findImage(store, spec);
}

const held = (image: Named, who: string): RbdeltaError =>
  new RbdeltaError('busy', `the lock of image '${printable(image.name)}' is already held: ${who}`, {
    hint: 'rbdelta lock ls shows who holds it',
  });
