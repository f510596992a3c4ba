import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { mergeDiffs } from '../../src/diff/merge.ts';
import type { DiffHeader, DiffRecord, DiffStream } from '../../src/format/rbd-diff.ts';

interface Step {
  size: number;
  /** Gap before, length, and the byte it is filled with: 0 is a zero record. */
  records: { gap: number; length: number; fill: number }[];
}

const step: fc.Arbitrary<Step> = fc.record(
  {
    size: fc.integer({ min: 0, max: 60 }),
    records: fc.array(
      fc.record(
        { gap: fc.nat(8), length: fc.integer({ min: 1, max: 12 }), fill: fc.nat(3) },
        { noNullPrototype: true },
      ),
      { maxLength: 8 },
    ),
  },
  { noNullPrototype: true },
);

const header = (i: number, size: number | null): DiffHeader => ({
  fromSnap: i === 0 ? null : `s${i - 1}`,
  toSnap: `s${i}`,
  size,
  protected: null,
});

/** Records of a step, cut in pieces so that payloads come as the decoder may give them. */
async function* recordsOf({ size, records }: Step, pieceBytes: number): AsyncGenerator<DiffRecord> {
  let at = 0;
  const borrowed = new Uint8Array(pieceBytes);
  for (const { gap, length, fill } of records) {
    const offset = at + gap;
    at = offset + length;
    if (at > size) return;
    if (fill === 0) {
      yield { kind: 'zero', offset, length };
      continue;
    }
    for (let done = 0; done < length; ) {
      const data = borrowed.subarray(0, Math.min(pieceBytes, length - done));
      data.fill(fill);
      yield { kind: 'write', offset: offset + done, data, remaining: length - done - data.length };
      done += data.length;
      borrowed.fill(0xee); // borrowed: what was given is no longer valid
    }
  }
}

const stream = (steps: Step, i: number, pieceBytes = 64): DiffStream => ({
  header: header(i, steps.size),
  records: recordsOf(steps, pieceBytes),
});

/** What applying a diff makes of a content, byte by byte. */
const apply = async (content: Uint8Array, diff: DiffStream): Promise<Uint8Array> => {
  const result = new Uint8Array(diff.header.size ?? 0);
  result.set(content.subarray(0, result.length));
  let reached = 0;
  for await (const record of diff.records) {
    const length = record.kind === 'write' ? record.data.length : record.length;
    expect(record.offset).toBeGreaterThanOrEqual(reached);
    expect(length).toBeGreaterThan(0);
    reached = record.offset + length;
    expect(reached).toBeLessThanOrEqual(result.length);
    if (record.kind === 'write') result.set(record.data, record.offset);
    else result.fill(0, record.offset, reached);
  }
  return result;
};

/** A copy of the records, zeros that touch as one and data byte by byte: equal if the streams say the same. */
const told = async (diff: DiffStream): Promise<(number | null)[]> => {
  const bytes: (number | null)[] = Array.from({ length: diff.header.size ?? 0 }, () => null);
  for await (const record of diff.records) {
    const length = record.kind === 'write' ? record.data.length : record.length;
    for (let i = 0; i < length; i++) bytes[record.offset + i] = record.kind === 'write' ? record.data[i]! : 0;
  }
  return bytes;
};

const held = async (diff: DiffStream): Promise<DiffStream> => {
  const records: DiffRecord[] = [];
  for await (const record of diff.records) {
    records.push(record.kind === 'write' ? { ...record, data: record.data.slice() } : record);
  }
  return {
    header: diff.header,
    records: (async function* () {
      yield* records;
    })(),
  };
};

const of = (records: DiffRecord[], given: Partial<DiffHeader>): DiffStream => ({
  header: { fromSnap: null, toSnap: null, size: 100, protected: null, ...given },
  records: (async function* () {
    yield* records;
  })(),
});

const drain = async (diff: DiffStream): Promise<DiffRecord[]> => {
  const records: DiffRecord[] = [];
  for await (const record of diff.records) records.push(record);
  return records;
};

const write = (offset: number, ...bytes: number[]): DiffRecord => ({
  kind: 'write',
  offset,
  data: Uint8Array.from(bytes),
  remaining: 0,
});

const zero = (offset: number, length: number): DiffRecord => ({ kind: 'zero', offset, length });

describe('the merge of diffs', () => {
  const chain = fc.array(step, { minLength: 1, maxLength: 6 });

  test('applied, it is as applying all of them in turn, on any base', async () => {
    await fc.assert(
      fc.asyncProperty(chain, fc.integer({ min: 1, max: 9 }), fc.nat(60), async (steps, pieceBytes, baseSize) => {
        const base = new Uint8Array(baseSize).fill(9);
        let expected: Uint8Array = base;
        for (const [i, one] of steps.entries()) expected = await apply(expected, stream(one, i));
        const merged = mergeDiffs(steps.map((one, i) => stream(one, i, pieceBytes)));
        expect(await apply(base, merged)).toEqual(expected);
      }),
      { numRuns: 500 },
    );
  });

  test('all at once says the same as two and two', async () => {
    await fc.assert(
      fc.asyncProperty(chain, async (steps) => {
        let pairwise = await held(stream(steps[0]!, 0));
        for (const [i, one] of steps.entries()) {
          if (i > 0) pairwise = await held(mergeDiffs([pairwise, stream(one, i)]));
        }
        const atOnce = mergeDiffs(steps.map((one, i) => stream(one, i)));
        expect(atOnce.header).toEqual(pairwise.header);
        expect(await told(atOnce)).toEqual(await told(pairwise));
      }),
      { numRuns: 300 },
    );
  });

  test('starts where the first does, and ends where the last does', () => {
    const merged = mergeDiffs([
      of([], { fromSnap: 'a', toSnap: 'b', size: 1 }),
      of([], { fromSnap: 'b', toSnap: 'c', size: 2, protected: true }),
    ]);
    expect(merged.header).toEqual({ fromSnap: 'a', toSnap: 'c', size: 2, protected: true });
    expect(mergeDiffs([of([], { toSnap: 'b' }), of([], { fromSnap: 'b' })]).header.fromSnap).toBeNull();
  });

  test('what a shrink cut off comes back as zeros, even if an older diff had data there', async () => {
    const merged = mergeDiffs([
      of([write(0, 1, 2, 3, 4, 5, 6, 7, 8)], { toSnap: 'a', size: 8 }),
      of([], { fromSnap: 'a', toSnap: 'b', size: 3 }),
      of([write(5, 9)], { fromSnap: 'b', size: 8 }),
    ]);
    expect(await drain(merged)).toEqual([write(0, 1, 2, 3), zero(3, 2), write(5, 9), zero(6, 2)]);
  });

  test('payloads are passed on, not copied', async () => {
    const data = Uint8Array.from([1, 2, 3, 4]);
    const first = of([{ kind: 'write', offset: 0, data, remaining: 0 }], { toSnap: 'a' });
    const [start, , end] = await drain(mergeDiffs([first, of([zero(1, 2)], { fromSnap: 'a' })]));
    for (const record of [start, end]) expect(record?.kind === 'write' && record.data.buffer).toBe(data.buffer);
  });

  test.each([
    ['another snapshot', 'a', 'b', 'ends at snapshot "a", but diff 2 of 2 starts at snapshot "b"'],
    ['the head', null, 'b', 'ends at the head, at no snapshot, but diff 2 of 2 starts at snapshot "b"'],
    ['a full', 'a', null, 'ends at snapshot "a", but diff 2 of 2 starts from nothing'],
    ['neither named', null, null, 'ends at the head, at no snapshot, but diff 2 of 2 starts from nothing'],
    ['empty names', '', '', 'ends at the head'],
  ])('diffs that do not follow each other are refused before a record is pulled: %s', (_, toSnap, fromSnap, text) => {
    const merge = () => mergeDiffs([of([], { toSnap }), of([], { fromSnap })]);
    expect(merge).toThrow(expect.objectContaining({ code: 'invalid', message: expect.stringContaining(text) }));
  });

  test('a diff without a size is refused', () => {
    expect(() => mergeDiffs([of([], { size: null })])).toThrow(expect.objectContaining({ code: 'invalid' }));
    expect(() => mergeDiffs([])).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test('a diff that is not in rising order, or goes past its size, is refused', async () => {
    const falling = mergeDiffs([of([zero(4, 4), zero(6, 1)], {})]);
    await expect(drain(falling)).rejects.toMatchObject({ code: 'unsupported' });
    const past = mergeDiffs([of([zero(98, 3)], {})]);
    await expect(drain(past)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('a diff that fails, however late and however hidden, fails the merge; the others are closed', async () => {
    const closed: string[] = [];
    const failing = async function* (): AsyncGenerator<DiffRecord> {
      yield write(90, 1);
      throw new Error('truncated');
    };
    const endless = async function* (): AsyncGenerator<DiffRecord> {
      try {
        for (let at = 0; at < 10; at++) yield zero(at * 2, 1);
        yield zero(95, 1);
      } finally {
        closed.push('endless');
      }
    };
    const merged = mergeDiffs([
      { ...of([], { toSnap: 'a' }), records: failing() },
      { ...of([], { fromSnap: 'a', toSnap: 'b', size: 100 }), records: endless() },
      of([], { fromSnap: 'b', size: 50 }),
    ]);
    await expect(drain(merged)).rejects.toThrow('truncated');
    expect(closed).toEqual(['endless']);
  });
});
