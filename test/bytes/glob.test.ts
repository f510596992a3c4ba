import { expect, test } from 'vitest';
import { globMatches, isGlob } from '../../src/bytes/glob.ts';

test.each([
  ['vm-*', 'vm-1', true],
  ['vm-*', 'vm-', true],
  ['vm-*', 'avm-1', false],
  ['vm-?', 'vm-1', true],
  ['vm-?', 'vm-12', false],
  ['vm-?', 'vm-\u{1f600}', true],
  ['a.c', 'abc', false],
  ['a+(b)*', 'a+(b)[c]', true],
  ['*', 'two\nlines', true],
  ['what?', 'what?', true],
  ['v[12]', 'v1', false],
])('%s of %s: %s', (pattern, name, matches) => {
  expect(globMatches(pattern, name)).toBe(matches);
});

test('what a pattern is', () => {
  expect(['a*', '?', 'a[b]', ''].map(isGlob)).toEqual([true, true, false, false]);
});
