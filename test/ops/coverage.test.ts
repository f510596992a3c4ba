import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { Coverage, limits } from '../../src/ops/coverage.ts';

const gapsOf = (records: readonly (readonly [number, number])[], size: number): [number, number][] => {
  const gaps: [number, number][] = [];
  const coverage = new Coverage((start, end) => gaps.push([start, end]));
  for (const [offset, length] of records) coverage.add(offset, length);
  coverage.finish(size);
  return gaps;
};

const refuses = (coverage: Coverage, offset: number, length: number): boolean => {
  try {
    coverage.add(offset, length);
    return false;
  } catch {
    return true;
  }
};

describe('coverage', () => {
  it('what no record covers is given out, in rising order, up to the size', () => {
    expect(
      gapsOf(
        [
          [10, 10],
          [20, 5],
          [40, 10],
        ],
        60,
      ),
    ).toEqual([
      [0, 10],
      [25, 40],
      [50, 60],
    ]);
    expect(gapsOf([], 7)).toEqual([[0, 7]]);
    expect(gapsOf([[0, 7]], 7)).toEqual([]);
  });

  it('records in any order cover the same, and an overlap is found in any order', () => {
    const size = 64;
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(size - 1), fc.integer({ min: 1, max: 9 })), { maxLength: 20 }),
        (records) => {
          const covered = new Uint8Array(size + 10);
          const coverage = new Coverage();
          for (const [offset, length] of records) {
            const overlaps = covered.subarray(offset, offset + length).some((byte) => byte === 1);
            expect(refuses(coverage, offset, length)).toBe(overlaps);
            if (overlaps) return;
            covered.fill(1, offset, offset + length);
          }
          const left = new Uint8Array(size + 10).fill(1);
          for (const [start, end] of gapsOf(records, size + 10)) left.fill(0, start, end);
          expect([...left]).toEqual([...covered]);
        },
      ),
    );
  });

  it('a record that goes back further than a stripe period ever does is refused', () => {
    const coverage = new Coverage();
    coverage.add(4096, 1);
    coverage.add(8192, 1);
    coverage.add(8192 + 2 * limits.reorderBytes, 1);
    expect(() => coverage.add(0, 1)).toThrow(/goes back to byte 0/);
  });

  it('memory is bounded, however scattered the records', () => {
    const coverage = new Coverage();
    for (let i = 0; i < limits.reorderExtents + 10; i += 1) coverage.add(i * 4, 1);
    expect(() => coverage.add(1, 1)).toThrow(/goes back/);
    coverage.add((limits.reorderExtents + 8) * 4 + 1, 1);
  });

  it('a record of no bytes covers nothing', () => {
    const coverage = new Coverage();
    coverage.add(10, 10);
    expect(refuses(coverage, 15, 0)).toBe(false);
    expect(refuses(coverage, 15, 1)).toBe(true);
  });
});
