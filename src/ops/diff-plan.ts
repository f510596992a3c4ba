// What a diff is between, and whether object maps can tell it: decided before anything is read.

import { printable } from '../bytes/text.ts';
import { type Extent, intersection } from '../diff/extent.ts';
import type { ObjectFold } from '../diff/fold.ts';
import { objectsOf } from '../diff/runs.ts';
import { type Geometry, geometryOf } from '../diff/striping.ts';
import { RbdeltaError } from '../error.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';
import { foldMaps } from './fold-maps.ts';

export interface PlanOptions {
  /** Name of a user snapshot; null is the beginning of time. */
  fromSnap: string | null;
  /** Report whole objects, as `rbd diff --whole-object` does. */
  wholeObject?: boolean;
  /** Only this part of the image; its end may lie past the end of the image. */
  range?: Extent;
  /** Told, in one sentence, why object maps cannot be used and the slower exact listing is. */
  onNotice?: (text: string) => void;
  signal?: AbortSignal;
}

export interface DiffPlan {
  /** The version that was opened: the end of the diff. */
  info: ImageInfo;
  geometry: Geometry;
  from: Snapshot | null;
  /** Clipped to the size. */
  range: Extent;
  wholeObject: boolean;
  /** `same`: start and end are one snapshot. `maps`: object maps tell. `listing`: every object has to be asked. */
  method: 'same' | 'maps' | 'listing';
  /** What the maps tell; null unless that is the method. */
  objects: ObjectFold | null;
  /** Of a clone: what shows the parent at one end and not at the other. Its length may be 0. */
  movedOverlap: Extent;
  onNotice: (text: string) => void;
  signal: AbortSignal | undefined;
}

/**
 * Plans the diff from a snapshot (or the beginning of time) to the version that `image` is opened at. 'notFound' where
 * there is no such snapshot; 'invalid' where it is newer than the end, or the range starts past the end of the image.
 * Reads the header and the object maps. Memory: two bits an object, and one map while it is folded.
 */
export const planDiff = async (image: Image, options: PlanOptions, attempt = 1): Promise<DiffPlan> => {
  options.signal?.throwIfAborted();
  const info = await image.info();
  const from = options.fromSnap === null ? null : findSnapshot(info, options.fromSnap);
  if (from !== null) checkOrder(info, from);
  const plan: DiffPlan = {
    info,
    geometry: geometryOf(info),
    from,
    range: clippedRange(info.size, options.range),
    wholeObject: options.wholeObject ?? false,
    method: 'same',
    objects: null,
    movedOverlap: movedOverlap(info, from),
    onNotice: options.onNotice ?? (() => {}),
    signal: options.signal,
  };
  if (from !== null && from.id === info.snapshot?.id) return plan;
  const folded = await foldMaps(image, info, from);
  if (folded.outcome === 'maps') {
    markMoved(plan, folded.fold);
    return { ...plan, method: 'maps', objects: folded.fold };
  }
  if (folded.outcome === 'changed' && attempt < attempts) return planDiff(image, options, attempt + 1);
  const reason = folded.outcome === 'changed' ? 'snapshots keep coming and going' : folded.reason;
  if (reason !== null) plan.onNotice(`${reason}: every object is asked for its changes instead, which takes longer`);
  return { ...plan, method: 'listing' };
};

/** How often a plan is made anew since snapshots came or went meanwhile. */
const attempts = 5;

/**
 * What the clone has no data for shows the parent at one end, zeros at the other: no map tells of it. Objects at the
 * borders are partly outside, where nothing may have happened to them.
 */
const markMoved = ({ geometry, movedOverlap }: DiffPlan, fold: ObjectFold): void => {
  if (movedOverlap.length === 0) return;
  const { first, end } = objectsOf(geometry, movedOverlap);
  fold.markHoles(first, end);
  for (const offset of [movedOverlap.offset, movedOverlap.offset + movedOverlap.length - 1]) {
    const border = objectsOf(geometry, { offset, length: 1 });
    fold.markChanged(border.first, border.end);
  }
};

/** As the user wrote it, for messages. */
export const nameOf = (info: ImageInfo): string => {
  const space = info.namespace === '' ? '' : `${info.namespace}/`;
  return printable(info.pool === '' ? info.name : `${info.pool}/${space}${info.name}`);
};

const findSnapshot = (info: ImageInfo, name: string): Snapshot => {
  const found = info.snapshots.find((snapshot) => snapshot.namespace === 'user' && snapshot.name === name);
  if (found !== undefined) return found;
  const other = info.snapshots.find((snapshot) => snapshot.name === name);
  const names = info.snapshots.filter(({ namespace }) => namespace === 'user').map((snapshot) => snapshot.name);
  const known = names.slice(-8).map(printable).join(', ');
  throw new RbdeltaError('notFound', `${nameOf(info)} has no snapshot "${printable(name)}" to start from`, {
    hint:
      other !== undefined
        ? `there is one of that name, but it belongs to a ${other.namespace} and cannot be used by name`
        : names.length === 0
          ? 'it has none at all: a diff without --from-snap is a full'
          : `its ${names.length > 8 ? 'newest ' : ''}snapshots: ${known}`,
  });
};

/** Ids decide, not names or times: so it is in RBD. */
const checkOrder = (info: ImageInfo, from: Snapshot): void => {
  const end = info.snapshot;
  if (end === null || from.id <= end.id) return;
  throw new RbdeltaError(
    'invalid',
    `snapshot "${printable(from.name)}" (id ${from.id}) of ${nameOf(info)} is newer than "${printable(end.name)}" (id ${end.id}), where the diff would end`,
    { hint: 'a diff leads from the older to the newer one: exchange them' },
  );
};

const clippedRange = (size: number, range: Extent | undefined): Extent => {
  if (range === undefined) return { offset: 0, length: size };
  if (range.offset >= size && range.offset > 0) {
    throw new RbdeltaError('invalid', `the offset ${range.offset} is not inside the image, which has ${size} bytes`);
  }
  return intersection(range, { offset: 0, length: size });
};

/** A shrink or a flatten takes the parent away, a rollback brings it back; nothing else records it. */
const movedOverlap = (info: ImageInfo, from: Snapshot | null): Extent => {
  if (from === null) return { offset: 0, length: 0 };
  const then = Math.min(from.parentOverlap ?? 0, info.size);
  const now = Math.min(info.parent?.overlap ?? 0, info.size);
  return { offset: Math.min(then, now), length: Math.abs(then - now) };
};

/** What of the version still shows the parent where the clone has no data. */
export const parentOverlap = (plan: DiffPlan): number => Math.min(plan.info.parent?.overlap ?? 0, plan.info.size);
