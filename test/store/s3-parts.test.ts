import { expect, test } from 'vitest';
import { limits, memoryBytes, partBytes, partsAtOnce } from '../../src/store/s3-parts.ts';

const TiB = 2 ** 40;

function capacity(maxBytes: number | null): { bytes: number; parts: number } {
  let bytes = 0;
  let parts = 0;
  for (; parts < limits.parts && bytes < (maxBytes ?? limits.objectBytes); parts++) bytes += partBytes(parts, maxBytes);
  return { bytes, parts };
}

test('whatever the bound, the parts hold it', () => {
  for (const bound of [0, 1, 79 * 2 ** 30, 80 * 2 ** 30, 1e12, TiB, 5 * TiB]) {
    expect(capacity(bound).bytes).toBeGreaterThanOrEqual(bound);
  }
});

test('without a bound, 5 TiB fit into 10,000 parts, none larger than S3 allows', () => {
  expect(capacity(null).bytes).toBeGreaterThanOrEqual(limits.objectBytes);
  expect(partBytes(limits.parts - 1, null)).toBeLessThanOrEqual(limits.partBytes);
});

test('without a bound, parts start small and never shrink', () => {
  expect(partBytes(0, null)).toBe(8 << 20);
  for (let i = 1; i < limits.parts; i++) expect(partBytes(i, null)).toBeGreaterThanOrEqual(partBytes(i - 1, null));
});

test('with a bound, all parts are alike', () => {
  expect(new Set(Array.from({ length: limits.parts }, (_, i) => partBytes(i, TiB))).size).toBe(1);
});

test('up to 300 GiB an upload holds 64 MiB', () => {
  const bytes = partBytes(0, 300 * 2 ** 30);
  expect(bytes * (partsAtOnce(bytes) + 1)).toBeLessThanOrEqual(memoryBytes);
  expect(partsAtOnce(partBytes(0, 1e9))).toBe(4);
});
