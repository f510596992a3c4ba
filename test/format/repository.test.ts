import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  type Catalog,
  decodeCatalog,
  decodeIntent,
  decodeLockFile,
  decodeProofs,
  decodeRepositoryFile,
  encodeCatalog,
  encodeIntent,
  encodeLockFile,
  encodeProofs,
  encodeRepositoryFile,
} from '../../src/format/repository.ts';
import { refusal } from './cuts.ts';
import { unstable } from './json.ts';

/** Decodes, and encodes again. */
const codecs = {
  repository: (bytes: Uint8Array, name: string) => encodeRepositoryFile(decodeRepositoryFile(bytes, name)),
  catalog: (bytes: Uint8Array, name: string) => encodeCatalog(decodeCatalog(bytes, name)),
  intent: (bytes: Uint8Array, name: string) => encodeIntent(decodeIntent(bytes, name)),
  lock: (bytes: Uint8Array, name: string) => encodeLockFile(decodeLockFile(bytes, name)),
  proofs: (bytes: Uint8Array, name: string) => encodeProofs(decodeProofs(bytes, name)),
};
const decoders = {
  repository: decodeRepositoryFile,
  catalog: decodeCatalog,
  intent: decodeIntent,
  lock: decodeLockFile,
  proofs: decodeProofs,
};

const vectors = JSON.parse(
  readFileSync(new URL('../../formats/repository/vectors/vectors.json', import.meta.url), 'utf8'),
) as {
  valid: { codec: keyof typeof codecs; name: string; value: Record<string, unknown> }[];
  refused: { codec: keyof typeof codecs; name: string; text: string; code: string; says: string }[];
};

test('every file has vectors, good and bad', () => {
  for (const list of [vectors.valid, vectors.refused]) {
    expect(new Set(list.map(({ codec }) => codec))).toEqual(new Set(Object.keys(codecs)));
  }
});

describe.each(vectors.valid)('$codec: $name', ({ codec, value }) => {
  const bytes = Buffer.from(`${JSON.stringify(value)}\n`);

  test('decodes to what it says, without what a later version adds', () => {
    expect(decoders[codec](bytes, 'x')).toEqual(value);
    expect(decoders[codec](Buffer.from(JSON.stringify({ ...value, later: [1] })), 'x')).toEqual(value);
  });

  test('encodes to JSON of the same fields, in their order, and a newline', () => {
    const written = codecs[codec](bytes, 'x').toString();
    expect(written.endsWith('}\n')).toBe(true);
    expect(JSON.stringify(JSON.parse(written))).toBe(JSON.stringify(value));
  });

  test('is refused, or read as what is written again, with any cut and any flipped bit', async () => {
    expect(
      await unstable(
        codecs[codec](bytes, 'x'),
        (input, name) => codecs[codec](input, name),
        (same) => same,
      ),
    ).toEqual([]);
  });
});

test.each(vectors.refused)('refused: $codec: $name', async ({ codec, text, code, says }) => {
  const error = await refusal(() => decoders[codec](Buffer.from(text), 's3://bucket/x.json'));
  expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
  expect(error?.message).toContain(' s3://bucket/x.json');
  expect(error?.hint).toBe(code === 'unsupported' ? 'a newer rbdelta may read it' : undefined);
});

test('a catalog of any points comes back', () => {
  const { points } = vectors.valid.find(({ name }) => name === 'two points')!.value as unknown as Catalog;
  const entry = fc.record({
    second: fc.nat(59),
    digits: fc.nat(0xffffff),
    image: fc.string({ unit: 'binary', minLength: 1 }),
    storedBytes: fc.maxSafeNat(),
    seconds: fc.double({ min: 0, noDefaultInfinity: true, noNaN: true }),
    pinned: fc.boolean(),
    audited: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.uniqueArray(entry, { selector: ({ second, digits }) => `${second} ${digits}` }), (entries) => {
      const made = entries.map(({ second, digits, seconds, audited, ...fields }) => ({
        ...points[0]!,
        ...fields,
        seconds: seconds + 0, // JSON has no -0
        proofs: audited ? { audit: '2026-11-21T13:05:01.000Z' } : {},
        id: `20261121T1305${String(second).padStart(2, '0')}Z-${digits.toString(16).padStart(6, '0')}`,
      }));
      const catalog: Catalog = { format: 1, points: made.sort((a, b) => (a.id < b.id ? -1 : 1)) };
      expect(decodeCatalog(encodeCatalog(catalog), 'x')).toEqual(catalog);
    }),
  );
});

test('points that are not sorted are not written', () => {
  const { points } = vectors.valid.find(({ name }) => name === 'two points')!.value as unknown as Catalog;
  expect(() => encodeCatalog({ format: 1, points: points.toReversed() })).toThrow(RangeError);
});
