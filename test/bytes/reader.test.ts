import fc from 'fast-check';
import { expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource, type ByteSource, chunkSource } from '../../src/bytes/source.ts';

/** The bytes 0, 1, … 250, 0, …: position and value tell of each other. */
const counting = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => i % 251));

const inChunks = (bytes: Buffer, sizes: number[]): ByteSource => {
  const chunks: Buffer[] = [];
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const size = Math.max(1, sizes[i % sizes.length] ?? 1);
    chunks.push(bytes.subarray(at, at + size));
    at += size;
  }
  return chunkSource(chunks);
};

type Kind = 'exact' | 'fill' | 'skip' | 'peek' | 'try';

/** What a read gives; null for one that gave nothing. What is skipped is looked at first. */
async function read(reader: ByteReader, kind: Kind, length: number): Promise<Buffer | null> {
  if (kind === 'exact') return reader.exact(length, 'x');
  if (kind === 'try') return reader.tryExact(length);
  const peeked = Buffer.from(await reader.peek(Math.min(length, 65_536)));
  if (kind === 'peek') return peeked;
  const into = Buffer.alloc(length);
  if (kind === 'fill' || length > peeked.length) await reader.fill(into, 'x');
  else {
    peeked.copy(into);
    await reader.skip(length, 'x');
  }
  return into;
}

test('any mix of reads over any chunks gives the bytes in order', async () => {
  const step = fc.record(
    {
      kind: fc.constantFrom<Kind>('exact', 'fill', 'skip', 'peek', 'try'),
      length: fc.integer({ min: 0, max: 70_000 }),
    },
    { noNullPrototype: true },
  );
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.integer({ min: 1, max: 90_000 }), { minLength: 1 }),
      fc.array(step),
      async (sizes, steps) => {
        const bytes = counting(250_000);
        const reader = new ByteReader(inChunks(bytes, sizes));
        let at = 0;
        for (const { kind, length: wanted } of steps) {
          const length = kind === 'fill' || kind === 'skip' ? wanted : Math.min(wanted, 65_536);
          if (at + length > bytes.length) break;
          const got = await read(reader, kind, length);
          if (got === null) continue;
          expect(got.equals(bytes.subarray(at, at + length))).toBe(true);
          if (kind !== 'peek') at += length;
          expect(reader.position).toBe(at);
        }
        await reader.skip(bytes.length - at, 'x');
        expect(await reader.atEnd()).toBe(true);
      },
    ),
    { numRuns: 25 },
  );
});

test('an end inside something is corrupt, and says where and inside what', async () => {
  const short = { code: 'corrupt', message: 'the stream ends at byte 5 inside a name: 4 bytes expected, 2 found' };
  const at3 = async (): Promise<ByteReader> => {
    const reader = new ByteReader(inChunks(counting(5), [2]));
    await reader.exact(3, 'x');
    return reader;
  };
  await expect((await at3()).exact(4, 'a name')).rejects.toMatchObject(short);
  await expect((await at3()).fill(Buffer.alloc(4), 'a name')).rejects.toMatchObject(short);
  await expect((await at3()).skip(4, 'a name')).rejects.toMatchObject(short);
  const empty = new ByteReader(bytesSource(counting(0)));
  await expect(empty.exact(1, 'a tag')).rejects.toThrow('inside a tag: 1 byte expected, 0 found');
});

test('peek gives what there is, and consumes nothing', async () => {
  const reader = new ByteReader(inChunks(counting(5), [1]));
  expect([...(await reader.peek(3))]).toEqual([0, 1, 2]);
  expect([...(await reader.peek(10))]).toEqual([0, 1, 2, 3, 4]);
  expect(reader.position).toBe(0);
  expect(await reader.atEnd()).toBe(false);
});

test('tryExact never waits: null until the bytes are here', async () => {
  const reader = new ByteReader(inChunks(counting(10), [4]));
  expect(reader.tryExact(1)).toBeNull();
  await reader.exact(1, 'x');
  expect([...reader.tryExact(3)!]).toEqual([1, 2, 3]);
  expect(reader.tryExact(1)).toBeNull();
});

test('a large fill goes straight from the source to its place', async () => {
  const asked: Uint8Array[] = [];
  const source: ByteSource = {
    async read(into) {
      asked.push(into);
      return into.length;
    },
    async close() {},
  };
  const into = Buffer.alloc(1 << 20);
  await new ByteReader(source).fill(into, 'x');
  expect(asked.map((view) => view.buffer)).toEqual([into.buffer]);
});

test('a source that ended is not asked again', async () => {
  let reads = 0;
  const source: ByteSource = {
    async read() {
      reads += 1;
      return 0;
    },
    async close() {},
  };
  const reader = new ByteReader(source);
  expect(await reader.atEnd()).toBe(true);
  expect(await reader.atEnd()).toBe(true);
  await expect(reader.fill(Buffer.alloc(1), 'x')).rejects.toMatchObject({ code: 'corrupt' });
  expect(reads).toBe(1);
});

test('more than a small read is a mistake of the caller', async () => {
  const reader = new ByteReader(bytesSource(counting(100)));
  await expect(reader.exact(65_537, 'x')).rejects.toThrow(RangeError);
});
