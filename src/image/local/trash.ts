// The trash of a namespace: images that have lost their name and nothing else, until they are restored or removed.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { type TrashRecord, utimeFromMs, utimeToMs } from '../../format/rbd-header.ts';
import type { TrashedImage } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { refuseLocked } from './advisory-locks.ts';
import { checkFree, removeFound } from './create.ts';
import {
  addToDirectory,
  putTrashRecord,
  removeFromDirectory,
  type Space,
  trashRecord,
  trashRecords,
} from './directory.ts';
import { findImage } from './header.ts';
import { refuseOpen } from './lock.ts';
import { checkName, checkNamespace, poolIdOf } from './pools.ts';
import type { Store } from './store.ts';

/** Throws `busy` when it is open to write. */
export function moveToTrash(store: Store, spec: ImageSpec, protectedUntilMs: number | null): void {
  store.transact(() => {
    const image = findImage(store, spec);
    refuseOpen(store, image);
    refuseLocked(store, image);
    const nowMs = Date.now();
    removeFromDirectory(store, image);
    putTrashRecord(store, image, image.id, {
      source: 'user',
      name: image.name,
      deleted: utimeFromMs(nowMs),
      deferredUntil: utimeFromMs(Math.max(nowMs, protectedUntilMs ?? 0)),
      state: 0,
    });
  });
}

export const trashedImages = (store: Store, space: Space): TrashedImage[] =>
  trashRecords(store, space).map(([id, record]) => ({
    id,
    name: record.name,
    source: String(record.source),
    deletedMs: utimeToMs(record.deleted),
    protectedUntilMs: utimeToMs(record.deferredUntil),
  }));

/** `spec.id` names it; it gets the name that it had, or `name`. */
export function restoreFromTrash(store: Store, spec: ImageSpec, name: string | null): void {
  store.transact(() => {
    const { space, id, record } = findTrashed(store, spec);
    const newName = name ?? record.name;
    checkName(newName, 'image');
    checkFree(store, space.poolId, spec, newName);
    putTrashRecord(store, space, id, null);
    addToDirectory(store, { ...space, id, name: newName });
  });
}

export async function removeFromTrash(store: Store, spec: ImageSpec, force: boolean): Promise<void> {
  await removeFound(store, () => {
    const { id, record } = findTrashed(store, spec);
    if (!force && utimeToMs(record.deferredUntil) > Date.now()) {
      const until = new Date(utimeToMs(record.deferredUntil)).toISOString();
      const message = `image '${printable(record.name)}' in the trash is protected until ${until}`;
      throw new RbdeltaError('permission', message, { hint: `rbdelta trash rm --force ${id} removes it all the same` });
    }
    return findImage(store, { ...spec, id });
  });
}

/** In the transaction that takes it out. */
function findTrashed(store: Store, spec: ImageSpec): { space: Space; id: string; record: TrashRecord } {
  const space = { poolId: poolIdOf(store, spec.pool), namespace: spec.namespace };
  checkNamespace(store, space.poolId, space.namespace);
  const id = spec.id ?? '';
  const record = trashRecord(store, space, id);
  if (record !== null) return { space, id, record };
  throw new RbdeltaError('notFound', `the trash of pool '${printable(spec.pool)}' has no image '${printable(id)}'`, {
    hint: 'rbdelta trash ls shows what it has, by id',
  });
}
