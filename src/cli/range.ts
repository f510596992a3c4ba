// --offset and --length: the part of an image that a diff is about.

import type { Extent } from '../diff/extent.ts';
import type { Call } from './command.ts';
import { sizeFrom } from './values.ts';

/** null: all of it. Without a length, it goes to the end. */
export function rangeFrom({ args }: Call): Extent | null {
  const offset = args.value('offset', sizeFrom);
  const length = args.value('length', sizeFrom);
  if (offset === null && length === null) return null;
  return { offset: offset ?? 0, length: length ?? Number.MAX_SAFE_INTEGER - (offset ?? 0) };
}
