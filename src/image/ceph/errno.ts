// Failures of librados and librbd (negative errno values) as sentences.

import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';
import { codeOfErrno, type ErrorCode, RbdeltaError } from '../../error.ts';

/** The name of an errno given as the negative value that C returned: `ENOENT`. */
export const errnoName = (result: number): string => names.get(-result) ?? `errno ${-result}`;

/** What librbd means by these differs from what the table of all errors says. */
const codes: Record<string, ErrorCode> = {
  EDOM: 'corrupt',
  EDQUOT: 'quota',
  EUCLEAN: 'corrupt',
  EILSEQ: 'corrupt',
  ESHUTDOWN: 'permission', // the client was put on the blocklist
  ESTALE: 'busy', // another client removes or changes it just now
};

const hints: Record<string, string> = {
  EROFS: 'a mirror that is not primary cannot be written: rbd mirror image promote, or another target',
  ESHUTDOWN: 'the cluster blocklisted this client: ceph osd blocklist ls',
  ESTALE: 'another client removes or changes it just now: try again',
  EBUSY: 'rbdelta status shows who has the image open, rbdelta snap ls which snapshots are protected',
  ENOTEMPTY: 'rbdelta snap purge removes the snapshots of an image',
  ETIMEDOUT: 'ceph -s shows whether the cluster is well; --timeout waits longer',
  EPERM: 'ceph auth get shows what this client may do: it needs the caps "profile rbd"',
  EACCES: 'ceph auth get shows what this client may do: it needs the caps "profile rbd"',
};

/** `doing` completes "cannot ...". */
export function failure(
  result: number,
  doing: string,
  options: { hint?: string; code?: ErrorCode } = {},
): RbdeltaError {
  const name = errnoName(result);
  const hint = options.hint ?? hints[name];
  return new RbdeltaError(
    options.code ?? codes[name] ?? codeOfErrno(name),
    `cannot ${doing}: ${texts.get(result) ?? 'failure in Ceph'} (${name})`,
    hint === undefined ? {} : { hint },
  );
}

/** Returns a result that is not negative, throws the others. */
export function check(result: number, doing: string | (() => string)): number {
  if (result < 0) throw failure(result, typeof doing === 'string' ? doing : doing());
  return result;
}

const names = new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
const texts = new Map([...getSystemErrorMap()].map(([value, [, text]]) => [value, text]));
