import fc from 'fast-check';
import { expect, test } from 'vitest';
import { imageFolder, imageOfFolders, isPointId, newPointId, partOf, timeOfPoint } from '../../src/repo/keys.ts';

test.each([
  ['vm-1_a.b', 'vm-1_a.b'],
  ['..', '%2E.'],
  ['a/b+c%d', 'a%2Fb%2Bc%25d'],
  ['ä', '%C3%A4'],
  ['\udc80', '%80'],
])('%s is written as %s', (name, part) => {
  expect(partOf(name)).toBe(part);
});

test('folders tell the names again, whatever they are', () => {
  const name = fc.string({ minLength: 1, maxLength: 25, unit: 'grapheme' });
  fc.assert(
    fc.property(name, fc.oneof(fc.constant(''), name), name, (pool, namespace, image) => {
      fc.pre(
        [pool, namespace, image].every((one) => Buffer.from(one).toString() === one && Buffer.byteLength(one) <= 60),
      );
      const folder = imageFolder({ pool, namespace, image });
      expect(folder).toMatch(/^[A-Za-z0-9_%+-][A-Za-z0-9._%+-]*\/[A-Za-z0-9_%-][A-Za-z0-9._%-]*\/$/);
      const [poolPart = '', imagePart = ''] = folder.split('/');
      expect(imageOfFolders(poolPart, imagePart)).toEqual({ pool, namespace, image });
    }),
  );
});

test('a name that no file system takes is refused', () => {
  expect(() => partOf('ä'.repeat(48))).toThrow('takes 288 bytes');
});

test('ids of points tell their time', () => {
  const id = newPointId(Date.parse('2026-11-22T13:05:01.999Z'));
  expect(id).toMatch(/^20261122T130501Z-[0-9a-f]{6}$/);
  expect(isPointId(id)).toBe(true);
  expect(timeOfPoint(id)).toBe(Date.parse('2026-11-22T13:05:01Z'));
});
