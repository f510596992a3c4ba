import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ExtentList } from '../../src/diff/extent.ts';
import { blockBytes } from '../../src/format/archive-index.ts';
import { type BlockSpans, blockSpans } from '../../src/repo/block-spans.ts';

const listOf = (extents: { offset: number; length: number; zero?: boolean }[]): { extents: ExtentList } => {
  const list = new ExtentList();
  for (const { offset, length, zero } of extents) list.push(offset, length, zero === true ? 'zero' : 'data');
  return { extents: list };
};

const plan = async (
  lists: { extents: ExtentList }[],
  size: number,
  extra: readonly number[] = [],
): Promise<BlockSpans[]> => {
  const tasks: BlockSpans[] = [];
  for await (const task of blockSpans(lists, { size, extra })) tasks.push(task);
  return tasks;
};

const pairs = (values: Float64Array): [number, number][] =>
  Array.from({ length: values.length / 2 }, (_, i) => [values[2 * i]!, values[2 * i + 1]!]);

const extentsOf = fc.array(
  fc.record(
    {
      gap: fc.oneof(
        fc.constant(0),
        fc.nat(3000),
        fc.nat(200_000),
        fc.nat(50).map((n) => n * blockBytes),
      ),
      length: fc.oneof(
        fc.integer({ min: 1, max: 3000 }),
        fc.integer({ min: 1, max: 300_000 }),
        fc.integer({ min: 1, max: 9e6 }),
      ),
      zero: fc.boolean(),
      newList: fc.boolean(),
    },
    { noNullPrototype: true },
  ),
  { maxLength: 40 },
);

test('tasks tell of what changed and nothing else, in blocks, bounded, each block in one task', async () => {
  await fc.assert(
    fc.asyncProperty(
      extentsOf,
      fc.nat(200_000),
      fc.array(fc.nat(600), { maxLength: 5 }),
      async (gaps, cut, extraBlocks) => {
        const lists: { offset: number; length: number; zero: boolean }[][] = [[]];
        let at = 0;
        for (const { gap, length, zero, newList } of gaps) {
          if (newList) lists.push([]);
          lists.at(-1)!.push({ offset: at + gap, length, zero });
          at += gap + length;
        }
        const size = Math.max(1, at - cut);
        const extra = [...new Set(extraBlocks)].sort((a, b) => a - b);
        const tasks = await plan(
          lists.map((list) => listOf(list)),
          size,
          extra,
        );

        let reached = 0;
        const told: { offset: number; end: number; zero: boolean }[] = [];
        const read = new Set<number>();
        for (const { spans, changes, bytes, start, end } of tasks) {
          expect(start % blockBytes).toBe(0);
          expect(start).toBeGreaterThanOrEqual(reached);
          expect(end % blockBytes === 0 || end === size).toBe(true);
          reached = end;
          let spanEnd = start;
          for (const [offset, length] of pairs(spans)) {
            expect(offset % blockBytes).toBe(0);
            expect(offset).toBeGreaterThanOrEqual(spanEnd);
            spanEnd = offset + length;
            expect(spanEnd % blockBytes === 0 || spanEnd === size).toBe(true);
            for (let b = offset; b < spanEnd; b += blockBytes) read.add(b / blockBytes);
          }
          expect(spanEnd).toBeLessThanOrEqual(end);
          expect(bytes).toBe(pairs(spans).reduce((sum, [, length]) => sum + length, 0));
          expect(bytes).toBeLessThanOrEqual(4 << 20);
          for (const [offset, length] of pairs(changes)) {
            const stop = offset + Math.abs(length);
            const inside = pairs(spans).some(([s, l]) => offset >= s && stop <= s + l);
            const outside = pairs(spans).every(([s, l]) => stop <= s || offset >= s + l);
            const wholeZeros = length < 0 && offset % blockBytes === 0 && (stop % blockBytes === 0 || stop === size);
            expect(inside || (outside && wholeZeros)).toBe(true);
            told.push({ offset, end: stop, zero: length < 0 });
          }
        }
        // the same bytes, of the same kind
        const joined = (list: { offset: number; end: number; zero: boolean }[]) => {
          const out: { offset: number; end: number; zero: boolean }[] = [];
          for (const { offset, end, zero } of list) {
            const last = out.at(-1);
            if (last && last.end === offset && last.zero === zero) last.end = end;
            else out.push({ offset, end, zero });
          }
          return out;
        };
        const expected = lists
          .flat()
          .filter(({ offset }) => offset < size)
          .map(({ offset, length, zero }) => ({ offset, end: Math.min(offset + length, size), zero }));
        expect(joined(told)).toEqual(joined(expected));
        // extra blocks are read, or known to be zeros
        for (const block of extra) {
          const [from, to] = [block * blockBytes, Math.min((block + 1) * blockBytes, size)];
          if (from >= size || read.has(block)) continue;
          expect(joined(told).some(({ offset, end, zero }) => zero && offset <= from && end >= to)).toBe(true);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a whole object of 4 MiB is one task', async () => {
  const tasks = await plan([listOf([{ offset: 0, length: 12 << 20 }])], 1 << 30);
  expect(tasks.map(({ start, end, bytes }) => [start, end, bytes])).toEqual(
    [0, 1, 2].map((i) => [i << 22, (i + 1) << 22, 1 << 22]),
  );
});

test('small changes far from each other share a task', async () => {
  const extents = Array.from({ length: 64 }, (_, i) => ({ offset: i * 2 ** 34 + 8192, length: 4096 }));
  const tasks = await plan([listOf(extents)], 2 ** 40);
  expect(tasks.length).toBe(1);
  expect(tasks[0]!.spans.length).toBe(128);
});

test('zeros are cut at 1 GiB, and read only where they share a block', async () => {
  const tasks = await plan([listOf([{ offset: 1000, length: 2 ** 32, zero: true }])], 2 ** 40);
  expect(tasks.flatMap(({ spans }) => pairs(spans))).toEqual([
    [0, 65536],
    [2 ** 32, 65536],
  ]);
  for (const { start, end } of tasks) expect(end - start).toBeLessThanOrEqual(2 ** 30 + 2 * blockBytes);
});

test('the last block of the image is whole where the image ends', async () => {
  const size = 3 * blockBytes + 512;
  const [task] = await plan([listOf([{ offset: 0, length: size, zero: true }])], size);
  expect(task).toMatchObject({ bytes: 0, start: 0, end: size });
  expect(pairs(task!.changes)).toEqual([[0, -size]]);
});

test('more changes of a block than a frame has records for are taken as one', async () => {
  const extents = Array.from({ length: 64 * 1024 }, (_, i) => ({ offset: 64 * i, length: 2, zero: i % 3 === 0 }));
  const tasks = await plan([listOf(extents)], 1 << 30);
  expect(tasks.length).toBe(1);
  expect(tasks[0]!.changes.length / 2).toBe(64 * 16);
  const blockOf = (offset: number): number => Math.floor(offset / blockBytes);
  const wrong = pairs(tasks[0]!.changes).filter(
    ([offset, length]) => blockOf(offset) !== blockOf(offset + Math.abs(length) - 1),
  );
  expect(wrong).toEqual([]);
});

test('zeros that lie scattered are bounded in records', async () => {
  const extents = Array.from({ length: 30_000 }, (_, i) => ({
    offset: 2 * i * blockBytes,
    length: blockBytes,
    zero: true,
  }));
  const tasks = await plan([listOf(extents)], 2 ** 40);
  for (const { changes } of tasks) expect(changes.length / 2).toBeLessThanOrEqual(11_000);
  expect(tasks.flatMap(({ changes }) => pairs(changes)).length).toBe(30_000);
});
