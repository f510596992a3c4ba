// What is known of a data object: clones, overlaps, and what follows for diffs.

import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  beforeChange,
  changedBetween,
  type DataObject,
  intersect,
  isHeadOwn,
  type Ranges,
  rolledBack,
  subtract,
  union,
  versionAt,
  withoutSnap,
} from '../../../src/image/local/snapset.ts';

const KiB = 1024;

/** A history of one object, told as steps. */
class History {
  object: DataObject = { seq: 0, head: null, clones: [] };
  size = 0;
  snaps: number[] = [];
  seq = 0;
  files = 0;

  get context() {
    return { seq: this.seq, snaps: this.snaps };
  }

  write(offset: number, length: number): this {
    const before = beforeChange(this.object, this.context, this.size, [offset, length]);
    const head = isHeadOwn(this.object, this.context) ? this.object.head : `file-${++this.files}`;
    this.object = { ...before, head };
    this.size = Math.max(this.size, offset + length);
    return this;
  }

  remove(): this {
    this.object = { ...beforeChange(this.object, this.context, this.size, [0, this.size]), head: null };
    this.size = 0;
    return this;
  }

  snapshot(): this {
    this.seq += 1;
    this.snaps = [...this.snaps, this.seq];
    return this;
  }

  drop(snap: number): this {
    this.snaps = this.snaps.filter((id) => id !== snap);
    this.object = withoutSnap(this.object, snap) ?? { seq: 0, head: null, clones: [] };
    return this;
  }

  changed(from: number, to: number | null): { data: Ranges; zero: Ranges } {
    return changedBetween(this.object, from, to, this.size);
  }
}

const history = () => new History();
const nothing = { data: [], zero: [] };

describe('clones', () => {
  test('a head that a snapshot needs becomes a clone, which serves all snapshots since the write before', () => {
    const { object } = history().write(0, 4096).snapshot().snapshot().write(0, 512);
    expect(object.clones).toEqual([{ id: 2, snaps: [1, 2], size: 4096, overlap: [512, 3584], file: 'file-1' }]);
    expect(object.head).toBe('file-2');
    expect(versionAt(object, 1)).toEqual({ file: 'file-1', size: 4096 });
    expect(versionAt(object, null)).toEqual({ file: 'file-2', size: null });
  });

  test('a snapshot from before the object has none', () => {
    const { object } = history().snapshot().write(0, 512).snapshot();
    expect(versionAt(object, 1)).toBeNull();
    expect(versionAt(object, 2)?.file).toBe('file-1');
  });

  test('a clone goes with its last snapshot, and the older one keeps only the overlap that both have', () => {
    const told = history()
      .write(0, 8 * KiB)
      .snapshot()
      .write(0, 512)
      .snapshot()
      .write(4 * KiB, 512)
      .drop(2);
    expect(told.object.clones).toEqual([
      { id: 1, snaps: [1], size: 8 * KiB, overlap: [512, 3584, 4608, 3584], file: 'file-1' },
    ]);
    expect(told.changed(1, null).data).toEqual([0, 512, 4096, 512]);
  });

  test('nothing is left of an object that was removed, once no snapshot needs it', () => {
    expect(withoutSnap(history().write(0, 512).snapshot().remove().object, 1)).toBeNull();
  });

  test('a head that was rolled back shares the file of the clone, and is not written in place', () => {
    const told = history().write(0, 4096).snapshot().write(0, 512);
    const back = rolledBack(told.object, 1, told.context, told.size);
    expect(back.head).toBe('file-1');
    expect(isHeadOwn(back, told.context)).toBe(false);
  });

  test('a rollback over an object that the snapshot does not know removes it, and keeps it for newer snapshots', () => {
    const told = history().snapshot().write(0, 4096).snapshot();
    expect(rolledBack(told.object, 1, told.context, told.size)).toEqual({
      seq: 2,
      head: null,
      clones: [{ id: 2, snaps: [2], size: 4096, overlap: [], file: 'file-1' }],
    });
  });

  test('a rollback to what the head still is changes nothing', () => {
    const told = history().write(0, 4096).snapshot();
    expect(rolledBack(told.object, 1, told.context, told.size)).toBe(told.object);
  });
});

describe('what changed', () => {
  test('is what was written since', () => {
    const told = history()
      .write(0, 8 * KiB)
      .snapshot()
      .write(4 * KiB, 512)
      .snapshot()
      .write(0, 1);
    expect(told.changed(1, 2).data).toEqual([4 * KiB, 512]);
    expect(told.changed(1, null).data).toEqual([0, 1, 4 * KiB, 512]);
    expect(told.changed(2, null).data).toEqual([0, 1]);
  });

  test('is the whole object, holes included, where it first appears', () => {
    expect(history().snapshot().write(4096, 512).changed(1, null)).toEqual({ data: [0, 4608], zero: [] });
    expect(history().write(4096, 512).changed(0, null)).toEqual({ data: [0, 4608], zero: [] });
  });

  test('is zeros where the object is gone, or shorter', () => {
    expect(history().write(0, 4096).snapshot().remove().changed(1, null)).toEqual({ data: [], zero: [0, 4096] });
    const rewritten = history().write(0, 4096).snapshot().remove().write(0, 1024);
    expect(rewritten.changed(1, null)).toEqual({ data: [0, 1024], zero: [1024, 3072] });
  });

  test('reaches, from the beginning, as far as any content did: as librbd reports it, which cuts only what was there before', () => {
    const told = history().write(0, 4096).snapshot().remove().write(0, 1024);
    expect(told.changed(0, null)).toEqual({ data: [0, 4096], zero: [] });
    const longBetween = history().write(0, 512).snapshot().write(0, 4096).snapshot().remove().write(0, 1024);
    expect(longBetween.changed(1, null)).toEqual({ data: [0, 4096], zero: [] });
  });

  test('hides as much of a parent as an empty object covers, which is new to nobody from the beginning', () => {
    const { object } = history().snapshot().write(0, 0);
    expect(changedBetween(object, 1, null, 0, 4096)).toEqual({ data: [], zero: [0, 4096] });
    expect(changedBetween(object, 0, null, 0, 4096)).toEqual(nothing);
  });

  test('is nothing where the object came and went, or is the same', () => {
    const told = history().snapshot().write(0, 512).snapshot().remove();
    expect(told.changed(1, null)).toEqual(nothing);
    expect(told.changed(2, 2)).toEqual(nothing);
    expect(history().write(0, 512).snapshot().snapshot().changed(1, 2)).toEqual(nothing);
  });
});

describe('ranges', () => {
  const size = 64;
  const bits = fc.array(fc.boolean(), { minLength: size, maxLength: size });
  const rangesOf = (set: boolean[]): Ranges => {
    const ranges: Ranges = [];
    for (const [at, is] of set.entries()) {
      if (!is) continue;
      if (set[at - 1]) ranges[ranges.length - 1]! += 1;
      else ranges.push(at, 1);
    }
    return ranges;
  };

  test('are cut, joined and taken from one another as sets of bytes are', () => {
    fc.assert(
      fc.property(bits, bits, (left, right) => {
        const [a, b] = [rangesOf(left), rangesOf(right)];
        expect(intersect(a, b)).toEqual(rangesOf(left.map((is, at) => is && right[at]!)));
        expect(subtract(a, b)).toEqual(rangesOf(left.map((is, at) => is && !right[at]!)));
        expect(union(a, b)).toEqual(rangesOf(left.map((is, at) => is || right[at]!)));
      }),
    );
  });
});
