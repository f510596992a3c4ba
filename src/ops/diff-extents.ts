// Which bytes changed: the objects that the maps name are asked for their exact extents, many in one call.

import { mapOrdered } from '../bytes/ordered.ts';
import { printable } from '../bytes/text.ts';
import { type ChangedExtent, type Extent, ExtentList, endOf, intersection } from '../diff/extent.ts';
import type { ObjectRun } from '../diff/fold.ts';
import { extentsOf, objectsOf } from '../diff/runs.ts';
import { objectOf, periodBytes } from '../diff/striping.ts';
import { RbdeltaError } from '../error.ts';
import type { Image } from '../image/port.ts';
import { type DiffPlan, nameOf, parentOverlap, planDiff } from './diff-plan.ts';

/** Calls in flight. */
const calls = 4;
/** A call costs about as much as this many objects inside one: a smaller gap between changed objects is asked as well. */
const gapObjects = 6;
/** So that calls share the work, and what they find stays small. */
const callObjects = 256;
/** Without maps a call is about so much of the image, but about no more than so many objects. */
const listingBytes = 2 ** 30;
const listingObjects = 1024;

/**
 * What `rbd diff` reports, ascending: exact extents, or whole objects if the plan says so. A `zero` extent reads as
 * zeros now: where the parent may show instead, it is called `data`. No data of the image is read. Throws 'notFound'
 * at the end if a snapshot of the plan was removed meanwhile: what was said then is not reliable.
 */
export async function* changedExtents(image: Image, plan: DiffPlan): AsyncGenerator<ChangedExtent, void, undefined> {
  const period = periodBytes(plan.geometry);
  for await (const { extents } of extentLists(image, plan, { zerosExactly: true })) {
    for (const extent of extents) {
      if (!plan.wholeObject) {
        yield extent;
        continue;
      }
      // as rbd: what it reports ends where a period does
      for (let offset = extent.offset; offset < endOf(extent); ) {
        const end = Math.min(endOf(extent), (Math.floor(offset / period) + 1) * period);
        yield { offset, length: end - offset, kind: extent.kind };
        offset = end;
      }
    }
  }
  await checkStillThere(image, plan);
}

/** Extents of a part of the image, and where that part ends: up to there, everything is known. */
export interface FoundExtents {
  extents: ExtentList;
  end: number;
}

/**
 * As `changedExtents`, in lists as they are found. Without `zerosExactly`, the caller reads what is `data`, and objects
 * that need no exact answer are not asked for one: all of a full (whole objects are read as fast), and those that do
 * not exist any more (they are reported whole).
 */
export async function* extentLists(
  image: Image,
  plan: DiffPlan,
  options: { zerosExactly: boolean },
): AsyncGenerator<FoundExtents, void, undefined> {
  yield* mapOrdered(workOf(image, plan, options.zerosExactly), calls, async ({ ask, extent }) => {
    plan.signal?.throwIfAborted();
    const { offset, length } = extent;
    const extents = ask ? await askFor(image, plan, { offset, length }) : new ExtentList();
    if (!ask) extents.push(offset, length, extent.kind);
    return { extents, end: endOf(extent) };
  });
}

/** A snapshot that goes while it is read leaves zeros behind, not an error: so nobody may rely on what was read. */
export const checkStillThere = async (image: Image, plan: DiffPlan): Promise<void> => {
  const info = await image.info();
  for (const snapshot of [plan.from, plan.info.snapshot]) {
    if (snapshot === null || info.snapshots.some(({ id }) => id === snapshot.id)) continue;
    throw new RbdeltaError(
      'notFound',
      `snapshot "${printable(snapshot.name)}" (id ${snapshot.id}) of ${nameOf(plan.info)} was removed while it was being read: the diff is not complete`,
      { hint: 'protect the snapshot, or keep what removes it from running at the same time' },
    );
  }
  if (plan.info.snapshot === null && info.size < plan.info.size) {
    const message = `${nameOf(plan.info)} shrank from ${plan.info.size} to ${info.size} bytes while its head was being read`;
    throw new RbdeltaError('busy', message, { hint: 'read a snapshot: it does not change' });
  }
};

/** A part of the work: `ask` for the exact extents inside, or take the extent as it is. */
interface Work {
  ask: boolean;
  extent: ChangedExtent;
}

async function* workOf(image: Image, plan: DiffPlan, zerosExactly: boolean): AsyncGenerator<Work, void, undefined> {
  if (plan.method === 'same') return;
  if (plan.method === 'listing') {
    yield* listing(plan);
    return;
  }
  const asksNothing = plan.wholeObject || (plan.from === null && !zerosExactly);
  const joined = new JoinedCalls(plan.range, periodBytes(plan.geometry), plan.geometry.objectBytes);
  for await (const candidate of candidates(image, plan)) {
    for (const work of workFor(plan, candidate, zerosExactly)) {
      if (work.ask && !asksNothing) {
        yield* joined.add(work.extent);
      } else {
        yield* joined.flush();
        yield { ...work, ask: false };
      }
    }
  }
  yield* joined.flush();
}

/** The whole range, in parts. */
function* listing(plan: DiffPlan): Generator<Work, void, undefined> {
  const period = periodBytes(plan.geometry);
  const bytes = Math.min(listingBytes, listingObjects * plan.geometry.objectBytes);
  const step = Math.max(1, Math.floor(bytes / period)) * period;
  const moved = wholePeriods(plan, plan.movedOverlap);
  for (let offset = plan.range.offset; offset < endOf(plan.range); ) {
    const end = Math.min((Math.floor(offset / step) + 1) * step, endOf(plan.range));
    const part: ChangedExtent = { offset, length: end - offset, kind: 'data' };
    for (const extent of split(part, [moved.offset, endOf(moved)])) yield { ask: !isIn(moved, extent), extent };
    offset = end;
  }
}

/** What of the candidate has to be asked, and what is to be taken as it is, which never shares a period. */
function* workFor(plan: DiffPlan, candidate: ChangedExtent, zerosExactly: boolean): Generator<Work, void, undefined> {
  if (plan.from === null) {
    yield { ask: true, extent: candidate };
    return;
  }
  const isStriped = plan.geometry.stripeCount > 1;
  const shown = wholePeriods(plan, { offset: 0, length: parentOverlap(plan) });
  const moved = wholePeriods(plan, plan.movedOverlap);
  for (const extent of split(candidate, [endOf(shown), moved.offset, endOf(moved)])) {
    const isZero = extent.kind === 'zero';
    if (isIn(shown, extent) && (isZero || isStriped)) {
      // an object that is gone lets the parent show: after a rollback, for one; an exact answer does not know of it
      yield { ask: false, extent: { ...extent, kind: 'data' } };
    } else if (isIn(moved, extent)) {
      // nor does it know that the parent is gone, or back
      yield { ask: false, extent };
    } else {
      // interleaved objects cannot be told apart by a range: all of them are asked
      yield { ask: !isZero || zerosExactly || isStriped, extent };
    }
  }
}

const wholePeriods = ({ geometry }: DiffPlan, extent: Extent): Extent => {
  if (extent.length === 0) return { offset: 0, length: 0 };
  const period = periodBytes(geometry);
  const offset = Math.floor(extent.offset / period) * period;
  return { offset, length: Math.ceil(endOf(extent) / period) * period - offset };
};

const isIn = (outer: Extent, extent: Extent): boolean => extent.offset >= outer.offset && endOf(extent) <= endOf(outer);

function* split(extent: ChangedExtent, borders: readonly number[]): Generator<ChangedExtent, void, undefined> {
  let offset = extent.offset;
  for (const border of [...borders].sort((a, b) => a - b)) {
    if (border <= offset || border >= endOf(extent)) continue;
    yield { offset, length: border - offset, kind: extent.kind };
    offset = border;
  }
  yield { offset, length: endOf(extent) - offset, kind: extent.kind };
}

/** What may have changed, as the maps tell it. For a full of a clone, what the parent shows counts as well. */
async function* candidates(image: Image, plan: DiffPlan): AsyncGenerator<ChangedExtent, void, undefined> {
  if (plan.objects === null) {
    for await (const { extents } of extentLists(image, plan, { zerosExactly: true })) yield* extents;
    return;
  }
  const { geometry, range } = plan;
  const { first, end } = objectsOf(geometry, range);
  const own = extentsOf(geometry, plan.objects.changed(first, end), range);
  const overlap = parentOverlap(plan);
  if (plan.from === null && overlap > range.offset) yield* union(own, parentsCandidates(image, plan, overlap));
  else yield* own;
}

async function* parentsCandidates(
  image: Image,
  plan: DiffPlan,
  overlap: number,
): AsyncGenerator<ChangedExtent, void, undefined> {
  const parent = await image.parent();
  if (parent === null) {
    const message = `${nameOf(plan.info)} shows ${overlap} bytes of a parent, but its parent cannot be opened`;
    throw new RbdeltaError('notFound', message);
  }
  try {
    const { size } = await parent.info();
    const range = intersection(plan.range, { offset: 0, length: Math.min(overlap, size) });
    if (range.length === 0) return;
    const { onNotice, signal } = plan;
    yield* candidates(parent, await planDiff(parent, { fromSnap: null, range, onNotice, ...(signal && { signal }) }));
  } finally {
    await parent.close();
  }
}

/** Both ascending; only what is data. */
async function* union(
  own: Iterable<ChangedExtent>,
  others: AsyncGenerator<ChangedExtent, void, undefined>,
): AsyncGenerator<ChangedExtent, void, undefined> {
  const iterator = own[Symbol.iterator]();
  let next = iterator.next();
  let last: ChangedExtent | null = null;
  const add = (extent: ChangedExtent): ChangedExtent | null => {
    if (last !== null && extent.offset <= endOf(last)) {
      last.length = Math.max(endOf(last), endOf(extent)) - last.offset;
      return null;
    }
    const done = last;
    last = { ...extent };
    return done;
  };
  for await (const other of others) {
    if (other.kind === 'zero') continue;
    while (next.done !== true && next.value.offset <= other.offset) {
      const done = add(next.value);
      if (done !== null) yield done;
      next = iterator.next();
    }
    const done = add(other);
    if (done !== null) yield done;
  }
  for (; next.done !== true; next = iterator.next()) {
    const done = add(next.value);
    if (done !== null) yield done;
  }
  if (last !== null) yield last;
}

/** Grows a call over what is asked for next as long as that is cheaper than another one. */
class JoinedCalls {
  readonly #range: Extent;
  readonly #period: number;
  readonly #gap: number;
  readonly #most: number;
  #start = 0;
  #end = 0;

  constructor(range: Extent, period: number, objectBytes: number) {
    this.#range = range;
    this.#period = period;
    this.#gap = gapObjects * objectBytes;
    this.#most = Math.max(1, Math.floor((callObjects * objectBytes) / period)) * period;
  }

  /** Extents come ascending; their periods are asked whole. */
  *add(extent: Extent): Generator<Work, void, undefined> {
    const start = Math.floor(extent.offset / this.#period) * this.#period;
    const end = Math.ceil(endOf(extent) / this.#period) * this.#period;
    if (this.#end === this.#start || start - this.#end > this.#gap) {
      yield* this.flush();
      this.#start = Math.max(start, this.#end);
    }
    this.#end = Math.max(end, this.#end);
    while (this.#end - this.#start > this.#most) yield this.#take(this.#start + this.#most);
  }

  *flush(): Generator<Work, void, undefined> {
    if (this.#end > this.#start) yield this.#take(this.#end);
  }

  #take(end: number): Work {
    const extent = intersection({ offset: this.#start, length: end - this.#start }, this.#range);
    this.#start = end;
    return { ask: true, extent: { ...extent, kind: 'data' } };
  }
}

const askFor = async (image: Image, plan: DiffPlan, range: Extent): Promise<ExtentList> => {
  const found = new ExtentList();
  const overlap = parentOverlap(plan);
  await image.changedExtents(plan.from?.name ?? null, range, (offset, length, exists) => {
    const inside = intersection({ offset, length }, range);
    if (inside.length === 0) return;
    const unsure = exists || inside.offset >= overlap || isKnownZero(plan, inside) ? 0 : overlap - inside.offset;
    const kept = Math.min(unsure, inside.length);
    if (kept > 0) found.push(inside.offset, kept, 'data');
    if (kept < inside.length) found.push(inside.offset + kept, inside.length - kept, exists ? 'data' : 'zero');
  });
  return plan.wholeObject ? wholeObjects(plan, range, found) : found;
};

/** An object that exists hides the parent: what it lacks is zero. */
const isKnownZero = (plan: DiffPlan, { offset, length }: Extent): boolean => {
  if (plan.objects === null) return false;
  const object = objectOf(plan.geometry, offset);
  return length <= object.length && plan.objects.exists(object.objectNo);
};

/** Each object that has an extent, whole. One is zero if it begins with zeros and has nothing else. */
const wholeObjects = (plan: DiffPlan, range: Extent, found: ExtentList): ExtentList => {
  const { geometry } = plan;
  const { first, end } = objectsOf(geometry, range);
  const kinds: (ObjectRun['kind'] | null)[] = Array.from({ length: end - first }, () => null);
  for (const { offset, length, kind } of found) {
    for (let at = offset; at < offset + length; ) {
      const part = objectOf(geometry, at);
      const index = part.objectNo - first;
      const startsZero = kind === 'zero' && (part.objectOffset === 0 || kinds[index] === 'zero');
      kinds[index] = startsZero && kinds[index] !== 'data' ? 'zero' : 'data';
      at += part.length;
    }
  }
  const runs = kinds.flatMap((kind, i) => (kind === null ? [] : [{ first: first + i, end: first + i + 1, kind }]));
  const whole = new ExtentList();
  for (const { offset, length, kind } of extentsOf(geometry, runs, range)) whole.push(offset, length, kind);
  return whole;
};
