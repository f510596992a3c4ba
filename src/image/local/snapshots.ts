// The snapshots of an image that is open to write: make, remove, rename, protect. Each is one transaction.

import { randomUUID } from 'node:crypto';
import { counted, nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { opFeature, type RbdHeader, type SnapshotRecord, utimeFromMs } from '../../format/rbd-header.ts';
import type { Progress } from '../port.ts';
import { checkNoOldChildren, forgetParent } from './clones.ts';
import { findSnapshot, loadHeader, setOperation } from './header.ts';
import { mapKey, mergeRemovedMap, removeMap, snapshotMap } from './object-maps.ts';
import { nextSnapId } from './pools.ts';
import { noteTrim, trim } from './trim.ts';
import type { Writing } from './writing.ts';

const snapNameBytes = 4096;

/** What was written before must be durable by now. */
export function createSnapshot({ opened, maps, change }: Writing, name: string): void {
  const { store, image } = opened;
  checkName(name);
  change((header) => {
    checkFree(header, image, name);
    const { snapLimit, snapshots } = header;
    if (snapLimit !== null && snapshots.length >= snapLimit) {
      const message = `image '${printable(image.name)}' has ${counted(snapshots.length, 'snapshot')}, and its limit is ${snapLimit}`;
      throw new RbdeltaError('quota', message, { hint: 'remove some, or raise it: rbdelta snap limit set' });
    }
    const id = nextSnapId(store, image.dataPoolId);
    header.snapSeq = id;
    header.snapshots.push({
      id,
      name,
      size: header.size,
      protection: 'unprotected',
      flags: header.flags,
      namespace: { type: 'user' },
      created: utimeFromMs(Date.now()),
      childCount: 0,
      parentOverlap: header.parent?.overlap ?? null,
      parent: null,
    });
    if (maps.kept) snapshotMap(store, mapKey(image, null), mapKey(image, id), maps.fastDiff);
  });
}

/**
 * One with clones of format 2 goes to the trash of its image instead, until the last of them has left. Returns whether
 * the image has lost its own parent, which only this snapshot still showed.
 */
export async function removeSnapshot(writing: Writing, name: string, onProgress?: Progress): Promise<boolean> {
  const { image } = writing.opened;
  const { trimId, leftParent } = takeOut(writing, (header) => {
    const snap = findSnapshot(header, image, name);
    if (snap.protection !== 'unprotected') {
      const message = `snapshot '${printable(name)}' of image '${printable(image.name)}' is protected`;
      throw new RbdeltaError('busy', message, { hint: 'rbdelta snap unprotect' });
    }
    if (!header.snapChildren.has(snap.id)) return snap;
    snap.namespace = { type: 'trash', originalName: name, originalType: 0 };
    snap.name = randomUUID();
    setOperation(header, opFeature.snapTrash, true);
    return null;
  });
  if (trimId === null) onProgress?.(1, 1);
  else await trim(writing.opened, writing.writer, trimId, onProgress);
  return leftParent;
}

/** Snapshots in the trash whose last clone has left. */
export async function dropOrphans(writing: Writing): Promise<void> {
  const { opened, writer } = writing;
  if (orphansOf(loadHeader(opened.store, opened.image)).length === 0) return;
  for (;;) {
    const { trimId } = takeOut(writing, (header) => orphansOf(header)[0] ?? null);
    if (trimId === null) return;
    await trim(opened, writer, trimId);
  }
}

export const orphansOf = (header: RbdHeader): SnapshotRecord[] =>
  header.snapshots.filter((snap) => snap.namespace.type === 'trash' && !header.snapChildren.has(snap.id));

/**
 * Takes out of the header the snapshot that `choose` names, in the transaction in which it is chosen: others may make
 * clones of it. What objects still have of it is to be trimmed.
 */
function takeOut(
  { opened: { store, image }, maps, change }: Writing,
  choose: (header: RbdHeader) => SnapshotRecord | null,
): { trimId: number | null; leftParent: boolean } {
  let trimId: number | null = null;
  let leftParent = false;
  change((header) => {
    const id = choose(header)?.id ?? null;
    trimId = id;
    if (id === null) return;
    header.snapshots = header.snapshots.filter((snap) => snap.id !== id);
    const newer = header.snapshots.find((snap) => snap.id > id)?.id ?? null;
    if (maps.kept) {
      mergeRemovedMap(store, mapKey(image, id), mapKey(image, newer));
      removeMap(store, mapKey(image, id));
    }
    const hasTrash = header.snapshots.some((snap) => snap.namespace.type === 'trash');
    setOperation(header, opFeature.snapTrash, hasTrash);
    leftParent = forgetParent(store, image, header);
    noteTrim(store, image, id);
  }, 'frees');
  return { trimId, leftParent };
}

export function renameSnapshot({ opened, change }: Writing, name: string, to: string): void {
  checkName(to);
  change((header) => {
    const snap = findSnapshot(header, opened.image, name);
    checkFree(header, opened.image, to);
    snap.name = to;
  });
}

/** As rbd: to protect what is protected is `busy`, to unprotect what is not is `invalid`. */
export function setProtection({ opened, change }: Writing, name: string, wanted: boolean): void {
  const { store, image } = opened;
  change((header) => {
    const snap = findSnapshot(header, image, name);
    if ((snap.protection === 'protected') === wanted) {
      const message = `snapshot '${printable(name)}' of '${printable(image.name)}' is ${wanted ? 'already' : 'not'} protected`;
      throw new RbdeltaError(wanted ? 'busy' : 'invalid', message);
    }
    if (!wanted) checkNoOldChildren(store, image, snap);
    snap.protection = wanted ? 'protected' : 'unprotected';
  });
}

export function limitSnapshots({ opened, change }: Writing, most: number | null): void {
  change((header) => {
    const count = header.snapshots.length;
    if (most !== null && count > most) {
      const message = `image '${printable(opened.image.name)}' has ${counted(count, 'snapshot')}, more than ${most}`;
      throw new RbdeltaError('range', message, { hint: 'remove some first, or set a higher limit' });
    }
    header.snapLimit = most;
  });
}

function checkName(name: string): void {
  const bytes = nameToBytes(name).length;
  if (bytes > 0 && bytes <= snapNameBytes && !name.includes('\0')) return;
  const why = `has 1 to ${snapNameBytes} bytes, none of them 0, and '${printable(name)}' has ${bytes}`;
  throw new RbdeltaError('invalid', `the name of a snapshot ${why}`);
}

function checkFree(header: RbdHeader, image: { name: string }, name: string): void {
  if (!header.snapshots.some((snap) => snap.name === name)) return;
  throw new RbdeltaError('exists', `image '${printable(image.name)}' already has a snapshot '${printable(name)}'`);
}
