// Which images go from the trash of a pool that is too full.

import { expect, test } from 'vitest';
import { firstToGo } from '../../src/ops/purge-trash.ts';

const image = (id: string, protectedUntilMs: number, usedBytes: number) => ({
  trashed: { id, name: id, source: 'user', deletedMs: 0, protectedUntilMs },
  usedBytes,
});

test('the first to expire go, until the pool is as full as it may be', () => {
  const images = [image('late', 30, 10), image('first', 10, 10), image('empty', 15, 0), image('second', 20, 10)];
  const going = (usedBytes: number, threshold: number) =>
    firstToGo(images, { usedBytes, totalBytes: 100 }, threshold).map(({ trashed }) => trashed.id);
  expect(going(50, 0.5)).toEqual([]);
  expect(going(50, 1)).toEqual([]);
  expect(going(51, 0.5)).toEqual(['first']);
  expect(going(60, 0.5)).toEqual(['first']);
  expect(going(61, 0.5)).toEqual(['first', 'second']);
  expect(going(99, 0)).toEqual(['first', 'second', 'late']);
});
