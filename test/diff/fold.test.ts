import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ObjectFold, type ObjectRun } from '../../src/diff/fold.ts';

/** The table of `rbd` itself, object by object: what fast-diff says of one object, whose states in all maps are given. */
const reference = (states: readonly number[]): 'data' | 'zero' | null => {
  let [state, updated] = ['hole', false];
  states.forEach((next, i) => {
    if (i === 0) {
      state = next === 0 ? 'hole' : 'data';
      updated = next === 2;
      return;
    }
    const isEnd = i === states.length - 1;
    if (state === 'hole' && !updated) {
      if (isEnd && next !== 0) [state, updated] = ['data', true];
    } else if (next === 0) {
      [state, updated] = ['hole', true];
    } else {
      updated = updated || state === 'hole' || next !== 3;
      state = 'data';
    }
  });
  return updated ? (state === 'data' ? 'data' : 'zero') : null;
};

const packed = (states: readonly number[]) => {
  const bytes = new Uint8Array(Math.ceil(states.length / 4));
  states.forEach((state, i) => {
    bytes[i >> 2]! |= state << (6 - 2 * (i & 3));
  });
  return { count: states.length, states: bytes };
};

/** Maps of a version each; `objects[i]` is how many objects version i has. */
const fold = (maps: readonly (readonly number[])[], objects = maps.map((map) => map.length)): ObjectFold => {
  const result = new ObjectFold(objects.at(-1) ?? 0);
  maps.forEach((map, i) => {
    if (i === 0) result.start(packed(map), objects[i]!);
    else result.next(packed(map), objects[i]!, i === maps.length - 1);
  });
  return result;
};

const each = (runs: Iterable<ObjectRun>, count: number): ('data' | 'zero' | null)[] => {
  const kinds: ('data' | 'zero' | null)[] = Array.from({ length: count }, () => null);
  for (const { first, end, kind } of runs) kinds.fill(kind, first, end);
  return kinds;
};

const state = fc.integer({ min: 0, max: 3 });

describe('the fold of object maps', () => {
  test.each([
    ['N', ['-', 'data', 'data', 'data']],
    ['E', ['zero', 'data', 'data', '-']],
    ['P', ['zero', 'data', 'data', 'data']],
    ['C', ['zero', 'data', 'data', '-']],
  ])('two maps, %s at the start: as rbd reports it', (from, expected) => {
    const start = 'NEPC'.indexOf(from);
    const runs = fold([
      [start, start, start, start],
      [0, 1, 2, 3],
    ]).changed();
    expect(each(runs, 4).map((kind) => kind ?? '-')).toEqual(expected);
  });

  test('three maps, all 64 combinations: as rbd reports them', () => {
    const file = new URL('../../formats/object-map/vectors/three-maps.json', import.meta.url);
    const { combinations } = JSON.parse(readFileSync(file, 'utf8')) as { combinations: Record<string, string>[] };
    expect(new Set(combinations.map(({ from, mid, end }) => `${from} ${mid} ${end}`)).size).toBe(64);
    const states = ['NONEXISTENT', 'EXISTS', 'PENDING', 'EXISTS_CLEAN'];
    const maps = ['from', 'mid', 'end'].map((version) => combinations.map((one) => states.indexOf(one[version] ?? '')));
    const found = each(fold(maps).changed(), 64).map((kind) => kind ?? 'none');
    expect(found).toEqual(combinations.map(({ reported }) => reported));
  });

  test('many maps of any length: as object by object, with what a version lacks as non-existent', () => {
    const world = fc.array(fc.array(state, { minLength: 1, maxLength: 200 }), { minLength: 2, maxLength: 6 });
    fc.assert(
      fc.property(world, fc.nat(250), fc.nat(250), (maps, a, b) => {
        const count = maps.at(-1)!.length;
        const folded = fold(maps);
        const expected = Array.from({ length: count }, (_, no) => reference(maps.map((map) => map[no] ?? 0)));
        expect(each(folded.changed(), count)).toEqual(expected);
        const [first, end] = [Math.min(a, b, count), Math.min(Math.max(a, b), count)];
        const part = each(folded.changed(first, end), count);
        expect(part).toEqual(expected.map((kind, no) => (no >= first && no < end ? kind : null)));
        expect(folded.changedCount()).toEqual({
          data: expected.filter((kind) => kind === 'data').length,
          zero: expected.filter((kind) => kind === 'zero').length,
        });
        const last = maps.at(-1)!;
        last.forEach((next, no) => expect(folded.exists(no)).toBe(next !== 0));
      }),
    );
  });

  test('a version in between that is smaller does not make it forget what was there (rbd does)', () => {
    const maps = [
      [1, 1, 1, 1],
      [3, 1],
      [3, 3, 0, 1],
    ];
    expect([...fold(maps).changed()]).toEqual([
      { first: 1, end: 2, kind: 'data' },
      { first: 2, end: 3, kind: 'zero' },
      { first: 3, end: 4, kind: 'data' },
    ]);
  });

  test('a map may be longer than its version: the rest is ignored', () => {
    const folded = fold(
      [
        [3, 3, 3, 3, 3, 3],
        [3, 3, 3, 3, 3, 3],
        [3, 3, 3, 3, 1, 1],
      ],
      [6, 3, 5],
    );
    expect([...folded.changed()]).toEqual([{ first: 3, end: 5, kind: 'data' }]);
  });

  test('from the beginning of time, all that exists is data', () => {
    const folded = new ObjectFold(5);
    folded.full(packed([0, 1, 2, 3, 0, 1]), 5);
    expect([...folded.changed()]).toEqual([{ first: 1, end: 4, kind: 'data' }]);
  });

  test('runs are as long as they can be, over words and chunks', () => {
    const count = 300_000;
    const folded = new ObjectFold(count);
    folded.full({ count, states: new Uint8Array(count / 4).fill(0xff) }, count);
    expect([...folded.changed()]).toEqual([{ first: 0, end: count, kind: 'data' }]);
    folded.next({ count, states: new Uint8Array(count / 4) }, count, true);
    expect([...folded.changed(7)]).toEqual([{ first: 7, end: count, kind: 'zero' }]);
  });

  test('marked holes are reported, data is not', () => {
    const folded = new ObjectFold(40);
    folded.start(packed(Array.from({ length: 40 }, (_, i) => (i === 20 ? 3 : 0))), 40);
    folded.markHoles(18, 23);
    expect([...folded.changed()]).toEqual([
      { first: 18, end: 20, kind: 'zero' },
      { first: 21, end: 23, kind: 'zero' },
    ]);
  });

  test('finds unchanged data that a map calls dirty: all of it if asked for as many, else some of it, spread', () => {
    const maps = fc.array(fc.tuple(state, state, state), { minLength: 1, maxLength: 300 });
    fc.assert(
      fc.property(maps, fc.integer({ min: 1, max: 20 }), (objects, most) => {
        const [before, start, end] = [0, 1, 2].map((version) => objects.map((states) => states[version]!));
        const folded = fold([start!, end!]);
        const expected = objects.flatMap(([then, ...states], no) =>
          (then === 1 || then === 2) && reference(states) === null && states[1] !== 0 ? [no] : [],
        );
        const count = objects.length;
        expect(folded.unchangedButDirty(packed(before!), count, count)).toEqual(expected);
        const some = folded.unchangedButDirty(packed(before!), count, most);
        expect(expected).toEqual(expect.arrayContaining(some));
        expect(some.length).toBeLessThanOrEqual(most);
        expect(some.length > 0).toBe(expected.length > 0);
      }),
    );
  });
});
