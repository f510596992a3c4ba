// Failures of the operating system as failures of rbdelta: the errno decides the code, the sentence says what and where.

import { codeOfErrno, RbdeltaError } from '../error.ts';

/** `EEXIST` of an error that Node made of an errno; null for any other error. */
export function errnoOf(error: unknown): string | null {
  const code = error instanceof Error && 'code' in error ? error.code : null;
  return typeof code === 'string' && /^E[A-Z0-9]+$/.test(code) ? code : null;
}

const sentences: Record<string, string> = {
  EACCES: 'permission denied',
  EPERM: 'operation not permitted',
  ENOENT: 'no such file or directory',
  EEXIST: 'it exists already',
  EISDIR: 'it is a directory',
  ENOTDIR: 'a part of the path is not a directory',
  ENOSPC: 'no space left on the device',
  EDQUOT: 'the disk quota is exceeded',
  EFBIG: 'the file is too large for its file system',
  EROFS: 'the file system is read-only',
  EIO: 'the device reports an I/O error',
  EPIPE: 'the reader at the other end has closed it',
  EMFILE: 'too many open files',
};

/**
 * `task` says what could not be done to what, as `cannot write "/x/y"`; the reason is added. Anything that is not an
 * errno (a bug) comes back as it is.
 */
export function ioFailure(error: unknown, task: string, hint?: string): unknown {
  const errno = errnoOf(error);
  if (errno === null) return error;
  const reason = sentences[errno] ?? errno;
  return new RbdeltaError(codeOfErrno(errno), `${task}: ${reason}`, {
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}

/** What an aborted signal throws: its reason where that is a failure of rbdelta, `interrupted` otherwise. */
export function interruption(signal: AbortSignal): RbdeltaError {
  if (signal.reason instanceof RbdeltaError) return signal.reason;
  return new RbdeltaError('interrupted', 'interrupted', { cause: signal.reason });
}

/** What to throw for `error`: the interruption, where it is only the signal's own reason that a layer below threw. */
export function orInterruption(error: unknown, signal: AbortSignal | undefined): unknown {
  return signal?.aborted && error === signal.reason ? interruption(signal) : error;
}

/**
 * The promise, or the interruption as soon as the signal is aborted. What the promise stands for goes on: a thread
 * that waits inside read(2) of a pipe cannot be called back. Its memory stays in use; its result is dropped.
 */
export function unlessAborted<T>(promise: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise<T>((resolve, reject) => {
    const interrupt = (): void => reject(interruption(signal));
    if (signal.aborted) interrupt();
    else signal.addEventListener('abort', interrupt, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', interrupt));
  });
}
