import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ByteReader } from '../../src/bytes/reader.ts';
import {
  type DiffHeader,
  type DiffReadOptions,
  type DiffRecord,
  type DiffVersion,
  encodeDiff,
  limits,
  openDiff,
} from '../../src/format/rbd-diff.ts';
import { acceptedPrefixes, byteByByte, cutAt, cutLengths, gather, outcome, refusal, whole } from './cuts.ts';

const folder = new URL('../../formats/rbd-diff/vectors/', import.meta.url);

/** A record as the vectors tell it: kind, offset, length, and of data the start of its SHA-256. */
type Told = [string, number, number, string?];
interface ToldDiff {
  version: DiffVersion;
  header: DiffHeader;
  records: Told[];
}
interface Vectors {
  valid: Record<string, { order: 'ascending' | 'any'; same: boolean; diffs: ToldDiff[] }>;
  refused: Record<string, { hex: string; code: string; says: string }>;
}
const vectors = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as Vectors;
const load = (file: string): Buffer => readFileSync(new URL(file, folder));

/** Everything a chain of diffs says; pieces are put together. */
const readAll = async (reader: ByteReader, options: DiffReadOptions = {}): Promise<ToldDiff[]> => {
  const diffs: ToldDiff[] = [];
  for (;;) {
    const diff = await openDiff(reader, options);
    if (diff === null) return diffs;
    const records: Told[] = [];
    let digest = createHash('sha256');
    let length = 0;
    for await (const record of diff.records) {
      if (record.kind === 'zero') {
        records.push(['zero', record.offset, record.length]);
        continue;
      }
      if (record.data.length > limits.pieceBytes) throw new Error(`a piece of ${record.data.length} bytes`);
      digest.update(record.data);
      length += record.data.length;
      if (record.remaining > 0) continue;
      const end = record.offset + record.data.length;
      records.push(['write', end - length, length, digest.digest('hex').slice(0, 16)]);
      digest = createHash('sha256');
      length = 0;
    }
    diffs.push({ version: diff.version, header: diff.header, records });
  }
};

const reencode = async (reader: ByteReader, options: DiffReadOptions = {}): Promise<Buffer> => {
  const parts: Buffer[] = [];
  for (;;) {
    const diff = await openDiff(reader, options);
    if (diff === null) return Buffer.concat(parts);
    parts.push(await gather(encodeDiff(diff, { version: diff.version })));
  }
};

test('every vector on disk is told in vectors.json', () => {
  const onDisk = readdirSync(folder).filter((file) => file.endsWith('.diff'));
  expect(Object.keys(vectors.valid).sort()).toEqual(onDisk.sort());
});

describe.each(Object.entries(vectors.valid))('%s', (file, { order, same, diffs }) => {
  const stream = load(file);

  test('decodes to what it says: whole, byte by byte, cut anywhere', async () => {
    expect(await readAll(whole(stream), { order })).toEqual(diffs);
    expect(await readAll(byteByByte(stream), { order })).toEqual(diffs);
    await fc.assert(
      fc.asyncProperty(cutLengths, async (lengths) => {
        expect(await readAll(cutAt(stream, lengths), { order })).toEqual(diffs);
      }),
      { numRuns: 10 },
    );
  });

  test('decodes to the same with an allocator', async () => {
    const allocate = async (bytes: number) => new Uint8Array(bytes + 7);
    expect(await readAll(whole(stream), { order, allocate })).toEqual(diffs);
    expect(await readAll(byteByByte(stream), { order, allocate })).toEqual(diffs);
  });

  test('encodes to the same bytes, or to others that say the same', async () => {
    const again = await reencode(whole(stream), { order });
    expect(await readAll(whole(again), { order })).toEqual(diffs);
    expect(again.equals(stream)).toBe(same);
  });

  test('is refused as corrupt wherever it is cut off', async () => {
    const whereDiffsEnd = [0, ...(await diffEnds(stream, order)).slice(0, -1)];
    const accepted = await acceptedPrefixes(stream, (prefix) => drain(whole(prefix), order));
    expect(accepted).toEqual(whereDiffsEnd);
  });
});

/** Where each diff of a chain ends. */
const diffEnds = async (stream: Buffer, order: 'ascending' | 'any'): Promise<number[]> => drain(whole(stream), order);

const drain = async (reader: ByteReader, order: 'ascending' | 'any'): Promise<number[]> => {
  const ends: number[] = [];
  for (;;) {
    const diff = await openDiff(reader, { order });
    if (diff === null) return ends;
    for await (const _ of diff.records);
    ends.push(reader.position);
  }
};

describe.each(Object.entries(vectors.refused))('refused: %s', (_, { hex, code, says }) => {
  test.each([
    ['whole', whole],
    ['byte by byte', byteByByte],
  ])('%s', async (_way, open) => {
    const error = await refusal(() => readAll(open(Buffer.from(hex, 'hex'))));
    expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
  });
});

test('no input at all is no diff, and no error', async () => {
  expect(await openDiff(whole(Buffer.alloc(0)))).toBeNull();
});

test('unsorted records are refused unless they are asked for', async () => {
  const error = await refusal(() => readAll(whole(load('made-v1-unsorted.diff'))));
  expect(error?.code).toBe('corrupt');
});

test('a record longer than a piece comes in pieces that join up', async () => {
  const data = Buffer.alloc(2 * limits.pieceBytes + 12_345, 'rbdelta ');
  const stream = await gather(
    encodeDiff({
      header: { fromSnap: null, toSnap: null, size: data.length + 10, protected: null },
      records: from([{ kind: 'write', offset: 10, data, remaining: 0 }]),
    }),
  );
  expect(stream.length).toBe(12 + 9 + 17 + data.length + 1);
  const asked: number[] = [];
  const allocate = (bytes: number) => {
    asked.push(bytes);
    return new Uint8Array(bytes);
  };
  const [read] = await readAll(whole(stream), { allocate });
  expect(read?.records).toEqual([['write', 10, data.length, sha(data)]]);
  expect(asked).toEqual([limits.pieceBytes, limits.pieceBytes, 12_345]);
  const again = await reencode(cutAt(stream, [70_000, 1, 3_000_000]));
  expect(again.equals(stream)).toBe(true);
});

test('a record that says it has 2^50 bytes costs no more than a piece', async () => {
  const stream = Buffer.concat([Buffer.from('rbd diff v1\nw'), u64(0n), u64(1n << 50n), Buffer.alloc(100)]);
  let most = 0;
  const allocate = (bytes: number) => {
    most = Math.max(most, bytes);
    return new Uint8Array(bytes);
  };
  const error = await refusal(() => readAll(whole(stream), { allocate }));
  expect(error?.code).toBe('corrupt');
  expect(most).toBe(limits.pieceBytes);
});

describe('writing', () => {
  const header: DiffHeader = { fromSnap: null, toSnap: null, size: 100, protected: null };
  const write = (offset: number, length: number, remaining = 0): DiffRecord => ({
    kind: 'write',
    offset,
    data: Buffer.alloc(length, 1),
    remaining,
  });

  test.each<[string, DiffRecord[]]>([
    ['a record past the end', [write(99, 2)]],
    ['a piece that does not go on where the last one ended', [write(0, 5, 5), write(6, 5)]],
    ['a zero record inside a write record', [write(0, 5, 5), { kind: 'zero', offset: 5, length: 5 }]],
    ['an end inside a write record', [write(0, 5, 5)]],
    ['an offset that is no integer', [write(0.5, 5)]],
  ])('%s is a bug', async (_, records) => {
    await expect(gather(encodeDiff({ header, records: from(records) }))).rejects.toThrow(Error);
  });

  test('a name longer than rbd takes is refused', async () => {
    const tooLong = { ...header, toSnap: 'n'.repeat(4097) };
    await expect(gather(encodeDiff({ header: tooLong, records: from([]) }))).rejects.toMatchObject({ code: 'invalid' });
  });

  test('borrowed data is consumed before the next record is pulled', async () => {
    const shared = Buffer.alloc(20_000);
    async function* records(): AsyncGenerator<DiffRecord> {
      for (const [index, length] of [20_000, 100, 20_000, 16_384, 3].entries()) {
        shared.fill(index + 1);
        yield { kind: 'write', offset: index * 30_000, data: shared.subarray(0, length), remaining: 0 };
        yield { kind: 'zero', offset: index * 30_000 + length, length: 1 };
        shared.fill(0xff);
      }
    }
    const size = 200_000;
    const stream = await gather(encodeDiff({ header: { ...header, size }, records: records() }));
    const diff = await openDiff(whole(stream));
    const found: number[][] = [];
    for await (const record of diff?.records ?? []) {
      if (record.kind === 'write') found.push([...new Set(record.data)]);
    }
    expect(found).toEqual([[1], [2], [3], [4], [5]]);
  });
});

describe('any diff', () => {
  const name = fc.oneof(fc.constant(null), fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }));
  const parts = fc.array(
    fc.record(
      {
        gap: fc.oneof(fc.constant(0), fc.nat(10_000)),
        data: fc.oneof(fc.constant(null), fc.uint8Array({ minLength: 1, maxLength: 30_000 })),
        length: fc.integer({ min: 1, max: 2 ** 40 }),
        cut: fc.double({ min: 0, max: 1, noNaN: true }),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 30 },
  );

  test('comes back as it was written', async () => {
    await fc.assert(
      fc.asyncProperty(
        name,
        name,
        parts,
        fc.constantFrom<DiffVersion>(1, 2),
        cutLengths,
        async (f, t, some, version, lengths) => {
          const told: Told[] = [];
          const records: DiffRecord[] = [];
          let at = 0;
          for (const { gap, data, length, cut } of some) {
            at += gap;
            if (data === null) {
              told.push(['zero', at, length]);
              records.push({ kind: 'zero', offset: at, length });
              at += length;
              continue;
            }
            told.push(['write', at, data.length, sha(data)]);
            const first = Math.floor(cut * data.length);
            if (first > 0)
              records.push({
                kind: 'write',
                offset: at,
                data: data.subarray(0, first),
                remaining: data.length - first,
              });
            if (first < data.length)
              records.push({ kind: 'write', offset: at + first, data: data.subarray(first), remaining: 0 });
            at += data.length;
          }
          const header = {
            fromSnap: f,
            toSnap: t,
            size: at,
            protected: version === 2 && t !== null ? at % 2 === 0 : null,
          };
          const stream = await gather(encodeDiff({ header, records: from(records) }, { version }));
          expect(await readAll(cutAt(stream, lengths))).toEqual([{ version, header, records: told }]);
        },
      ),
      { numRuns: 100 },
    );
  });
});

describe('any bytes', () => {
  const tag = fc.constantFrom(...Buffer.from('ftpswze?\0'));
  const piece = fc.oneof(
    tag.map((byte) => Buffer.of(byte)),
    fc.constantFrom(0n, 1n, 5n, 4096n, 4097n, 1n << 40n, (1n << 53n) - 1n, 1n << 63n).map(u64),
    fc.uint8Array({ maxLength: 20 }),
  );

  test('are read or refused, never anything else, and never cost more than a piece', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom('rbd diff v1\n', 'rbd diff v2\n', ''),
        fc.array(piece, { maxLength: 30 }),
        fc.constantFrom<'ascending' | 'any'>('ascending', 'any'),
        async (banner, pieces, order) => {
          const stream = Buffer.concat([Buffer.from(banner), ...pieces]);
          expect(await outcome(() => readAll(whole(stream), { order, allocate: counted }))).toBeTypeOf('string');
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('changed anywhere, a valid stream is read or refused', async () => {
    const streams = Object.keys(vectors.valid)
      .map(load)
      .filter((stream) => stream.length < 1000);
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...streams), fc.nat(), fc.nat(255), async (stream, at, byte) => {
        const changed = Buffer.from(stream);
        changed[at % stream.length] = byte;
        expect(await outcome(() => readAll(whole(changed), { allocate: counted }))).toBeTypeOf('string');
      }),
      { numRuns: 1000 },
    );
  });

  const spare = new Uint8Array(limits.pieceBytes);
  const counted = (bytes: number): Uint8Array => {
    if (bytes > limits.pieceBytes) throw new Error(`asked for ${bytes} bytes`);
    return spare;
  };
});

async function* from(records: readonly DiffRecord[]): AsyncGenerator<DiffRecord> {
  yield* records;
}

function u64(value: bigint): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
}

function sha(data: Uint8Array): string {
  return createHash('sha256').update(data).digest('hex').slice(0, 16);
}
