// What changed between two versions of an image: object maps, then exact extents, then the zeros among them.

import type { ChangedExtent, Extent } from '../diff/extent.ts';
import type { DiffStream } from '../format/rbd-diff.ts';
import { RbdeltaError } from '../error.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';

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
  from: Snapshot | null;
  /** Clipped to the size. */
  range: Extent;
  wholeObject: boolean;
  /** `same`: start and end are one snapshot. `maps`: object maps tell. `listing`: every object has to be asked. */
  method: 'same' | 'maps' | 'listing';
}

export interface DiffProgress {
  /** Bytes of the range that are behind us, of the bytes of the range. */
  doneBytes: number;
  totalBytes: number;
}

export interface StreamOptions {
  /** Reads in flight. */
  queueDepth?: number;
  onProgress?: (progress: DiffProgress) => void;
}

export const planDiff = async (image: Image, options: PlanOptions): Promise<DiffPlan> => {
  throw new RbdeltaError('bug', `not yet: ${image.kind} ${options.fromSnap}`);
};

export const changedExtents = (image: Image, plan: DiffPlan): AsyncIterable<ChangedExtent> => {
  throw new RbdeltaError('bug', `not yet: ${image.kind} ${plan.method}`);
};

export const diffStream = (image: Image, plan: DiffPlan, options: StreamOptions = {}): DiffStream => {
  throw new RbdeltaError('bug', `not yet: ${image.kind} ${plan.method} ${options.queueDepth}`);
};
