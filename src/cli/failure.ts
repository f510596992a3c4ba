// What was thrown, as a failure that rbdelta knows.

import { errnoOf } from '../bytes/errno.ts';
import { codeOfErrno, RbdeltaError } from '../error.ts';

/** A failure of the operating system that nobody put into words is one, too; null is a bug. */
export function knownFailure(error: unknown): RbdeltaError | null {
  if (error instanceof RbdeltaError) return error;
  const errno = errnoOf(error);
  return errno === null ? null : new RbdeltaError(codeOfErrno(errno), (error as Error).message, { cause: error });
}
