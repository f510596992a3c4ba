// How much an image takes: what each snapshot, and the head, added to the version before it.

import type { Extent } from '../diff/extent.ts';
import { extentsOf, objectsOf } from '../diff/runs.ts';
import { objectOf } from '../diff/striping.ts';
import type { Image } from '../image/port.ts';
import { planDiff, type PlanOptions } from './diff-plan.ts';

export interface Usage {
  /** The size of the version. */
  provisionedBytes: number;
  usedBytes: number;
}

/** What the version that is open added since `fromSnap` (null: ever), by objects or `exact`; nothing of a parent counts. */
export async function usageOf(image: Image, options: PlanOptions & { exact?: boolean }): Promise<Usage> {
  const { exact = false, ...rest } = options;
  const plan = await planDiff(image, { ...rest, wholeObject: !exact });
  const provisionedBytes = plan.info.size;
  if (plan.objects !== null && !exact) {
    const { first, end } = objectsOf(plan.geometry, plan.range);
    return {
      provisionedBytes,
      usedBytes: dataBytes(extentsOf(plan.geometry, plan.objects.changed(first, end), plan.range)),
    };
  }
  const found = new Set<number>();
  let exactBytes = 0;
  const { fromSnap } = options;
  const add = (offset: number, length: number, exists: boolean): void => {
    if (!exists) return;
    exactBytes += length;
    for (let at = offset; at < offset + length; ) {
      const part = objectOf(plan.geometry, at);
      found.add(part.objectNo);
      at += part.length;
    }
  };
  if (plan.range.length > 0) await image.changedExtents(fromSnap, plan.range, add, true);
  const runs = [...found].sort((a, b) => a - b).map((first) => ({ first, end: first + 1, kind: 'data' as const }));
  const usedBytes = exact ? exactBytes : dataBytes(extentsOf(plan.geometry, runs, plan.range));
  return { provisionedBytes, usedBytes };
}

function dataBytes(extents: Iterable<Extent & { kind: 'data' | 'zero' }>): number {
  let bytes = 0;
  for (const { length, kind } of extents) if (kind === 'data') bytes += length;
  return bytes;
}
