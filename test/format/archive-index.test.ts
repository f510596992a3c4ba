import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blockBytes,
  decodeDirectory,
  decodePage,
  decodeTrailer,
  digestBytes,
  digestsOf,
  type EdgeFrame,
  encodeDirectory,
  encodeTrailer,
  type Frame,
  hullOf,
  type IndexDirectory,
  limits,
  PageEncoder,
  type PageEntry,
  recordHeaderBytes,
} from '../../src/format/archive-index.ts';
import { acceptedPrefixes, refusal } from './cuts.ts';

const folder = new URL('../../formats/archive/vectors/', import.meta.url);
const read = <T>(file: string): T => JSON.parse(readFileSync(new URL(file, folder), 'utf8')) as T;

/** As the vectors tell it: bytes are hex, pairs have their kind behind them. */
type Told<T> = { [K in keyof T]: T[K] extends Uint8Array ? string : T[K] extends Float64Array ? Pair[] : Told<T[K]> };
type Pair = [start: number, length: number, kind?: 'zero'];

const pages = read<{
  valid: Record<string, { hex: string; frames: Told<Frame>[] }>;
  refused: Record<string, { says: string; hex?: string; start?: string; bytes?: number }>;
}>('pages.json');
const directories = read<{
  valid: Record<string, { hex: string; directory: Told<IndexDirectory> }>;
  refused: Record<string, { hex: string; code: string; says: string }>;
  trailers: { valid: Record<string, string>; refused: Record<string, string> };
}>('directories.json');

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
const tellPairs = (pairs: Float64Array): Pair[] =>
  Array.from({ length: pairs.length / 2 }, (_, i) => {
    const [start, length] = [pairs[2 * i]!, pairs[2 * i + 1]!];
    return length < 0 ? [start, -length, 'zero'] : [start, length];
  });
const tellFrame = (frame: Frame): Told<Frame> => ({
  ...frame,
  hash: hex(frame.hash),
  records: tellPairs(frame.records),
  runs: tellPairs(frame.runs),
  digests: hex(frame.digests),
});
const tellEdge = (frame: EdgeFrame | null) => frame && { ...frame, hash: hex(frame.hash) };
const tellDirectory = (directory: IndexDirectory) => ({
  ...directory,
  sum: hex(directory.sum),
  header: tellEdge(directory.header),
  end: tellEdge(directory.end),
  pages: directory.pages.map((page) => ({ ...page, hash: hex(page.hash) })),
});

/** All pages of the frames. */
const encodePages = (frames: readonly Frame[]): Buffer[] => {
  const encoder = new PageEncoder();
  return [...frames.map((frame) => encoder.add(frame)), encoder.finish()].filter((page) => page !== null);
};

/** What is read from every cut and every flipped bit: refused as `codes`, or written again as it is. */
const survivors = async (
  bytes: Buffer,
  again: (bytes: Buffer) => Buffer,
  codes: string[] = ['corrupt'],
): Promise<string[]> => {
  const wrong: string[] = [];
  const look = async (input: Buffer, what: string): Promise<void> => {
    const error = await refusal(() => {
      if (!again(input).equals(input)) wrong.push(`${what}: other bytes`);
    });
    if (error !== null && !codes.includes(error.code)) wrong.push(`${what}: ${error.message}`);
  };
  for (let length = 0; length < bytes.length; length++) await look(bytes.subarray(0, length), `cut at ${length}`);
  for (let bit = 0; bit < 8 * bytes.length; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    await look(flipped, `bit ${bit}`);
  }
  return wrong;
};

describe('pages', () => {
  describe.each(Object.entries(pages.valid))('%s', (_, { hex: text, frames }) => {
    const bytes = Buffer.from(text, 'hex');

    test('decodes to what it says, and encodes to the same bytes', () => {
      const decoded = decodePage(bytes);
      expect(decoded.map(tellFrame)).toEqual(frames);
      expect(encodePages(decoded).map(hex)).toEqual([text]);
    });

    test('is refused wherever it is cut off, and no flipped bit leads to what was not written', async () => {
      expect(await acceptedPrefixes(bytes, decodePage, () => 'is damaged')).toEqual([]);
      expect(await survivors(bytes, (input) => Buffer.concat(encodePages(decodePage(input))))).toEqual([]);
    });
  });

  test.each(Object.entries(pages.refused))('refused: %s', async (_, { says, ...told }) => {
    const bytes =
      told.hex === undefined ? Buffer.alloc(told.bytes ?? 0, told.start, 'hex') : Buffer.from(told.hex, 'hex');
    const error = await refusal(() => decodePage(bytes, 'page 7 of /x/index'));
    expect([error?.code, error?.message]).toEqual(['corrupt', expect.stringContaining(says)]);
    expect(error?.message).toContain('page 7 of /x/index');
  });

  test.each(readdirSync(folder).filter((name) => name.endsWith('.page')))('%s', (name) => {
    const bytes = readFileSync(new URL(name, folder));
    expect(encodePages(decodePage(bytes)).map((page) => page.equals(bytes))).toEqual([true]);
  });

  test('hashes and digests are views of the page', () => {
    const raw = new Uint8Array(Buffer.from(pages.valid['one frame of one record']!.hex, 'hex'));
    const [frame] = decodePage(raw);
    expect([frame?.hash.buffer, frame?.digests.buffer]).toEqual([raw.buffer, raw.buffer]);
  });
});

/** A frame that follows `place`, of pieces: gap in bytes, length, kind; blocks around them were looked at as well. */
const frameAt = (
  place: { segment: number; offset: number; block: number },
  {
    pieces,
    extra,
    stored,
    seed,
  }: { pieces: [number, number, boolean][]; extra: number[]; stored: number; seed: number },
): Frame => {
  const records: number[] = [];
  const touched = new Map<number, boolean>();
  let at = place.block * blockBytes;
  let rawBytes = 0;
  for (const [gap, length, zero] of pieces) {
    at += gap;
    records.push(at, zero ? -length : length);
    const end = Math.ceil((at + length) / blockBytes);
    for (let block = Math.floor(at / blockBytes); block < end; block++) touched.set(block, (block + seed) % 3 === 0);
    at += length;
    rawBytes += recordHeaderBytes + (zero ? 0 : length);
  }
  for (const block of extra) touched.set(place.block + block, block % 2 === 0);
  const runs: number[] = [];
  for (const [block, zero] of [...touched].sort((a, b) => a[0] - b[0])) {
    const last = runs.length - 1;
    const joins = last > 0 && runs[last]! < 0 === zero && runs[last - 1]! + Math.abs(runs[last]!) === block;
    if (joins) runs[last]! += zero ? -1 : 1;
    else runs.push(block, zero ? -1 : 1);
  }
  return {
    segment: place.segment,
    offset: place.offset,
    bytes: stored,
    rawBytes,
    hash: Buffer.alloc(digestBytes, seed),
    records: Float64Array.from(records),
    runs: Float64Array.from(runs),
    digests: Buffer.alloc(digestsOf(Float64Array.from(runs)) * digestBytes, seed + 1),
  };
};

const frameParts = fc.record({
  pieces: fc.array(
    fc.tuple(
      fc.oneof(fc.constant(0), fc.nat(300_000), fc.nat(2 ** 40)),
      fc.oneof(fc.integer({ min: 1, max: 600 }), fc.integer({ min: 1, max: 300_000 })),
      fc.boolean(),
    ),
    { minLength: 1, maxLength: 12 },
  ),
  extra: fc.array(fc.nat(2000), { maxLength: 10 }),
  stored: fc.integer({ min: 1, max: limits.frameBytes }),
  seed: fc.nat(255),
  newSegment: fc.boolean(),
});

/** Frames one behind the other, in the segments and in the image. */
const someFrames = fc.array(frameParts, { minLength: 1, maxLength: 300, size: 'max' }).map((parts) => {
  const frames: Frame[] = [];
  const place = { segment: 0, offset: 99, block: 0 };
  for (const part of parts) {
    if (part.newSegment && frames.length > 0) Object.assign(place, { segment: place.segment + 1, offset: 0 });
    const frame = frameAt(place, part);
    frames.push(frame);
    place.offset += frame.bytes;
    place.block = hullOf(frame).end / blockBytes;
  }
  return frames;
});

const asArrays = ({ hash, records, runs, digests, ...rest }: Frame) => [
  rest,
  hex(hash),
  Array.from(records),
  Array.from(runs),
  hex(digests),
];

test('any frames come back from their pages, of which all but the last are full', () => {
  fc.assert(
    fc.property(someFrames, (frames) => {
      const encoded = encodePages(frames);
      const decoded = encoded.flatMap((page) => decodePage(page));
      expect(decoded.map(asArrays)).toEqual(frames.map(asArrays));
      expect(encoded.slice(0, -1).filter((page) => page.length < 65536 || page.length > limits.pageRawBytes)).toEqual(
        [],
      );
    }),
    { numRuns: 30 },
  );
});

test('a hull is all blocks that a frame tells of', () => {
  const [frame] = decodePage(
    Buffer.from(pages.valid['records inside of blocks, and blocks that were only looked at']!.hex, 'hex'),
  );
  expect(hullOf(frame!)).toEqual({ start: 0, end: 11 * blockBytes });
});

test('a frame that breaks a rule is not written', () => {
  const good = decodePage(Buffer.from(pages.valid['one frame of one record']!.hex, 'hex'))[0]!;
  const bad: Partial<Frame>[] = [
    { segment: -1 },
    { segment: 0.5 },
    { offset: Number.NaN },
    { bytes: 0 },
    { rawBytes: 1 },
    { hash: new Uint8Array(32) },
    { records: new Float64Array(0) },
    { records: Float64Array.of(-1, 4096) },
    { records: Float64Array.of(0.5, 4096) },
    { runs: Float64Array.of(1, 1) },
    { digests: new Uint8Array(0) },
  ];
  for (const fields of bad) expect(() => new PageEncoder().add({ ...good, ...fields })).toThrow(RangeError);
  const encoder = new PageEncoder();
  encoder.add(good);
  expect(() => encoder.add(good)).toThrow('the one before it ends at 0:1057');
});

test('a frame with more digests than a page has room for is not written', () => {
  const good = decodePage(Buffer.from(pages.valid['one frame of one record']!.hex, 'hex'))[0]!;
  const blocks = limits.frameEntryBytes / digestBytes;
  const frame = { ...good, runs: Float64Array.of(0, blocks), digests: new Uint8Array(blocks * digestBytes) };
  expect(() => new PageEncoder().add(frame)).toThrow(`${limits.frameEntryBytes} is the most`);
});

test('any bytes are a page or refused as corrupt', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.nat(4), fc.nat(255), fc.constant(255)), { maxLength: 120, size: 'max' }),
      async (bytes) => {
        const error = await refusal(() => decodePage(Uint8Array.from([1, 0, 9, 9, ...bytes])));
        expect([null, 'corrupt']).toContain(error?.code ?? null);
      },
    ),
    { numRuns: 2000 },
  );
});

describe('directories', () => {
  describe.each(Object.entries(directories.valid))('%s', (_, { hex: text, directory }) => {
    const bytes = Buffer.from(text, 'hex');

    test('decodes to what it says, and encodes to the same bytes', () => {
      expect(tellDirectory(decodeDirectory(bytes))).toEqual(directory);
      expect(hex(encodeDirectory(decodeDirectory(bytes)))).toBe(text);
    });

    test('is refused wherever it is cut off, and no flipped bit leads to what was not written', async () => {
      expect(await acceptedPrefixes(bytes, (input) => decodeDirectory(input))).toEqual([]);
      const again = (input: Buffer): Buffer => encodeDirectory(decodeDirectory(input));
      expect(await survivors(bytes, again, ['corrupt', 'unsupported'])).toEqual([]);
    });
  });

  test.each(Object.entries(directories.refused))('refused: %s', async (_, { hex: text, code, says }) => {
    const error = await refusal(() => decodeDirectory(Buffer.from(text, 'hex'), '/x/index'));
    expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
    expect(error?.message).toContain('/x/index');
    expect(error?.hint).toBe(code === 'unsupported' ? 'a newer rbdelta may read it' : undefined);
  });
});

const size = fc.oneof(fc.nat(100_000), fc.maxSafeNat());
const hash = fc.uint8Array({ minLength: digestBytes, maxLength: digestBytes });
const edge = fc.option(
  fc.record(
    {
      segment: fc.nat(limits.segments - 1),
      offset: size,
      bytes: fc.integer({ min: 1, max: limits.frameBytes }),
      rawBytes: fc.integer({ min: 1, max: limits.frameRawBytes }),
      hash,
    },
    { noNullPrototype: true },
  ),
);
const someDirectory: fc.Arbitrary<IndexDirectory> = fc
  .record({
    sum: fc.uint8Array({ minLength: 32, maxLength: 32 }),
    records: fc.nat(1e9),
    dataBytes: fc.nat(1e15),
    zeroBytes: size,
    streamBytes: size,
    header: edge,
    end: edge,
    parts: fc.array(
      fc.tuple(fc.nat(1e6), fc.integer({ min: 1, max: 1e6 }), fc.integer({ min: 1, max: 1e6 }), fc.nat(100), hash),
      { maxLength: 40 },
    ),
  })
  .map(({ parts, header, end, ...rest }) => {
    const pages: PageEntry[] = [];
    let [position, reached] = [8, 0];
    for (const [gap, blocks, bytes, digests, pageHash] of parts) {
      const start = reached + gap * blockBytes;
      reached = start + blocks * blockBytes;
      const rawBytes = 26 * 3 + digests * digestBytes;
      pages.push({ position, bytes, rawBytes, start, end: reached, frames: 3, digests, hash: pageHash });
      position += bytes;
    }
    const streamBytes =
      header && end ? header.rawBytes + end.rawBytes + rest.records * 17 + rest.dataBytes : rest.streamBytes;
    return { ...rest, header, end, streamBytes, reached, pages };
  });

test('any directory comes back as it was written', () => {
  fc.assert(
    fc.property(someDirectory, (directory) => {
      expect(tellDirectory(decodeDirectory(encodeDirectory(directory)))).toEqual(tellDirectory(directory));
    }),
  );
});

test('a directory that breaks a rule is not written', () => {
  const good = decodeDirectory(Buffer.from(directories.valid['a point']!.hex, 'hex'));
  const bad: Partial<IndexDirectory>[] = [
    { reached: -1 },
    { records: 0.5 },
    { sum: new Uint8Array(31) },
    { streamBytes: 0 },
    { header: { ...good.header!, bytes: 0 } },
    { pages: good.pages.slice(1) },
    { pages: good.pages.map((page) => ({ ...page, hash: page.hash.subarray(1) })) },
  ];
  for (const fields of bad) expect(() => encodeDirectory({ ...good, ...fields })).toThrow(RangeError);
});

test.each(Object.entries(directories.trailers.valid))('the trailer of a directory of %s bytes', (length, text) => {
  expect(decodeTrailer(Buffer.from(text, 'hex'))).toBe(Number(length));
  expect(hex(encodeTrailer(Number(length)))).toBe(text);
});

test.each(Object.entries(directories.trailers.refused))('a trailer that is refused: %s', async (_, text) => {
  const error = await refusal(() => decodeTrailer(Buffer.from(text, 'hex'), '/x/index'));
  expect([error?.code, error?.message]).toEqual(['corrupt', expect.stringContaining('/x/index')]);
});
