// How much an image takes: what each snapshot, and the head, added to the version before it.

import type { Extent } from '../diff/extent.ts';
import { extentsOf, objectsOf } from '../diff/runs.ts';
import type { Image } from '../image/port.ts';
import { changedExtents } from './diff-extents.ts';
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
  let usedBytes = 0;
  for await (const { length, kind } of changedExtents(image, plan)) if (kind === 'data') usedBytes += length;
  return { provisionedBytes, usedBytes };
}

function dataBytes(extents: Iterable<Extent & { kind: 'data' | 'zero' }>): number {
  let bytes = 0;
  for (const { length, kind } of extents) if (kind === 'data') bytes += length;
  return bytes;
}
