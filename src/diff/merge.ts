// Many diffs that follow each other become one, in one pass: later streams win, sizes cut and grow in between.

import { RbdeltaError } from '../error.ts';
import type { DiffHeader, DiffRecord, DiffStream } from '../format/rbd-diff.ts';

/**
 * The diff that has the effect of applying `streams` (oldest first) in turn. Headers are checked here, before any
 * record is pulled: each stream must start at the snapshot where the one before it ended ('invalid' otherwise; two
 * absent names do not match, since nothing says that they mean the same state), and must tell its size.
 * Payloads pass through uncopied: a record is valid until the next one is pulled. Needs memory for one record of each
 * stream. Throws 'unsupported' for a stream that is not in rising order, and whatever a stream itself throws.
 */
export const mergeDiffs = (streams: readonly DiffStream[]): DiffStream => {
  throw new RbdeltaError('bug', `not yet: ${streams.length}`);
};
export type { DiffHeader, DiffRecord };
