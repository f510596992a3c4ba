// --offset and --length: the part of an image that a diff is about.

import type { Extent } from '../diff/extent.ts';
import type { Call } from './command.ts';
import { sizeFrom } from './values.ts';

/** As an option of the operations; absent, it is all. Without a length, it goes to the end. */
export function rangeFrom({ args }: Call): { range?: Extent } {
  const offset = args.value('offset', sizeFrom);
  const length = args.value('length', sizeFrom);
  if (offset === null && length === null) return {};
  return { range: { offset: offset ?? 0, length: length ?? Number.MAX_SAFE_INTEGER - (offset ?? 0) } };
}
