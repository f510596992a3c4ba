import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ChangedExtent } from '../../src/diff/extent.ts';
import { extentsOf, objectsOf } from '../../src/diff/runs.ts';
import { type Geometry, geometryOf, objectCount, objectExtents, objectOf } from '../../src/diff/striping.ts';

const mebi = 2 ** 20;

const striped = (size: number): Geometry => ({ size, objectBytes: mebi, stripeUnit: 64 << 10, stripeCount: 4 });

/** All of a small image's geometry: sizes at and around every border. */
const geometry: fc.Arbitrary<Geometry> = fc
  .record(
    { unitLog: fc.nat(2), unitsLog: fc.nat(3), stripeCount: fc.integer({ min: 1, max: 5 }), size: fc.nat(200) },
    { noNullPrototype: true },
  )
  .map(({ unitLog, unitsLog, stripeCount, size }) => {
    const objectBytes = 2 ** (unitLog + unitsLog);
    return { size, objectBytes, stripeUnit: stripeCount === 1 ? objectBytes : 2 ** unitLog, stripeCount };
  });

describe('striping', () => {
  test('counts objects as rbd does', () => {
    expect(objectCount(striped(9 * mebi))).toBe(12);
    expect(objectCount(striped(5 * mebi))).toBe(8);
    expect(objectCount(striped(4 * mebi + 1))).toBe(5);
    expect(objectCount(striped(0))).toBe(0);
    const info = { order: 22, stripeUnit: 0, stripeCount: 0, size: 4 * mebi + 1 };
    expect(objectCount(geometryOf(info))).toBe(2);
  });

  test('every byte is in one object, and its object says so', () => {
    fc.assert(
      fc.property(geometry, (shape) => {
        const owner: number[] = [];
        const count = objectCount(shape);
        for (let no = 0; no < count + shape.stripeCount; no++) {
          const extents = objectExtents(shape, no);
          expect(no >= count && extents.length > 0).toBe(false);
          expect(no === count - 1 && extents.length === 0).toBe(false);
          for (const { offset, length } of extents) {
            for (let i = 0; i < length; i++) {
              expect(owner[offset + i]).toBeUndefined();
              owner[offset + i] = no;
            }
          }
        }
        expect(owner.length).toBe(shape.size);
        for (let offset = 0; offset < shape.size; offset++) {
          const found = objectOf(shape, offset);
          expect(found.objectNo).toBe(owner[offset]);
          expect(found.objectOffset).toBeLessThan(shape.objectBytes);
          expect(found.length).toBe(shape.stripeUnit - (offset % shape.stripeUnit));
        }
      }),
    );
  });

  test('a stripe unit that does not divide the object is refused', () => {
    expect(() => geometryOf({ order: 12, stripeUnit: 1000, stripeCount: 2, size: 1 })).toThrow('does not divide');
  });

  test('runs of objects become their extents: ascending, clipped, as few as can be', () => {
    fc.assert(
      fc.property(
        geometry,
        fc.array(fc.constantFrom(null, 'data' as const, 'zero' as const), { maxLength: 60 }),
        fc.nat(200),
        fc.nat(200),
        (shape, kinds, offset, length) => {
          const count = Math.min(objectCount(shape), kinds.length);
          const runs = kinds.slice(0, count).flatMap((kind, no) => (kind ? [{ first: no, end: no + 1, kind }] : []));
          const joined = runs.reduce<typeof runs>((all, run) => {
            const last = all.at(-1);
            if (last && last.end === run.first && last.kind === run.kind) last.end = run.end;
            else all.push({ ...run });
            return all;
          }, []);
          const range = { offset, length };
          const expected: (string | null)[] = Array.from({ length: shape.size }, (_, at) =>
            at >= offset && at < offset + length ? (kinds[objectOf(shape, at).objectNo] ?? null) : null,
          );
          for (const given of [runs, joined]) {
            const found = [...extentsOf(shape, given, range)];
            const told: (string | null)[] = Array.from({ length: shape.size }, () => null);
            let last: ChangedExtent | null = null;
            for (const extent of found) {
              expect(extent.length).toBeGreaterThan(0);
              const end: number = last ? last.offset + last.length : -1;
              expect(extent.offset).toBeGreaterThanOrEqual(end);
              expect(extent.offset === end && extent.kind === last?.kind).toBe(false);
              told.fill(extent.kind, extent.offset, extent.offset + extent.length);
              last = extent;
            }
            expect(told).toEqual(expected);
          }
          const { first, end } = objectsOf(shape, { offset, length: Math.min(length, shape.size - offset) });
          for (let at = offset; at < Math.min(offset + length, shape.size); at++) {
            expect(objectOf(shape, at).objectNo).toBeGreaterThanOrEqual(first);
            expect(objectOf(shape, at).objectNo).toBeLessThan(end);
          }
        },
      ),
    );
  });
});
