import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { decodeManifest, encodeManifest, limits, type Manifest } from '../../src/format/manifest.ts';
import { refusal } from './cuts.ts';
import { unstable } from './json.ts';

const vectors = JSON.parse(
  readFileSync(new URL('../../formats/manifest/vectors/vectors.json', import.meta.url), 'utf8'),
) as {
  valid: Record<string, { manifest: Manifest; text: string }>;
  more: Record<string, string>;
  refused: Record<string, { text: string; code: string; says: string }>;
};
const full = vectors.valid['a full']!.manifest;

describe.each(Object.entries(vectors.valid))('%s', (_, { manifest, text }) => {
  test('decodes to what it says', () => {
    expect(decodeManifest(Buffer.from(text), 'x')).toEqual(manifest);
  });

  test('is written as one line a field, with a newline at the end', () => {
    const written = encodeManifest(manifest).toString();
    expect(decodeManifest(Buffer.from(written), 'x')).toEqual(manifest);
    expect(written).toBe(`${JSON.stringify(JSON.parse(text), null, 2)}\n`);
  });

  test('is refused, or read as what is written again, with any cut and any flipped bit', async () => {
    expect(await unstable(encodeManifest(manifest), decodeManifest, encodeManifest)).toEqual([]);
  });
});

test.each(Object.entries(vectors.more))('%s', (_, text) => {
  expect(decodeManifest(Buffer.from(text), 'x')).toEqual(full);
});

test.each(Object.entries(vectors.refused))('refused: %s', async (_, { text, code, says }) => {
  const error = await refusal(() => decodeManifest(Buffer.from(text), '/backups/x/manifest.json'));
  expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
  expect(error?.message).toContain('the manifest /backups/x/manifest.json');
  expect(error?.hint).toBe(code === 'unsupported' ? 'a newer rbdelta may read it' : undefined);
});

test('bytes that are not UTF-8 are refused', async () => {
  const error = await refusal(() => decodeManifest(Buffer.of(0x22, 0xff, 0x22), 'x'));
  expect([error?.code, error?.message]).toEqual(['corrupt', 'the manifest x is damaged: it is not UTF-8']);
});

test('a manifest past the limit is refused before it is looked at', async () => {
  const error = await refusal(() => decodeManifest(Buffer.alloc(limits.manifestBytes + 1, ' '), 'x'));
  expect([error?.code, error?.message]).toEqual([
    'corrupt',
    expect.stringContaining(`${limits.manifestBytes} is the most`),
  ]);
});

test('what breaks a rule is not written: a bug; but for the size of all of it', async () => {
  expect(() => encodeManifest({ ...full, point: 'x' })).toThrow(RangeError);
  expect(() => encodeManifest({ ...full, created: 'now' })).toThrow('created must be a time');
  const metadata = { large: 'x'.repeat(limits.manifestBytes) };
  const error = await refusal(() => encodeManifest({ ...full, image: { ...full.image, metadata } }));
  expect([error?.code, error]).toEqual(['tooLarge', expect.any(RbdeltaError)]);
});

test('a message is one line that a terminal shows as it is, however long the value', async () => {
  const pool = `\u001b[31m\n${'x'.repeat(5000)}`;
  const error = await refusal(() => decodeManifest(Buffer.from(JSON.stringify({ ...full, point: pool })), 'x'));
  expect(error?.message.length).toBeLessThan(500);
  expect(error?.message).not.toMatch(/\p{Cc}/u);
});

test('any texts, sizes and segments come back', () => {
  const anyText = fc.string({ unit: 'binary', minLength: 1 });
  const part = fc.record({
    text: anyText,
    number: fc.maxSafeNat(),
    metadata: fc.dictionary(fc.string({ unit: 'binary' }), fc.string({ unit: 'binary' }), { noNullPrototype: true }),
    tags: fc.array(fc.string({ minLength: 1, maxLength: 40 }), { maxLength: 5 }),
    when: fc.date({ min: new Date(0), max: new Date('9999-12-31T23:59:59.999Z'), noInvalidDate: true }),
    segments: fc.integer({ min: 1, max: 20 }),
  });
  fc.assert(
    fc.property(part, ({ text, number, metadata, tags, when, segments }) => {
      const manifest: Manifest = {
        ...full,
        image: { ...full.image, name: text, pool: text, size: number, metadata },
        snapshot: { ...full.snapshot, name: text, created: when.toISOString() },
        tags,
        segments: Array.from({ length: segments }, (_, i) => ({
          name: `${String(i).padStart(6, '0')}.rbdiff.zst`,
          bytes: number + 1 > Number.MAX_SAFE_INTEGER ? number : number + 1,
          frames: i + 1,
          wrap: 'plain' as const,
        })),
      };
      expect(decodeManifest(encodeManifest(manifest), 'x')).toEqual(manifest);
    }),
    { numRuns: 50 },
  );
});
