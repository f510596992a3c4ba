// What is known of one data object: its head, its clones and which snapshots they serve, as `rados listsnaps` tells it.

/** Ranges of bytes in an object, ascending and apart: offset, length, offset, length, … */
export type Ranges = number[];

/** An older content of an object, which snapshots still need. */
export interface Clone {
  /** The newest snapshot id that was known when the clone was made. */
  id: number;
  /** Ids of the snapshots that it serves, rising. */
  snaps: number[];
  size: number;
  /** What is certain to be the same in the next newer clone, or in the head. */
  overlap: Ranges;
  file: string;
}

/** Files are named by what never comes again, so a name in a record always means the same content or a later state of it. */
export interface DataObject {
  /** The newest snapshot id that was known at the last write: the head serves all later snapshots. */
  seq: number;
  /** The file with the present content; null when the object was removed and only clones are left. */
  head: string | null;
  /** By rising id. */
  clones: Clone[];
}

/** The snapshots that a write must keep the bytes for. */
export interface SnapContext {
  /** The newest id ever given to the image. */
  seq: number;
  /** Ids of existing snapshots, rising. */
  snaps: number[];
}

/** The file that serves a snapshot (null: the head), and its size where the record tells it; null: no object there. */
export function versionAt(object: DataObject, snap: number | null): { file: string; size: number | null } | null {
  if (snap === null || snap > object.seq) return object.head === null ? null : { file: object.head, size: null };
  for (const clone of object.clones) {
    if (clone.id >= snap) return clone.snaps.includes(snap) ? { file: clone.file, size: clone.size } : null;
  }
  return null;
}

/** The first of the versions (null: the head) that share the content with this one; undefined: there is no object. */
export function firstOfVersion(
  object: DataObject,
  snap: number | null,
  snaps: readonly number[],
): number | null | undefined {
  if (versionAt(object, snap) === null) return undefined;
  if (snap === null || snap > object.seq) return snaps.find((id) => id > object.seq) ?? null;
  return object.clones.find((clone) => clone.id >= snap)?.snaps[0];
}

/** Whether the head's file may be written in place: no snapshot and no clone needs what is in it. */
export const isHeadOwn = (object: DataObject, context: SnapContext): boolean =>
  object.head !== null && !snapsSince(object, context) && object.clones.every((clone) => clone.file !== object.head);

/**
 * The object as it must be recorded before its head (of `headSize` bytes) changes in `modified`: with a clone of the
 * head where snapshots need one, and with the newest clone's overlap without what changes.
 */
export function beforeChange(object: DataObject, context: SnapContext, headSize: number, modified: Ranges): DataObject {
  const clones = [...object.clones];
  if (object.head !== null && snapsSince(object, context)) {
    const snaps = context.snaps.filter((snap) => snap > object.seq);
    const overlap = headSize === 0 ? [] : [0, headSize];
    clones.push({ id: context.seq, snaps, size: headSize, overlap, file: object.head });
  }
  const newest = clones.at(-1);
  if (newest !== undefined && touches(newest.overlap, modified)) {
    clones[clones.length - 1] = { ...newest, overlap: subtract(newest.overlap, modified) };
  }
  return { seq: Math.max(object.seq, context.seq), head: object.head, clones };
}

/** Whether a change of `modified` takes something from the newest clone's overlap. */
export const changesOverlap = (object: DataObject, modified: Ranges): boolean =>
  touches(object.clones.at(-1)?.overlap ?? [], modified);

/**
 * The object after its head (of `headSize` bytes, 0 without one) was made equal to a snapshot; the head then shares the
 * clone's file, until it is written. The same object when the head serves that snapshot.
 */
export function rolledBack(object: DataObject, snap: number, context: SnapContext, headSize: number): DataObject {
  if (snap > object.seq) return object;
  const target = object.clones.find((clone) => clone.id >= snap && clone.snaps.includes(snap));
  if (target === undefined) {
    return object.head === null ? object : { ...beforeChange(object, context, headSize, [0, headSize]), head: null };
  }
  let same: Ranges = target.overlap;
  for (const clone of object.clones) if (clone.id > target.id) same = intersect(same, clone.overlap);
  const modified = subtract([0, Math.max(headSize, target.size)], same);
  return { ...beforeChange(object, context, headSize, modified), head: target.file };
}

/** The object without a removed snapshot: clones that serve no snapshot are gone. Null when nothing is left of it. */
export function withoutSnap(object: DataObject, snap: number): DataObject | null {
  const at = object.clones.findIndex((clone) => clone.snaps.includes(snap));
  if (at === -1) return object;
  const clones = [...object.clones];
  const clone = clones[at]!;
  const snaps = clone.snaps.filter((id) => id !== snap);
  if (snaps.length > 0) {
    clones[at] = { ...clone, snaps };
    return { ...object, clones };
  }
  const older = clones[at - 1];
  if (older !== undefined) clones[at - 1] = { ...older, overlap: intersect(older.overlap, clone.overlap) };
  clones.splice(at, 1);
  return clones.length === 0 && object.head === null ? null : { ...object, clones };
}

/** The names of all files that the record holds. */
export const filesOf = (object: DataObject | null | undefined): Set<string> =>
  new Set(object == null ? [] : [...(object.head === null ? [] : [object.head]), ...object.clones.map((c) => c.file)]);

/**
 * Where the object differs between the ids `from` (0: the beginning of time) and `to` (null: the head), as librbd reads
 * it from a list of clones: from each content to the next newer one, all but their overlap has changed, as far as the
 * longer of them reaches; where there was no object at `from`, the first content after it counts as a whole. Of what
 * changed, `zero` is what is beyond the end of the content at `to` where the one at `from` was longer, and `data` the rest:
 * also beyond that end, where a content between the two was longer than both. An object that is gone at `to` is `zero` as
 * far as it reached at `from`. An empty object hides the `covered` bytes of a parent: zeros, but from the beginning of time,
 * where librbd reports nothing of it, as of an object that is not there.
 */
export function changedBetween(
  object: DataObject,
  from: number,
  to: number | null,
  headSize: number,
  covered = 0,
): { data: Ranges; zero: Ranges } {
  const end = to ?? Number.MAX_SAFE_INTEGER;
  const steps = object.clones.map((clone) => ({
    first: clone.snaps[0] ?? clone.id,
    last: clone.snaps.at(-1) ?? clone.id,
    size: clone.size,
    overlap: clone.overlap,
  }));
  if (object.head !== null) {
    steps.push({ first: object.seq + 1, last: Number.MAX_SAFE_INTEGER, size: headSize, overlap: [] });
  }
  const later = steps.filter((step) => step.last >= from);
  const start = later[0];
  const startSize = start !== undefined && start.first <= from && from > 0 ? start.size : 0;
  const endStep = later.find((step) => step.first <= end && end <= step.last);
  const endSize = endStep?.size ?? 0;
  if (endStep === undefined) return { data: [], zero: startSize === 0 ? [] : [0, startSize] };
  if (endSize === 0 && startSize === 0 && covered > 0 && from > 0) return { data: [], zero: [0, covered] };
  let changed: Ranges = [];
  if (start !== undefined && startSize === 0) changed = union(changed, [0, start.size]);
  for (const [i, step] of later.entries()) {
    if (step === endStep) break;
    const longest = Math.max(step.size, later[i + 1]?.size ?? 0);
    changed = union(changed, subtract([0, longest], step.overlap));
  }
  const cut = startSize > endSize ? [endSize, startSize - endSize] : [];
  return { data: subtract(changed, cut), zero: intersect(changed, cut) };
}

/** Whether one content serves both ids, so that nothing can have changed; what `changedBetween` need not be asked. */
export function isUnchanged(object: DataObject, from: number, to: number | null): boolean {
  return from !== 0 && serving(object, from) === serving(object, to);
}

function serving(object: DataObject, snap: number | null): DataObject | Clone | undefined {
  if (snap === null || snap > object.seq) return object;
  return object.clones.find((clone) => clone.snaps.includes(snap));
}

/** Whether the head's size matters to what changed up to `to`. */
export const needsHeadSize = (object: DataObject, to: number | null): boolean =>
  object.head !== null && (to === null || to > object.seq);

/** Whether there are snapshots that the head still serves. */
export const snapsSince = (object: DataObject, context: SnapContext): boolean =>
  (context.snaps.at(-1) ?? 0) > object.seq;

function touches(ranges: Ranges, others: Ranges): boolean {
  return intersect(ranges, others).length > 0;
}

/** What is in both. */
export function intersect(left: Ranges, right: Ranges): Ranges {
  const result: Ranges = [];
  for (let i = 0, j = 0; i < left.length && j < right.length; ) {
    const leftEnd = left[i]! + left[i + 1]!;
    const rightEnd = right[j]! + right[j + 1]!;
    const start = Math.max(left[i]!, right[j]!);
    const end = Math.min(leftEnd, rightEnd);
    if (start < end) result.push(start, end - start);
    if (leftEnd < rightEnd) i += 2;
    else j += 2;
  }
  return result;
}

/** What is in `left` and not in `right`. */
export function subtract(left: Ranges, right: Ranges): Ranges {
  const result: Ranges = [];
  let j = 0;
  for (let i = 0; i < left.length; i += 2) {
    let start = left[i]!;
    const end = start + left[i + 1]!;
    while (j < right.length && right[j]! + right[j + 1]! <= start) j += 2;
    for (let k = j; k < right.length && right[k]! < end; k += 2) {
      if (right[k]! > start) result.push(start, right[k]! - start);
      start = Math.max(start, right[k]! + right[k + 1]!);
    }
    if (start < end) result.push(start, end - start);
  }
  return result;
}

/** What is in one of them, neighbours joined. */
export function union(left: Ranges, right: Ranges): Ranges {
  const starts: { offset: number; length: number }[] = [];
  for (const ranges of [left, right]) {
    for (let i = 0; i < ranges.length; i += 2) starts.push({ offset: ranges[i]!, length: ranges[i + 1]! });
  }
  starts.sort((a, b) => a.offset - b.offset);
  const result: Ranges = [];
  for (const { offset, length } of starts) {
    if (length === 0) continue;
    const last = result.length - 2;
    if (last >= 0 && result[last]! + result[last + 1]! >= offset) {
      result[last + 1] = Math.max(result[last + 1]!, offset + length - result[last]!);
    } else {
      result.push(offset, length);
    }
  }
  return result;
}
