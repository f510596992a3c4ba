import { describe, expect, test } from 'vitest';
import { type ImageName, textOf } from '../../src/repo/keys.ts';
import { durationMs, parsePointSpec, pointAt, theImage } from '../../src/repo/point-spec.ts';

const id = '20261120T130501Z-3fa90c';

describe('parsePointSpec', () => {
  test.each([
    [id, { image: null, when: id }],
    ['vm@latest', { image: { pool: null, namespace: null, image: 'vm' }, when: 'latest' }],
    ['volumes/vm@3d', { image: { pool: 'volumes', namespace: null, image: 'vm' }, when: '3d' }],
    ['volumes/ns/vm@a@b/c', { image: { pool: 'volumes', namespace: 'ns', image: 'vm' }, when: 'a@b/c' }],
  ])('%s', (text, expected) => {
    expect(parsePointSpec(text)).toEqual(expected);
  });

  test.each(['', 'vm', 'vm@', '@latest', 'a/b/c/d@latest', '/vm@latest'])('"%s" names no point', (text) => {
    expect(() => parsePointSpec(text)).toThrow('does not name a point');
  });
});

describe('theImage', () => {
  const name = (text: string): ImageName => {
    const [pool = '', namespace = '', image = ''] = text.split('/');
    return { pool, namespace, image };
  };
  const images = ['a//vm', 'b//vm', 'b/ns/vm', 'b//other'].map(name);
  const find = (text: string) => theImage(parsePointSpec(text) as never, images, 'here');

  test('the pool may be left out where the name is unique', () => {
    expect(find('other@latest')).toEqual(name('b//other'));
    expect(find('b/vm@latest')).toEqual(name('b//vm'));
    expect(find('b/ns/vm@latest')).toEqual(name('b/ns/vm'));
  });

  test('refusals', () => {
    expect(() => find('vm@latest')).toThrow('3 images in here are called "vm"');
    expect(() => find('c/vm@latest')).toThrow('there is no backup of "vm" in here');
  });
});

describe('pointAt', () => {
  const points = ['2026-11-18T10:00:00Z', '2026-11-20T13:05:01Z', '2026-11-20T20:00:00Z', '2026-11-22T00:00:00Z'].map(
    (created, i) => ({ id: `p${i}`, snapshot: i < 2 ? 'mine' : `s${i}`, createdMs: Date.parse(created) }),
  );
  const nowMs = Date.parse('2026-11-22T12:00:00Z');
  const at = (when: string): string => pointAt(points, when, nowMs, 'volumes/vm').id;

  test.each([
    ['latest', 'p3'],
    ['p1', 'p1'],
    ['mine', 'p1'],
    ['2026-11-20', 'p2'],
    ['2026-11-21', 'p2'],
    ['2026-11-20T13:05', 'p1'],
    ['2026-11-20T13:04', 'p0'],
    ['2026-11-20 13:05:01Z', 'p1'],
    ['2026-11-20T13:05:00', 'p0'],
    ['1h', 'p3'],
    ['36h', 'p2'],
    ['2d', 'p0'],
    ['3d', 'p0'],
  ])('%s is %s', (when, expected) => {
    expect(at(when)).toBe(expected);
  });

  test('what is not there', () => {
    expect(() => at('2026-11-17')).toThrow('no point that is as old as 2026-11-17');
    expect(() => at('1y')).toThrow('no point that is as old as 1y');
    expect(() => at('2026-13-40')).toThrow('is not a day or time');
    expect(() => at('nothing')).toThrow('has no point "nothing"');
    expect(() => pointAt([], 'latest', nowMs, 'volumes/vm')).toThrow('has no point');
  });
});

test.each([
  ['90s', 90_000],
  ['2w', 14 * 86_400_000],
  ['3', null],
  ['-3d', null],
  ['9999999d', null],
])('a duration: %s', (text, expected) => {
  expect(durationMs(text)).toBe(expected);
});

test('a raw file is named by its path, wherever that is meant from', () => {
  const image = { pool: 'file', namespace: '', image: `${process.cwd()}/vm.raw` };
  expect(parsePointSpec('file:vm.raw@3d')).toEqual({ image, when: '3d' });
  expect(parsePointSpec(`${textOf(image)}@latest`)).toEqual({ image, when: 'latest' });
  expect(() => parsePointSpec('file:vm.raw')).toThrow('does not name a point');
});
