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
    const extents = ask ? await askFor(image, plan, extent) : new ExtentList();
    if (!ask) extents.push(extent.offset, extent.length, extent.kind);
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
  if (plan.wholeObject || (plan.from === null && !zerosExactly)) {
    for await (const extent of candidates(image, plan)) yield { ask: false, extent };
    return;
  }
  const { objectBytes, stripeCount } = plan.geometry;
  const joined = new JoinedCalls(plan.range, periodBytes(plan.geometry), objectBytes);
  // interleaved objects cannot be told apart by a range: there, all of them are asked
  const takesZeros = !zerosExactly && stripeCount === 1;
  for await (const candidate of candidates(image, plan)) {
    for (const { extent, lost } of splitAtLost(plan, candidate)) {
      if (lost || (takesZeros && extent.kind === 'zero')) {
        yield* joined.flush();
        yield { ask: false, extent };
      } else {
        yield* joined.add(extent);
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
  for (let offset = plan.range.offset; offset < endOf(plan.range); ) {
    const end = Math.min((Math.floor(offset / step) + 1) * step, endOf(plan.range));
    const part: ChangedExtent = { offset, length: end - offset, kind: 'data' };
    for (const { extent, lost } of splitAtLost(plan, part)) yield { ask: !lost, extent };
    offset = end;
  }
}

/** What lost its parent is read whole: no exact answer knows of it. */
const splitAtLost = (plan: DiffPlan, extent: ChangedExtent): { extent: ChangedExtent; lost: boolean }[] => {
  if (plan.lostOverlap.length === 0) return [{ extent, lost: false }];
  const period = periodBytes(plan.geometry);
  const from = Math.floor(plan.lostOverlap.offset / period) * period;
  const to = Math.ceil(endOf(plan.lostOverlap) / period) * period;
  const parts = [
    { offset: 0, length: from },
    { offset: from, length: to - from },
    { offset: to, length: Number.MAX_SAFE_INTEGER - to },
  ];
  return parts
    .map((part, i) => ({ extent: { ...intersection(part, extent), kind: extent.kind }, lost: i === 1 }))
    .filter((part) => part.extent.length > 0);
};

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
  if (overlap <= range.offset) {
    yield* own;
  } else if (plan.from === null) {
    yield* union(own, parentsCandidates(image, plan, overlap));
  } else {
    yield* readBelow(own, Math.ceil(overlap / periodBytes(geometry)) * periodBytes(geometry));
  }
}

/** Where an object does not exist, the parent may show: after a rollback, for one. So it is not known to be zero. */
function* readBelow(extents: Iterable<ChangedExtent>, overlap: number): Generator<ChangedExtent, void, undefined> {
  for (const extent of extents) {
    if (extent.kind === 'data' || extent.offset >= overlap) {
      yield extent;
      continue;
    }
    const length = Math.min(extent.length, overlap - extent.offset);
    yield { offset: extent.offset, length, kind: 'data' };
    if (length < extent.length) yield { offset: overlap, length: extent.length - length, kind: 'zero' };
  }
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
