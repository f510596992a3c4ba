// What librados and librbd return, as sentences.

import { constants } from 'node:os';
import { describe, expect, test } from 'vitest';
import { exitStatus, RbdeltaError } from '../../../src/error.ts';
import { check, errnoName, failure } from '../../../src/image/ceph/errno.ts';

describe('failures of librados and librbd', () => {
  test('a result that is not negative passes', () => {
    expect(check(0, 'do it')).toBe(0);
    expect(check(4096, () => 'do it')).toBe(4096);
  });

  test.each([
    ['ENOENT', 'notFound'],
    ['EEXIST', 'exists'],
    ['EBUSY', 'busy'],
    ['ENOTEMPTY', 'notEmpty'],
    ['EROFS', 'readOnly'],
    ['ETIMEDOUT', 'timeout'],
    ['EPERM', 'permission'],
    ['EACCES', 'permission'],
    ['EBADMSG', 'corrupt'],
    ['ENOSPC', 'noSpace'],
    ['EDQUOT', 'quota'],
    ['EINVAL', 'invalid'],
    ['ENOSYS', 'unsupported'],
    ['ENODATA', 'io'],
  ] as const)('%s is %s', (name, code) => {
    const result = -(constants.errno as Record<string, number>)[name]!;
    expect(errnoName(result)).toBe(name);
    expect(() => check(result, 'open image a/b')).toThrow(expect.objectContaining({ code }));
  });

  test('the sentence says what was done on what, and which errno it was', () => {
    const error = failure(-2, 'open image a/b');
    expect(error).toBeInstanceOf(RbdeltaError);
    expect(error.message).toBe('cannot open image a/b: no such file or directory (ENOENT)');
    expect(exitStatus[error.code]).toBe(2);
    expect(failure(-30, 'write x').hint).toMatch(/mirror/);
  });

  test('an errno without a name is told by its number', () => {
    expect(failure(-4095, 'read x').message).toContain('errno 4095');
  });
});
