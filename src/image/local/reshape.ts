// What changes many objects of an image at once, all or none: a new size, a rollback. New files first, then one transaction.

import { geometryOf, objectCount } from '../../diff/striping.ts';
import { EXISTS, NONEXISTENT } from '../../format/object-map.ts';
import type { RbdHeader, SnapshotRecord } from '../../format/rbd-header.ts';
import type { Progress } from '../port.ts';
import { growthByCopy, growthTo } from './growth.ts';
import { loadHeader } from './header.ts';
import { ImageMaps } from './image-maps.ts';
import { mapKey, resizeMap } from './object-maps.ts';
import { objectBytesBefore } from './objects.ts';
import { add, type Amount, nothing } from './quota.ts';
import type { Writing } from './writing.ts';
import { inParallel } from './parallel.ts';
import { beforeChange, type DataObject, rolledBack } from './snapset.ts';
import { objectsAtOnce } from './writer.ts';

interface ObjectChange {
  /** With every file that the object had or that was made for it on the way. */
  before: DataObject;
  after: DataObject | null;
  /** Snapshots that were given a copy of what they show of the parent. */
  copiedFor: readonly number[];
}

type ObjectChanges = Map<number, ObjectChange>;

const none: DataObject = { seq: 0, head: null, clones: [] };
const unlessGone = (object: DataObject): DataObject | null =>
  object.head === null && object.clones.length === 0 ? null : object;

export async function resize(writing: Writing, size: number, onProgress?: Progress): Promise<void> {
  const { store, image } = writing.opened;
  const header = loadHeader(store, image);
  if (size === header.size) return;
  const changes: ObjectChanges = new Map();
  const cuts = size < header.size ? cutsOf(writing, header, size) : [];
  const growth = async () => {
    let sum = nothing;
    for (const cut of cuts) sum = add(sum, await growthByCut(writing, cut));
    return sum;
  };
  await writing.writer.admit(growth, () =>
    undoneOnFailure(writing, changes, async () => {
      await cutObjects(writing, cuts, changes, onProgress);
      await replace(writing, size, changes);
    }),
  );
}

/** The overlap with a parent shrinks with the size, and a rollback does not bring it back: so it is in RBD. */
export async function rollBack(writing: Writing, snap: SnapshotRecord, onProgress?: Progress): Promise<void> {
  const { opened, writer } = writing;
  const all = [...opened.objects.range(0, Number.MAX_SAFE_INTEGER)];
  const changes: ObjectChanges = new Map();
  let done = 0;
  await inParallel(all, objectsAtOnce, async ([objectNo, object]) => {
    const bytes = snap.id > object.seq ? 0 : await writer.headBytes(objectNo, object);
    const after = rolledBack(object, snap.id, writer.context, bytes);
    if (after !== object) changes.set(objectNo, { before: object, after: unlessGone(after), copiedFor: [] });
    onProgress?.(++done, all.length);
  });
  await replace(writing, snap.size, changes);
}

/** An object that reaches past the new end, or shows something of a parent there. */
interface Cut {
  objectNo: number;
  object: DataObject;
  /** Bytes of it that stay; null: all of it goes. */
  kept: number | null;
}

function cutsOf({ opened }: Writing, header: RbdHeader, size: number): Cut[] {
  const { objects, parent } = opened;
  const after = geometryOf(header, size);
  const keep = objectCount(after);
  const first = Math.floor(size / (after.objectBytes * after.stripeCount)) * after.stripeCount;
  const end = objectCount(geometryOf(header));
  const affected = new Map([...objects.range(first, end)].filter(([, { head }]) => head !== null));
  const keptBytes = (objectNo: number) => (objectNo < keep ? objectBytesBefore(after, objectNo, size) : 0);
  const hasSnapshots = header.snapshots.length > 0;
  for (let objectNo = first; objectNo < end && (parent?.covered(after, objectNo) ?? 0) > 0; objectNo += 1) {
    if (affected.has(objectNo) || !(hasSnapshots || keptBytes(objectNo) > 0)) continue;
    affected.set(objectNo, objects.get(objectNo) ?? none);
  }
  return [...affected]
    .map(([objectNo, object]) => ({ objectNo, object, kept: objectNo < keep ? keptBytes(objectNo) : null }))
    .filter(({ kept }) => kept !== after.objectBytes);
}

async function growthByCut({ opened, writer }: Writing, { objectNo, object, kept }: Cut): Promise<Amount> {
  if (kept === null) return growthByCopy(opened, objectNo, object);
  const headBytes = await writer.headBytes(objectNo, object);
  return growthTo(opened, writer.context, { objectNo, object, headBytes, bytes: kept });
}

/** What is past the new end goes. What only showed through there, snapshots still see: they are given a copy of it. */
async function cutObjects(
  { writer }: Writing,
  cuts: readonly Cut[],
  changes: ObjectChanges,
  onProgress?: Progress,
): Promise<void> {
  let done = 0;
  await inParallel(cuts, objectsAtOnce, async ({ objectNo, object, kept }) => {
    onProgress?.(++done, cuts.length);
    const copied = await writer.copyOfParent(objectNo, object);
    if (object.head === null && copied === null && (kept ?? 0) === 0) return;
    const before = copied === null ? object : { ...object, head: copied.file };
    const copiedFor = copied?.snaps ?? [];
    changes.set(objectNo, { before, after: before, copiedFor });
    const bytes = copied?.bytes ?? (await writer.headBytes(objectNo, object));
    const cut = (kept ?? 0) < bytes ? [kept ?? 0, bytes - (kept ?? 0)] : [];
    const head = kept === null ? null : await writer.cutCopy(objectNo, before.head, kept);
    const changed = { ...beforeChange(before, writer.context, bytes, cut), head };
    changes.set(objectNo, { before, after: unlessGone(changed), copiedFor });
  });
}

/** Gives the image a new size and objects new records, all in one; then removes the files that no record names. */
async function replace({ opened, writer, maps, change }: Writing, size: number, changes: ObjectChanges): Promise<void> {
  const { store, image, objects } = opened;
  change((header) => {
    header.size = size;
    if (header.parent !== null && header.parent.overlap !== null) {
      header.parent.overlap = Math.min(header.parent.overlap, size);
    }
    for (const [objectNo, { after }] of changes) void objects.put(objectNo, after);
    if (!maps.kept) return;
    const count = objectCount(geometryOf(header, size));
    resizeMap(store, mapKey(image, null), count);
    const states = new ImageMaps(store, image, header);
    for (const [objectNo, { after, copiedFor }] of changes) {
      const state = after?.head == null || objectNo >= count ? NONEXISTENT : EXISTS;
      void states.put(objectNo, state, copiedFor);
    }
  });
  await inParallel([...changes], objectsAtOnce, ([objectNo, { before, after }]) =>
    writer.drop(objectNo, before, after),
  );
}

/** When nothing was recorded, the new files go and the old ones stay. */
async function undoneOnFailure({ opened, writer }: Writing, changes: ObjectChanges, action: () => Promise<void>) {
  try {
    await action();
  } catch (error) {
    for (const [objectNo, { before, after }] of changes) {
      const stored = opened.objects.get(objectNo);
      await writer.drop(objectNo, before, stored);
      await writer.drop(objectNo, after, stored);
    }
    throw error;
  }
}
