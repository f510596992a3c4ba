// diff: the changed extents themselves, as `rbd diff` prints them.

import type { ChangedExtent } from '../diff/extent.ts';
import type { Image } from '../image/port.ts';
import { changedExtents, type PlanOptions, planDiff } from './changes.ts';

/** Ascending. `data`: may have changed; `zero`: reads as zeros now. Nothing of the image's data is read. */
export async function* diffExtents(image: Image, options: PlanOptions): AsyncGenerator<ChangedExtent> {
  yield* changedExtents(image, await planDiff(image, options));
}
