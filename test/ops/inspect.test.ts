import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';
import { type DiffRecord, encodeDiff } from '../../src/format/rbd-diff.ts';
import { encodeImageHeader } from '../../src/format/rbd-image.ts';
import { ChangeMap } from '../../src/ops/change-map.ts';
import { inspectStream, limits } from '../../src/ops/inspect.ts';

const inspect = (bytes: Uint8Array) => inspectStream(new ByteReader(bytesSource(bytes)));

async function encoded(
  names: [from: string | null, to: string | null],
  size: number,
  records: DiffRecord[],
  version: 1 | 2 = 1,
): Promise<Buffer> {
  const [fromSnap, toSnap] = names;
  async function* all() {
    yield* records;
  }
  const chunks: Uint8Array[] = [];
  const stream = { header: { fromSnap, toSnap, size, protected: null }, records: all() };
  for await (const some of encodeDiff(stream, { version })) for (const chunk of some) chunks.push(Buffer.from(chunk));
  return Buffer.concat(chunks);
}

const write = (offset: number, length: number, byte = 1): DiffRecord => ({
  kind: 'write',
  offset,
  data: new Uint8Array(length).fill(byte),
  remaining: 0,
});
const zero = (offset: number, length: number): DiffRecord => ({ kind: 'zero', offset, length });

describe('inspect', () => {
  test('of a chain of very many diffs only the first are mapped: memory does not follow their number', async () => {
    const one = await encoded([null, null], 1 << 20, [zero(0, 512)]);
    const { diffs, failure } = await inspect(Buffer.concat(Array.from({ length: 2000 }, () => one)));
    expect(failure).toBeNull();
    expect(diffs).toHaveLength(2000);
    expect(diffs.filter(({ map }) => map !== null)).toEqual(diffs.slice(0, limits.maps));
    expect(diffs.every(({ zeros }) => zeros.bytes === 512)).toBe(true);
  });

  test('counts records and bytes, by kind and by length', async () => {
    const bytes = await encoded(['a', 'b'], 1 << 20, [
      write(0, 512),
      write(512, 500),
      zero(8192, 4096),
      write(65536, 8192, 0),
    ]);
    const report = await inspect(bytes);
    expect(report).toMatchObject({ image: null, failure: null, streamBytes: bytes.length });
    expect(report.diffs).toMatchObject([
      {
        version: 1,
        header: { fromSnap: 'a', toSnap: 'b', size: 1 << 20 },
        whole: true,
        writes: { records: 3, bytes: 512 + 500 + 8192 },
        zeros: { records: 1, bytes: 4096 },
        zeroDataBytes: 8192,
        span: { offset: 0, end: 65536 + 8192 },
        lengths: [
          { upTo: 512, records: 2, bytes: 1012 },
          { upTo: 4096, records: 1, bytes: 4096 },
          { upTo: 8192, records: 1, bytes: 8192 },
        ],
        ascending: true,
      },
    ]);
  });

  test('a chain is several diffs', async () => {
    const [a, b] = [await encoded([null, 'a'], 8192, [write(0, 1)]), await encoded(['a', 'b'], 8192, [])];
    const { diffs, failure } = await inspect(Buffer.concat([a, b]));
    expect(failure).toBe(null);
    expect(diffs.map(({ startByte, endByte }) => [startByte, endByte])).toEqual([
      [0, a.length],
      [a.length, a.length + b.length],
    ]);
    expect(diffs[1]).toMatchObject({ span: null, lengths: [], whole: true });
  });

  test('every prefix of a stream is told as far as it goes, and named as damaged', async () => {
    const bytes = await encoded([null, 'a'], 8192, [write(0, 300), zero(4096, 4096)]);
    for (let length = 0; length < bytes.length; length++) {
      const { failure, diffs } = await inspect(bytes.subarray(0, length));
      expect(failure).toMatchObject({ code: 'corrupt' });
      expect(diffs.some(({ whole }) => whole)).toBe(false);
    }
  });

  test('a stream that does not ascend is one, and said to be', async () => {
    const { diffs, failure } = await inspect(await encoded([null, null], 8192, [write(4096, 10), write(0, 10)]));
    expect(failure).toBe(null);
    expect(diffs[0]).toMatchObject({ ascending: false, span: { offset: 0, end: 4106 } });
  });

  test('records that overlap are a failure, as they are to the import, and all is read nevertheless', async () => {
    const first = await encoded([null, 'a'], 8192, []);
    const second = await encoded(['a', 'b'], 8192, [write(2048, 4096), write(0, 2049)], 1);
    const { diffs, failure } = await inspect(Buffer.concat([first, second, first]));
    expect(failure).toMatchObject({ code: 'corrupt', message: expect.stringContaining('overlaps') });
    expect(diffs).toMatchObject([{ whole: true }, { whole: true, writes: { records: 2 } }, { whole: true }]);
  });

  test('what follows a diff and is none is damage', async () => {
    const diff = await encoded([null, 'a'], 8192, [write(0, 300)]);
    const { diffs, failure } = await inspect(Buffer.concat([diff, Buffer.from('garbage behind the end')]));
    expect(failure).toMatchObject({ code: 'corrupt', message: expect.stringContaining(`at byte ${diff.length}`) });
    expect(diffs).toMatchObject([{ whole: true, endByte: diff.length }]);
  });

  test('an image export is its versions, and not one of them fewer', async () => {
    const header = { order: 22, features: 0x3d, stripeUnit: 1 << 22, stripeCount: 1, metadata: new Map([['k', 'v']]) };
    const head = Buffer.concat([encodeImageHeader({ ...header, diffCount: 2 })].flat());
    const [a, b] = [await encoded([null, 'a'], 512, [], 2), await encoded(['a', null], 512, [write(0, 512)], 2)];
    expect(await inspect(Buffer.concat([head, a, b]))).toMatchObject({
      image: { order: 22 },
      diffs: [{}, {}],
      failure: null,
    });
    const short = await inspect(Buffer.concat([head, a]));
    expect(short.failure).toMatchObject({ code: 'corrupt' });
    const long = await inspect(Buffer.concat([head, a, b, Buffer.of(0)]));
    expect(long.failure).toMatchObject({ code: 'corrupt' });
  });

  test('what is no diff is said to be none; what fails besides the stream is thrown', async () => {
    expect((await inspect(Buffer.from('hello, world'))).failure).toMatchObject({ code: 'invalid' });
    const failing = {
      read: () => Promise.reject(new RbdeltaError('io', 'the disk fails')),
      close: async () => undefined,
    };
    await expect(inspectStream(new ByteReader(failing))).rejects.toMatchObject({ code: 'io' });
  });
});

describe('a map of changes', () => {
  test('holds every byte that was added, whatever the size was said to be', () => {
    const size = 1 << 24;
    const extent = fc.tuple(fc.nat(size), fc.integer({ min: 1, max: 1 << 20 }), fc.boolean());
    fc.assert(
      fc.property(
        fc.option(fc.nat(size)),
        fc.array(extent, { maxLength: 20 }),
        fc.integer({ min: 1, max: 500 }),
        (said, extents, parts) => {
          const map = new ChangeMap(said);
          for (const [offset, length, data] of extents) map[data ? 'addData' : 'addZero'](offset, length);
          const sum = (pick: (part: { data: number; zero: number }) => number) =>
            map.parts(parts).reduce((bytes, part) => bytes + pick(part), 0) * (map.end / parts);
          const added = (wanted: boolean) =>
            extents.filter(([, , data]) => data === wanted).reduce((bytes, [, length]) => bytes + length, 0);
          expect(sum(({ data }) => data)).toBeCloseTo(added(true), 1);
          expect(sum((part) => part.zero)).toBeCloseTo(added(false), 1);
        },
      ),
    );
  });
});
