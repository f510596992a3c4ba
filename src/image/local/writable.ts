// An image of the local pool, opened to write: sizes, snapshots, rollback. Each changes the store in one transaction.

import { nameToBytes, printable } from '../../bytes/text.ts';
import { geometryOf, type Geometry, objectCount } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import { EXISTS, NONEXISTENT } from '../../format/object-map.ts';
import { feature, headerValue, type RbdHeader, utimeFromMs, utimeToMs } from '../../format/rbd-header.ts';
import type { Progress, WritableImage } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { findImage, findSnapshot, hasFeature, headerKey, loadHeader, storeHeader } from './header.ts';
import { checkRange, type OpenImage, openParts, readingPart } from './image.ts';
import { lockImage } from './lock.ts';
import {
  checkObjectCount,
  HeadMap,
  mapKey,
  mergeRemovedMap,
  removeMap,
  resizeMap,
  snapshotMap,
} from './object-maps.ts';
import { objectBytesBefore } from './objects.ts';
import { inParallel } from './parallel.ts';
import { nextSnapId } from './pools.ts';
import { beforeChange, type DataObject, rolledBack, type SnapContext } from './snapset.ts';
import type { Store } from './store.ts';
import { noteTrim, resumeTrims, trim } from './trim.ts';
import { Turns } from './turns.ts';
import { objectsAtOnce, ObjectWriter } from './writer.ts';

/** rbd's own: the header's time of modification is not renewed sooner. */
const modifiedEveryMs = 60_000;
const snapNameBytes = 4096;

export async function openToWrite(store: Store, spec: ImageSpec): Promise<WritableImage> {
  const image = findImage(store, spec);
  const lock = lockImage(store, image);
  try {
    const opened = openParts(store, image, null, true);
    const header = loadHeader(store, image);
    const keepsMap = hasFeature(header, feature.objectMap);
    const map = keepsMap ? new HeadMap(store, mapKey(image, null)) : null;
    const writer = new ObjectWriter(opened, lock.session, map, contextOf(header));
    await resumeTrims(opened, writer);
    return writable({ opened, writer, map, release: () => lock.release() });
  } catch (error) {
    lock.release();
    throw error;
  }
}

interface Parts {
  opened: OpenImage;
  writer: ObjectWriter;
  map: HeadMap | null;
  release: () => void;
}

function writable({ opened, writer, map, release }: Parts): WritableImage {
  const { store, image, files, objects } = opened;
  /** Reads and writes of data share it; what changes size or snapshots has it alone. */
  const gate = new Turns<'image'>();
  let modifiedMs = loadHeader(store, image).modified;
  let closing: Promise<void> | null = null;
  /** Looked at in one's turn: what was called before `close` still runs, what comes after it is refused. */
  let closed = false;

  const flush = async () => {
    await files.syncAll();
    await store.flushed();
  };
  const geometry = (header: RbdHeader, size = header.size): Geometry => geometryOf(header, size);
  const touch = async () => {
    const now = Date.now();
    if (modifiedMs !== null && now - utimeToMs(modifiedMs) < modifiedEveryMs) return;
    modifiedMs = utimeFromMs(now);
    const value = headerValue.modify_timestamp.encode(modifiedMs);
    await store.committed([store.omap.put(headerKey(image, 'modify_timestamp'), value)]);
  };
  /** Changes the header and whatever goes with it in one transaction. */
  const change = (action: (header: RbdHeader) => void) => {
    store.transact(() => {
      const header = loadHeader(store, image);
      action(header);
      storeHeader(store, image, header);
    });
    map?.forget();
    writer.context = contextOf(loadHeader(store, image));
  };
  const whileOpen = (action: () => Promise<void>) => async () => {
    if (closed) throw new TypeError(`image '${printable(image.name)}' is closed`);
    await action();
  };
  const shared = (action: () => Promise<void>): Promise<void> => gate.shared('image', whileOpen(action));
  const alone = (action: () => Promise<void>): Promise<void> => gate.alone('image', whileOpen(action));

  /** Gives the image a new size and objects new records, all in one; then removes the files that no record names. */
  const replaceObjects = async (size: number, changes: Map<number, [DataObject, DataObject | null]>) => {
    const keepsMap = map !== null;
    change((header) => {
      header.size = size;
      for (const [objectNo, [, after]] of changes) void objects.put(objectNo, after);
      if (!keepsMap) return;
      const count = objectCount(geometry(header, size));
      resizeMap(store, mapKey(image, null), count);
      const states = new HeadMap(store, mapKey(image, null));
      for (const [objectNo, [, after]] of changes) {
        if (objectNo < count) void states.set(objectNo, after?.head == null ? NONEXISTENT : EXISTS);
      }
    });
    await inParallel([...changes], objectsAtOnce, ([objectNo, [before, after]]) =>
      writer.drop(objectNo, before, after),
    );
  };

  const shrink = async (header: RbdHeader, size: number, onProgress?: Progress) => {
    const after = geometry(header, size);
    const keep = objectCount(after);
    const firstCut = Math.floor(size / (after.objectBytes * after.stripeCount)) * after.stripeCount;
    const affected = [...objects.range(firstCut, objectCount(geometry(header)))].filter(([, object]) => object.head);
    const changes = new Map<number, [DataObject, DataObject | null]>();
    let done = 0;
    try {
      await inParallel(affected, objectsAtOnce, async ([objectNo, object]) => {
        const bytes = await writer.headBytes(objectNo, object);
        const kept = objectNo < keep ? objectBytesBefore(after, objectNo, size) : 0;
        if (kept === after.objectBytes) return;
        const cut = kept < bytes ? [kept, bytes - kept] : [];
        const before = beforeChange(object, writer.context, bytes, cut);
        const head = objectNo < keep ? await writer.cutCopy(objectNo, object.head ?? '', kept) : null;
        changes.set(objectNo, [object, head === null && before.clones.length === 0 ? null : { ...before, head }]);
        onProgress?.(++done, affected.length);
      });
      await replaceObjects(size, changes);
    } catch (error) {
      // nothing is recorded: the new files go, the old ones stay
      for (const [objectNo, [old, replaced]] of changes) {
        if (objects.get(objectNo)?.head === old.head) await writer.drop(objectNo, replaced, old);
      }
      throw error;
    }
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
        const header = loadHeader(store, image);
        if (map !== null) checkObjectCount(objectCount(geometry(header, size)));
        if (size < header.size) await shrink(header, size, onProgress);
        else if (size > header.size) await replaceObjects(size, new Map());
        onProgress?.(1, 1);
      }),
    createSnapshot: (name) =>
      alone(async () => {
        checkSnapName(name);
        await flush();
        change((header) => {
          if (header.snapshots.some((snap) => snap.name === name)) {
            const message = `image '${printable(image.name)}' already has a snapshot '${printable(name)}'`;
            throw new RbdeltaError('exists', message);
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
            parentOverlap: null,
            parent: null,
          });
          const fastDiff = hasFeature(header, feature.fastDiff);
          if (map !== null) snapshotMap(store, mapKey(image, null), mapKey(image, id), fastDiff);
        });
      }),
    removeSnapshot: (name, onProgress) =>
      alone(async () => {
        let removed = 0;
        change((header) => {
          const { id, protection } = findSnapshot(header, image, name);
          if (protection !== 'unprotected') {
            const message = `snapshot '${printable(name)}' of image '${printable(image.name)}' is protected`;
            throw new RbdeltaError('busy', message, { hint: 'rbdelta snap unprotect' });
          }
          removed = id;
          header.snapshots = header.snapshots.filter((snap) => snap.id !== id);
          const newer = header.snapshots.find((snap) => snap.id > id)?.id ?? null;
          if (map !== null) {
            mergeRemovedMap(store, mapKey(image, id), mapKey(image, newer));
            removeMap(store, mapKey(image, id));
          }
          noteTrim(store, image, id);
        });
        await trim(opened, writer, removed, onProgress);
      }),
    protectSnapshot: (name) => alone(async () => change((header) => setProtection(header, image, name, true))),
    unprotectSnapshot: (name) => alone(async () => change((header) => setProtection(header, image, name, false))),
    rollback: (name, onProgress) =>
      alone(async () => {
        await flush();
        const snap = findSnapshot(loadHeader(store, image), image, name);
        const all = [...objects.range(0, Number.MAX_SAFE_INTEGER)];
        const changes = new Map<number, [DataObject, DataObject | null]>();
        let done = 0;
        await inParallel(all, objectsAtOnce, async ([objectNo, object]) => {
          const bytes = snap.id > object.seq ? 0 : await writer.headBytes(objectNo, object);
          const after = rolledBack(object, snap.id, writer.context, bytes);
          const gone = after.head === null && after.clones.length === 0;
          if (after !== object) changes.set(objectNo, [object, gone ? null : after]);
          onProgress?.(++done, all.length);
        });
        await replaceObjects(snap.size, changes);
      }),
    close() {
      closing ??= gate.alone('image', async () => {
        closed = true;
        try {
          await flush();
        } finally {
          await files.close();
          release();
        }
      });
      return closing;
    },
  };
}

function contextOf(header: RbdHeader): SnapContext {
  return { seq: header.snapSeq, snaps: header.snapshots.map((snap) => snap.id) };
}

function checkSnapName(name: string): void {
  const bytes = nameToBytes(name).length;
  if (bytes > 0 && bytes <= snapNameBytes && !name.includes('\0')) return;
  const why = `has 1 to ${snapNameBytes} bytes, none of them 0, and '${printable(name)}' has ${bytes}`;
  const message = `the name of a snapshot ${why}`;
  throw new RbdeltaError('invalid', message);
}

/** As rbd: to protect what is protected is `busy`, to unprotect what is not is `invalid`. */
function setProtection(header: RbdHeader, image: { name: string }, name: string, wanted: boolean): void {
  const snap = findSnapshot(header, image, name);
  if ((snap.protection === 'protected') === wanted) {
    const message = `snapshot '${printable(name)}' of '${printable(image.name)}' is ${wanted ? 'already' : 'not'} protected`;
    throw new RbdeltaError(wanted ? 'busy' : 'invalid', message);
  }
  snap.protection = wanted ? 'protected' : 'unprotected';
}
