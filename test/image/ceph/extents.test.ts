// Extents as librbd's callback delivers them.

import { describe, expect, test } from 'vitest';
import { ReportedExtents } from '../../../src/image/ceph/extents.ts';

describe('a list of extents', () => {
  test('gives back what was added, however many', () => {
    const list = new ReportedExtents();
    const added = Array.from({ length: 10_000 }, (_, i) => [i * 2 ** 38, i + 1, i % 3 === 0] as const);
    for (const [offset, length, exists] of added) expect(list.add(offset, length, Number(exists))).toBe(0);
    const found: unknown[] = [];
    list.forEach((...extent) => found.push(extent));
    expect(found).toEqual(added);
  });
});
