// The one error class of rbdelta: a closed list of codes, one table from code to exit status.

/**
 * Exit status of each failure. Where `rbd` has a status of its own for the same failure (an errno), it is that one,
 * so that a script written for `rbd` goes on working.
 */
export const exitStatus = {
  usage: 1, // as rbd: unknown command, bad option
  permission: 1, // EPERM is 1 as well: rbd exits with the errno
  notFound: 2, // ENOENT: pool, image, snapshot, file, key
  io: 5, // EIO
  busy: 16, // EBUSY: image in use, snapshot protected
  exists: 17, // EEXIST: output file, end snapshot, image
  crossDevice: 18, // EXDEV: a clone of format 1 in another namespace
  isDirectory: 21, // EISDIR: a directory where a file is meant
  invalid: 22, // EINVAL: not a diff, wrong base, wrong order of snapshots
  tooLarge: 27, // EFBIG: past a named limit
  noSpace: 28, // ENOSPC; EDQUOT of a disk
  readOnly: 30, // EROFS
  brokenPipe: 32, // EPIPE
  range: 34, // ERANGE: a limit below what there is already
  notEmpty: 39, // ENOTEMPTY: an image with snapshots, a pool with images
  diverged: 67, // the target's HEAD is not the diff's base; rbd does not check this
  bug: 70, // EX_SOFTWARE: not a failure we know: a stack trace comes with it
  corrupt: 74, // EBADMSG: truncated or damaged input
  unsupported: 95, // ENOTSUP
  timeout: 110, // ETIMEDOUT: cluster does not answer
  unavailable: 111, // ECONNREFUSED: librbd missing, no keyring, endpoint down
  quota: 122, // EDQUOT: past the quota of a pool, the limit of snapshots
  interrupted: 130, // SIGINT; the command line makes 143 of it for SIGTERM
} as const;

export type ErrorCode = keyof typeof exitStatus;

/**
 * A failure that rbdelta knows. `message` is one sentence: what, where, expected, found. `hint` is the next step.
 * Callers branch on `code`, never on text. Anything else that is thrown is a bug.
 */
export class RbdeltaError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'RbdeltaError';
    this.code = code;
    this.hint = options.hint;
  }
}

/** A status for an errno that has no code of its own here (as from librbd) is the code that comes nearest. */
const byErrno: Record<string, ErrorCode> = {
  EPERM: 'permission',
  EACCES: 'permission',
  ENOENT: 'notFound',
  EIO: 'io',
  EBUSY: 'busy',
  EEXIST: 'exists',
  EXDEV: 'crossDevice',
  EINVAL: 'invalid',
  EISDIR: 'isDirectory',
  ENOTDIR: 'invalid',
  EFBIG: 'tooLarge',
  ENOSPC: 'noSpace',
  EDQUOT: 'noSpace',
  ENOTEMPTY: 'notEmpty',
  EROFS: 'readOnly',
  EPIPE: 'brokenPipe',
  ERANGE: 'range',
  EBADMSG: 'corrupt',
  ENOTSUP: 'unsupported',
  EOPNOTSUPP: 'unsupported',
  ENOSYS: 'unsupported',
  ETIMEDOUT: 'timeout',
  ECONNREFUSED: 'unavailable',
  ENOTCONN: 'unavailable',
};

/** The code for an errno's name (`ENOENT`); `io` for one that is not in the table. */
export const codeOfErrno = (errno: string): ErrorCode => byErrno[errno] ?? 'io';
