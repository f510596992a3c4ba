import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  blockBytes,
  blockCrc,
  blockCrcAt,
  bytesFor,
  decodeObjectMap,
  encodeObjectMap,
  limits,
  objectState,
  setObjectState,
  statesAt,
} from '../../src/format/object-map.ts';
import { acceptedPrefixes, outcome, refusal } from './cuts.ts';

const folder = new URL('../../formats/object-map/vectors/', import.meta.url);

interface Vectors {
  valid: Record<string, { count: number; sha256: string; same: boolean } & Record<(typeof names)[number], number>>;
  refused: Record<string, { hex: string; code: string; says: string }>;
}
const vectors = JSON.parse(readFileSync(new URL('vectors.json', folder), 'utf8')) as Vectors;
const names = ['NONEXISTENT', 'EXISTS', 'PENDING', 'EXISTS_CLEAN'] as const;

test('every vector on disk is told in vectors.json', () => {
  const onDisk = readdirSync(folder).filter((file) => file.endsWith('.bin'));
  expect(Object.keys(vectors.valid).sort()).toEqual(onDisk.sort());
});

describe.each(Object.entries(vectors.valid))('%s', (file, { count, sha256, same, ...told }) => {
  const bytes = readFileSync(new URL(file, folder));

  test('decodes to what it says', () => {
    const map = decodeObjectMap(bytes);
    expect(map.count).toBe(count);
    expect(createHash('sha256').update(map.states).digest('hex')).toBe(sha256);
    const found = { NONEXISTENT: 0, EXISTS: 0, PENDING: 0, EXISTS_CLEAN: 0 };
    for (let index = 0; index < count; index++) found[names[objectState(map.states, index)]]++;
    expect(found).toEqual(told);
  });

  test('encodes to the same bytes, or to others that say the same', () => {
    const map = decodeObjectMap(bytes);
    const again = encodeObjectMap(map.count, map.states);
    expect(decodeObjectMap(again)).toEqual(map);
    expect(again.equals(bytes)).toBe(same);
  });

  test('is refused as corrupt wherever it is cut off', async () => {
    const end = file === 'made-trailing-bytes.bin' ? bytes.length - 'left over'.length : bytes.length;
    expect(await acceptedPrefixes(bytes.subarray(0, end), decodeObjectMap)).toEqual([]);
  });
});

test('a bit that is not as it was written is found, wherever it is', async () => {
  const bytes = readFileSync(new URL('made-every-state.bin', folder));
  const footerAt = statesAt + bytesFor(decodeObjectMap(bytes).count);
  const accepted = [];
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    if ((await outcome(() => decodeObjectMap(flipped))) === 'read') accepted.push(bit);
  }
  // 12 bytes of footer, less 4 or 8: no footer, and bytes that are left over; no checksum covers that
  expect(accepted.filter((bit) => bit >> 3 !== footerAt)).toEqual([]);
});

test.each(Object.entries(vectors.refused))('refused: %s', async (_, { hex, code, says }) => {
  const error = await refusal(() => decodeObjectMap(Buffer.from(hex, 'hex')));
  expect([error?.code, error?.message]).toEqual([code, expect.stringContaining(says)]);
});

test('any states come back as they were written, and parts can be written alone', () => {
  fc.assert(
    fc.property(fc.nat(1_000_000), fc.integer(), fc.array(fc.nat(), { maxLength: 20 }), (count, seed, changes) => {
      const states = new Uint8Array(bytesFor(count));
      const noise = createHash('sha256').update(String(seed)).digest();
      for (let at = 0; at < states.length; at += 1 + ((noise[at % 32] ?? 0) << 4))
        states[at] = noise[(at + 1) % 32] ?? 0;
      const bytes = encodeObjectMap(count, states);
      expect(Buffer.compare(decodeObjectMap(bytes).states, states)).toBe(0);
      // what a writer of single objects does: the state, and the checksum of its block
      for (const change of count === 0 ? [] : changes) {
        const index = change % count;
        setObjectState(states, index, (change % 4) as 0 | 1 | 2 | 3);
        const block = Math.floor(index / 4 / blockBytes);
        const part = states.subarray(block * blockBytes, (block + 1) * blockBytes);
        bytes.set(part, statesAt + block * blockBytes);
        bytes.writeUInt32LE(blockCrc(part), blockCrcAt(count, block));
      }
      const again = decodeObjectMap(bytes);
      expect(Buffer.compare(again.states, states)).toBe(0);
      expect(bytes.equals(encodeObjectMap(count, states))).toBe(true);
    }),
    { numRuns: 20 },
  );
});

test('damage anywhere in a large map is found, and its block is named', async () => {
  const count = 16384 * 600 + 77;
  const states = Buffer.alloc(bytesFor(count), 'object map');
  const bytes = encodeObjectMap(count, states);
  await fc.assert(
    fc.asyncProperty(fc.nat(states.length - 1), fc.integer({ min: 1, max: 255 }), async (at, change) => {
      bytes[statesAt + at] = (bytes[statesAt + at] ?? 0) ^ change;
      const error = await refusal(() => decodeObjectMap(bytes));
      bytes[statesAt + at] = (bytes[statesAt + at] ?? 0) ^ change;
      expect([error?.code, error?.message]).toEqual(['corrupt', expect.stringContaining(`block ${at >> 12} `)]);
    }),
    { numRuns: 20 },
  );
});

test('any bytes are read or refused, never anything else', async () => {
  const word = fc.oneof(fc.nat(20), fc.constantFrom(0x0101, 0xffffffff, limits.objects, 8, 14)).map((value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  });
  const head = fc.constantFrom(Buffer.alloc(0), Buffer.from('0e000000010108000000', 'hex'));
  await fc.assert(
    fc.asyncProperty(
      head,
      fc.array(fc.oneof(word, fc.uint8Array({ maxLength: 9 })), { maxLength: 12 }),
      async (start, rest) => {
        const bytes = Buffer.concat([start, ...rest]);
        const read = () => {
          const { count, states } = decodeObjectMap(bytes);
          if (states.length !== bytesFor(count)) throw new Error(`${count} objects in ${states.length} bytes`);
        };
        expect(await outcome(read)).toBeTypeOf('string');
      },
    ),
    { numRuns: 2000 },
  );
});
