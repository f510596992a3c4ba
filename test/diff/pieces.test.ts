import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ExtentList } from '../../src/diff/extent.ts';
import { pieceBytes, piecesOf } from '../../src/diff/pieces.ts';

const listOf = (extents: readonly (readonly [number, number, 'data' | 'zero'])[]): ExtentList => {
  const list = new ExtentList();
  for (const [offset, length, kind] of extents) list.push(offset, length, kind);
  return list;
};

const kibi = 1024;

describe('pieces', () => {
  test('a long extent is cut where a piece may not cross', () => {
    const pieces = [...piecesOf(listOf([[pieceBytes - 10, pieceBytes + 20, 'data']]))];
    expect(pieces.map(({ offset, end }) => [offset, end])).toEqual([
      [pieceBytes - 10, pieceBytes],
      [pieceBytes, 2 * pieceBytes],
      [2 * pieceBytes, 2 * pieceBytes + 10],
    ]);
  });

  test('one read serves neighbours with a small gap, not those with a large one', () => {
    const pieces = piecesOf(
      listOf([
        [0, 4 * kibi, 'data'],
        [64 * kibi, 4 * kibi, 'data'],
        [200 * kibi, 4 * kibi, 'data'],
      ]),
    );
    expect([...pieces].map(({ offset, end }) => [offset, end])).toEqual([
      [0, 68 * kibi],
      [200 * kibi, 204 * kibi],
    ]);
  });

  test('zeros need no read, however long they are', () => {
    const pieces = [...piecesOf(listOf([[0, 10 * pieceBytes, 'zero']]))];
    expect(pieces).toEqual([{ offset: 0, end: 0, parts: [{ offset: 0, end: 10 * pieceBytes, kind: 'zero' }] }]);
  });

  test('the parts are the extents, in order, and inside the reads of their pieces', () => {
    const extents = fc.array(
      fc.tuple(fc.nat(100 * kibi), fc.integer({ min: 1, max: 3 * pieceBytes }), fc.constantFrom('data', 'zero')),
      { maxLength: 40 },
    );
    fc.assert(
      fc.property(extents, (steps) => {
        let at = 0;
        const given = steps.map(([gap, length, kind]) => {
          const offset = at + gap;
          at = offset + length;
          return [offset, length, kind as 'data' | 'zero'] as const;
        });
        const back = new ExtentList();
        const expected = new ExtentList();
        for (const [offset, length, kind] of given) expected.append(offset, length, kind);
        for (const { offset, end, parts } of piecesOf(listOf(given))) {
          expect(parts.length).toBeGreaterThan(0);
          expect(end - offset).toBeLessThanOrEqual(pieceBytes);
          const block = Math.floor(offset / pieceBytes);
          expect(end).toBeLessThanOrEqual((block + 1) * pieceBytes);
          for (const part of parts) {
            back.append(part.offset, part.end - part.offset, part.kind);
            if (part.kind !== 'data') continue;
            expect(part.offset).toBeGreaterThanOrEqual(offset);
            expect(part.end).toBeLessThanOrEqual(end);
          }
        }
        expect([...back]).toEqual([...expected]);
      }),
    );
  });
});
