import fc from 'fast-check';
import { expect, test } from 'vitest';
import { isZero, zeroRuns } from '../../src/bytes/zero.ts';

/** Mostly zeros, with a byte here and there, at any alignment of memory. */
const sparse = fc
  .record(
    { length: fc.nat(200_000), shift: fc.nat(16), set: fc.array(fc.nat(199_999), { maxLength: 5 }) },
    { noNullPrototype: true },
  )
  .map(({ length, shift, set }) => {
    const bytes = Buffer.alloc(length + shift, 0).subarray(shift);
    for (const at of set) if (at < length) bytes[at] = 1 + (at % 255);
    return bytes;
  });

test('isZero is what a look at every byte says', () => {
  fc.assert(
    fc.property(sparse, (bytes) => {
      expect(isZero(bytes)).toBe(bytes.every((byte) => byte === 0));
    }),
  );
  expect(isZero(new Uint8Array(0))).toBe(true);
  for (const at of [0, 7, 8, 65_535, 65_536, 131_071, 131_072]) {
    const bytes = Buffer.alloc(131_073);
    bytes[at] = 0x80;
    expect(isZero(bytes)).toBe(false);
  }
});

test('runs are what a look at every block of the image says', () => {
  fc.assert(
    fc.property(
      sparse,
      fc.nat(100_000),
      fc.constantFrom(1, 512, 4096, 65_536, 5000),
      (bytes, startOffset, blockBytes) => {
        const runs: [number, number, boolean][] = [];
        zeroRuns(bytes, startOffset, blockBytes, (start, end, zero) => runs.push([start, end, zero]));

        const expected: [number, number, boolean][] = [];
        for (let start = 0; start < bytes.length; ) {
          const end = Math.min(bytes.length, start + blockBytes - ((startOffset + start) % blockBytes));
          const zero = bytes.subarray(start, end).every((byte) => byte === 0);
          const last = expected.at(-1);
          if (last?.[2] === zero) last[1] = end;
          else expected.push([start, end, zero]);
          start = end;
        }
        expect(runs).toEqual(expected);
      },
    ),
    { numRuns: 60 },
  );
});
