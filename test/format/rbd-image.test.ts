import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ByteReader } from '../../src/bytes/reader.ts';
import { RbdeltaError } from '../../src/error.ts';
import { encodeDiff, openDiff } from '../../src/format/rbd-diff.ts';
import { encodeImageHeader, type ImageHeader, readImageHeader } from '../../src/format/rbd-image.ts';
import { acceptedPrefixes, byteByByte, cutAt, cutLengths, gather, outcome, refusal, whole } from './cuts.ts';

const folder = new URL('../../formats/rbd-image/vectors/', import.meta.url);

type ToldHeader = Omit<ImageHeader, 'metadata'> & { metadata: Record<string, string> };
interface Told {
  header: ToldHeader;
  diffs: { version: number; header: object; records: [string, number, number, string?][] }[];
}
interface Vectors {
  valid: Record<string, Told & { same: boolean }>;
  refused: Record<string, { hex: string; code: string; says: string }>;
}
const vectors = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as Vectors;

const readAll = async (reader: ByteReader): Promise<Told> => {
  const header = await readImageHeader(reader);
  const diffs: Told['diffs'] = [];
  for (let index = 0; index < header.diffCount; index++) {
    const diff = await openDiff(reader);
    if (diff === null) throw new RbdeltaError('corrupt', `ends at byte ${reader.position}, before diff ${index}`);
    const records: Told['diffs'][number]['records'] = [];
    for await (const record of diff.records) {
      if (record.kind === 'zero') records.push(['zero', record.offset, record.length]);
      else {
        const digest = createHash('sha256').update(record.data).digest('hex');
        records.push(['write', record.offset, record.data.length, digest.slice(0, 16)]);
      }
    }
    diffs.push({ version: diff.version, header: diff.header, records });
  }
  if (!(await reader.atEnd())) throw new RbdeltaError('corrupt', `bytes are left over at ${reader.position}`);
  return { header: { ...header, metadata: Object.fromEntries(header.metadata) }, diffs };
};

const reencode = async (reader: ByteReader): Promise<Buffer> => {
  const header = await readImageHeader(reader);
  const parts = [encodeImageHeader(header)];
  for (let diff = await openDiff(reader); diff !== null; diff = await openDiff(reader)) {
    parts.push(await gather(encodeDiff(diff, { version: 2 })));
  }
  return Buffer.concat(parts);
};

test('every vector on disk is told in vectors.json', () => {
  const onDisk = readdirSync(folder).filter((file) => file.endsWith('.bin'));
  expect(Object.keys(vectors.valid).sort()).toEqual(onDisk.sort());
});

describe.each(Object.entries(vectors.valid))('%s', (file, { same, ...told }) => {
  const bytes = readFileSync(new URL(file, folder));

  test('decodes to what it says: whole, byte by byte, cut anywhere', async () => {
    expect(await readAll(whole(bytes))).toEqual(told);
    expect(await readAll(byteByByte(bytes))).toEqual(told);
    await fc.assert(
      fc.asyncProperty(cutLengths, async (lengths) => {
        expect(await readAll(cutAt(bytes, lengths))).toEqual(told);
      }),
      { numRuns: 10 },
    );
  });

  test('encodes to the same bytes, or to others that say the same', async () => {
    const again = await reencode(whole(bytes));
    expect(await readAll(whole(again))).toEqual(told);
    expect(again.equals(bytes)).toBe(same);
  });

  test('is refused as corrupt wherever it is cut off', async () => {
    expect(await acceptedPrefixes(bytes, (prefix) => readAll(whole(prefix)))).toEqual([]);
  });
});

describe.each(Object.entries(vectors.refused))('refused: %s', (_, { hex, code, says }) => {
  test.each([
    ['whole', whole],
    ['byte by byte', byteByByte],
  ])('%s', async (_way, open) => {
    const error = await refusal(() => readAll(open(Buffer.from(hex, 'hex'))));
    expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
  });
});

test('any header comes back as it was written', async () => {
  const number = fc.oneof(fc.constant(null), fc.nat(), fc.constantFrom(2 ** 40, Number.MAX_SAFE_INTEGER));
  const metadata = fc.array(fc.tuple(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' })), { maxLength: 5 });
  await fc.assert(
    fc.asyncProperty(number, number, number, number, metadata, cutLengths, async (o, t, u, c, pairs, lengths) => {
      const header: ImageHeader = {
        order: o,
        features: t,
        stripeUnit: u,
        stripeCount: c,
        metadata: new Map(pairs),
        diffCount: 1 + pairs.length,
      };
      expect(await readImageHeader(cutAt(encodeImageHeader(header), lengths))).toEqual(header);
    }),
  );
});

test('any bytes are read or refused, never anything else', async () => {
  const piece = fc.oneof(
    fc.constantFrom('O', 'T', 'U', 'C', 'M', 'E', 'F', 'rbd image diffs v2\n').map((text) => Buffer.from(text)),
    fc.constantFrom(0n, 8n, 9n, 4n << 32n, 1n << 20n, (1n << 64n) - 1n).map((value) => {
      const bytes = Buffer.alloc(8);
      bytes.writeBigUInt64LE(value);
      return bytes;
    }),
    fc.uint8Array({ maxLength: 9 }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 20 }), async (pieces) => {
      expect(await outcome(() => readAll(whole(Buffer.concat([Buffer.from('rbd image v2\n'), ...pieces]))))).toBeTypeOf(
        'string',
      );
    }),
    { numRuns: 1000 },
  );
});
