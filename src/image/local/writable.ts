// An image of the local pool, opened to write: who may do what at one time. What each does is in other files.

import { printable } from '../../bytes/text.ts';
import { geometryOf, objectCount } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import { headerValue, type ParentSpec, utimeFromMs, utimeToMs } from '../../format/rbd-header.ts';
import type { ClusterImage } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { refuseLocked } from './advisory-locks.ts';
import { leaveParent } from './clones.ts';
import { findImage, findSnapshot, headerKey, imageById, type ImageRef, loadHeader } from './header.ts';
import { checkRange, closeParts, openParts, readingPart } from './image.ts';
import { lockImage } from './lock.ts';
import { checkObjectMap, rebuildObjectMap } from './map-check.ts';
import { checkObjectCount } from './object-maps.ts';
import { objectsOf } from './objects.ts';
import { inParallel } from './parallel.ts';
import { resize, rollBack } from './reshape.ts';
import {
  createSnapshot,
  dropOrphans,
  limitSnapshots,
  orphansOf,
  removeSnapshot,
  renameSnapshot,
  setProtection,
} from './snapshots.ts';
import type { Store } from './store.ts';
import { resumeTrims } from './trim.ts';
import { Turns } from './turns.ts';
import { settleUnflushed } from './unflushed.ts';
import { objectsAtOnce } from './writer.ts';
import { startWriting, type Writing } from './writing.ts';

/** rbd's own: the header's time of modification is not renewed sooner. */
const modifiedEveryMs = 60_000;

export const openToWrite = (store: Store, spec: ImageSpec): Promise<ClusterImage> =>
  openFoundToWrite(store, () => findImage(store, spec));

async function openFoundToWrite(store: Store, find: () => ImageRef): Promise<ClusterImage> {
  const lock = lockImage(store, find);
  try {
    refuseLocked(store, lock.image);
    const writing = startWriting(openParts(store, lock.image, null, true), lock.session);
    await settleUnflushed(writing.opened);
    await resumeTrims(writing.opened, writing.writer);
    await dropOrphans(writing);
    return writable(writing, () => lock.release());
  } catch (error) {
    lock.release();
    throw error;
  }
}

/**
 * Removes the snapshots of a parent that are in the trash and have lost their last clone. A parent that somebody else
 * has open, or has locked, keeps them until it is opened to write again; or somebody has removed it by now.
 */
export async function tidyParent(store: Store, { pool, namespace, imageId }: ParentSpec): Promise<void> {
  const known = { poolId: pool, namespace, id: imageId, name: '' };
  if (!store.omap.doesExist(headerKey(known, 'size')) || orphansOf(loadHeader(store, known)).length === 0) return;
  try {
    await (await openFoundToWrite(store, () => imageById(store, pool, namespace, imageId))).close();
  } catch (error) {
    if (!(error instanceof RbdeltaError && ['busy', 'readOnly', 'notFound'].includes(error.code))) throw error;
  }
}

function writable(writing: Writing, release: () => void): ClusterImage {
  const { opened, writer, maps, change } = writing;
  const { store, image } = opened;
  /** Reads and writes of data share it; what changes size or snapshots has it alone. */
  const gate = new Turns<'image'>();
  let modifiedMs = loadHeader(store, image).modified;
  let closing: Promise<void> | null = null;
  /** Looked at in one's turn: what was called before `close` still runs, what comes after it is refused. */
  let closed = false;

  const flush = () => writer.flush();
  const touch = async () => {
    const now = Date.now();
    if (modifiedMs !== null && now - utimeToMs(modifiedMs) < modifiedEveryMs) return;
    modifiedMs = utimeFromMs(now);
    const value = headerValue.modify_timestamp.encode(modifiedMs);
    await store.commit(() => [store.omap.put(headerKey(image, 'modify_timestamp'), value)]);
  };
  const whileOpen = (action: () => Promise<void>) => async () => {
    if (closed) throw new TypeError(`image '${printable(image.name)}' is closed`);
    await action();
  };
  const shared = (action: () => Promise<void>): Promise<void> => gate.shared('image', whileOpen(action));
  const alone = (action: () => Promise<void>): Promise<void> => gate.alone('image', whileOpen(action));

  /** The parent, when `action` made the image leave it. */
  const thenTidy = async (action: () => Promise<boolean> | boolean) => {
    const { parent } = loadHeader(store, image);
    if ((await action()) && parent !== null) await tidyParent(store, parent);
  };

  return {
    ...readingPart(opened),
    write: (offset, data) =>
      shared(async () => {
        checkRange(opened, offset, data.length);
        if (data.length === 0) return;
        await touch();
        await writer.write(opened.geometry, offset, data);
      }),
    writeZeroes: (offset, length) =>
      shared(async () => {
        checkRange(opened, offset, length);
        if (length === 0) return;
        await touch();
        await writer.zero(opened.geometry, { offset, length });
      }),
    flush: () => shared(flush),
    resize: (size, onProgress) =>
      alone(async () => {
        if (maps.kept) checkObjectCount(objectCount(geometryOf(loadHeader(store, image), size)));
        await resize(writing, size, onProgress);
        onProgress?.(1, 1);
      }),
    createSnapshot: (name) =>
      alone(async () => {
        await flush();
        createSnapshot(writing, name);
      }),
    removeSnapshot: (name, onProgress) => alone(() => thenTidy(() => removeSnapshot(writing, name, onProgress))),
    renameSnapshot: (name, to) => alone(async () => renameSnapshot(writing, name, to)),
    protectSnapshot: (name) => alone(async () => setProtection(writing, name, true)),
    unprotectSnapshot: (name) => alone(async () => setProtection(writing, name, false)),
    limitSnapshots: (most) => alone(async () => limitSnapshots(writing, most)),
    rollback: (name, onProgress) =>
      alone(async () => {
        await flush();
        await rollBack(writing, findSnapshot(loadHeader(store, image), image, name), onProgress);
      }),
    async flatten(onProgress) {
      if ((loadHeader(store, image).parent?.overlap ?? null) === null) {
        throw new RbdeltaError('invalid', `image '${printable(image.name)}' has no parent`);
      }
      for (let next = 0, end = Number.POSITIVE_INFINITY; next < end; next += objectsAtOnce) {
        // others may write, and resize, between two turns
        await shared(async () => {
          end = objectsOf(opened.geometry, { offset: 0, length: opened.parent?.link()?.overlap ?? 0 })[1];
          const count = Math.max(0, Math.min(objectsAtOnce, end - next));
          await inParallel(
            Array.from({ length: count }, (_, i) => next + i),
            objectsAtOnce,
            (objectNo) => writer.copyUp(objectNo),
          );
          onProgress?.(Math.min(end, next + count), Math.max(1, end));
        });
      }
      await alone(() =>
        thenTidy(() => {
          let left = false;
          change((header) => {
            left = leaveParent(store, image, header);
          });
          return left;
        }),
      );
    },
    checkObjectMap: async (snap, onProgress) => {
      let wrong = 0;
      await alone(async () => {
        wrong = checkObjectMap(writing, snap);
        onProgress?.(1, 1);
      });
      return wrong;
    },
    rebuildObjectMap: (snap, onProgress) =>
      alone(async () => {
        rebuildObjectMap(writing, snap);
        onProgress?.(1, 1);
      }),
    close() {
      closing ??= gate.alone('image', async () => {
        closed = true;
        try {
          await flush();
        } finally {
          await closeParts(opened);
          release();
        }
      });
      return closing;
    },
  };
}
