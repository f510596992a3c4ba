// Runs of objects as extents of the image: simple without striping, interleaved with it.

import { type ChangedExtent, type Extent, endOf, intersection } from './extent.ts';
import type { ObjectRun } from './fold.ts';
import { type Geometry, objectCount, periodBytes } from './striping.ts';

/** The objects whose periods touch `range`: [first, end). */
export const objectsOf = (geometry: Geometry, range: Extent): { first: number; end: number } => {
  const period = periodBytes(geometry);
  const first = Math.floor(range.offset / period) * geometry.stripeCount;
  const end = Math.ceil(endOf(range) / period) * geometry.stripeCount;
  return { first, end: Math.min(end, objectCount(geometry)) };
};

/** The extents of the runs (ascending), clipped to `range` and the size: ascending, neighbours of one kind as one. */
export function* extentsOf(
  geometry: Geometry,
  runs: Iterable<ObjectRun>,
  range: Extent,
): Generator<ChangedExtent, void, undefined> {
  const visible = intersection(range, { offset: 0, length: geometry.size });
  let last: ChangedExtent | null = null;
  for (const extent of geometry.stripeCount === 1 ? plain(geometry, runs) : striped(geometry, runs)) {
    const { offset, length } = intersection(extent, visible);
    if (length === 0) continue;
    if (last !== null && last.kind === extent.kind && endOf(last) === offset) {
      last.length += length;
    } else {
      if (last !== null) yield last;
      last = { offset, length, kind: extent.kind };
    }
  }
  if (last !== null) yield last;
}

function* plain({ objectBytes }: Geometry, runs: Iterable<ObjectRun>): Generator<ChangedExtent, void, undefined> {
  for (const { first, end, kind } of runs) {
    yield { offset: first * objectBytes, length: (end - first) * objectBytes, kind };
  }
}

/** Whole periods are one extent; in one that changed in part, each stripe unit has the kind of its object. */
function* striped(geometry: Geometry, runs: Iterable<ObjectRun>): Generator<ChangedExtent, void, undefined> {
  const { stripeCount } = geometry;
  const bytes = periodBytes(geometry);
  const kinds: (ObjectRun['kind'] | null)[] = Array.from({ length: stripeCount }, () => null);
  let open = -1; // the period that `kinds` is about
  for (const run of runs) {
    for (let object = run.first; object < run.end; ) {
      const period = Math.floor(object / stripeCount);
      if (period !== open) {
        if (open >= 0) yield* unitsOf(geometry, open, kinds);
        kinds.fill(null);
        open = period;
      }
      const end = (period + 1) * stripeCount;
      if (object === period * stripeCount && run.end >= end) {
        const periods = Math.floor((run.end - object) / stripeCount);
        yield { offset: period * bytes, length: periods * bytes, kind: run.kind };
        object += periods * stripeCount;
        open = -1;
      } else {
        const stop = Math.min(run.end, end);
        kinds.fill(run.kind, object - period * stripeCount, stop - period * stripeCount);
        object = stop;
      }
    }
  }
  if (open >= 0) yield* unitsOf(geometry, open, kinds);
}

function* unitsOf(
  geometry: Geometry,
  period: number,
  kinds: readonly (ObjectRun['kind'] | null)[],
): Generator<ChangedExtent, void, undefined> {
  const { stripeUnit } = geometry;
  const bytes = periodBytes(geometry);
  for (let unit = 0; unit < bytes / stripeUnit; unit++) {
    const kind = kinds[unit % kinds.length];
    if (kind) yield { offset: period * bytes + unit * stripeUnit, length: stripeUnit, kind };
  }
}
