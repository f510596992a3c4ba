import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { addSums, subtractSums, sumFromHex, sumToHex, zeroSum } from '../../src/format/fingerprint.ts';
import { refusal } from './cuts.ts';

interface Vectors {
  sums: { a: string; b: string; sum: string; difference: string }[];
  image: {
    digestKey: string;
    ones: number;
    zeros: number;
    text: string;
    digests: Record<string, string>;
    fingerprint: string;
    ofZeros: string;
  };
}
const vectors = JSON.parse(
  readFileSync(new URL('../../formats/archive/vectors/fingerprints.json', import.meta.url), 'utf8'),
) as Vectors;

test.each(vectors.sums)('$a and $b', ({ a, b, sum, difference }) => {
  expect(sumToHex(addSums(sumFromHex(a), sumFromHex(b)))).toBe(sum);
  expect(sumToHex(subtractSums(sumFromHex(a), sumFromHex(b)))).toBe(difference);
});

test('the fingerprint of an image is the sum over its blocks that are not zero', () => {
  const { digestKey, ones, zeros, text, digests, fingerprint, ofZeros } = vectors.image;
  const key = Buffer.from(digestKey, 'hex');
  const image = Buffer.concat([Buffer.alloc(ones, 1), Buffer.alloc(zeros), Buffer.from(text)]);
  let sum = zeroSum();
  expect(sumToHex(sum)).toBe(ofZeros);
  const found: Record<string, string> = {};
  for (let number = 0; number * 65536 < image.length; number++) {
    const block = Buffer.alloc(65536);
    image.copy(block, 0, number * 65536);
    if (block.every((byte) => byte === 0)) continue;
    const digest = createHmac('sha256', key).update(block).digest().subarray(0, 16);
    found[number] = digest.toString('hex');
    const at = Buffer.alloc(8);
    at.writeBigUInt64LE(BigInt(number));
    sum = addSums(sum, createHmac('sha256', key).update('state').update(at).update(digest).digest());
  }
  expect(found).toEqual(digests);
  expect(sumToHex(sum)).toBe(fingerprint);
});

const number = fc.bigInt({ min: 0n, max: 2n ** 256n - 1n });
const sumOf = (value: bigint): Uint8Array =>
  new Uint8Array(Buffer.from(value.toString(16).padStart(64, '0'), 'hex')).reverse();
const numberOf = (sum: Uint8Array): bigint => BigInt(`0x${Buffer.from(sum).reverse().toString('hex')}`);

test('sums are those of numbers modulo 2^256, and leave their operands as they are', () => {
  fc.assert(
    fc.property(number, number, (a, b) => {
      const [one, other] = [sumOf(a), sumOf(b)];
      expect(numberOf(addSums(one, other))).toBe(BigInt.asUintN(256, a + b));
      expect(numberOf(subtractSums(one, other))).toBe(BigInt.asUintN(256, a - b));
      expect(subtractSums(addSums(one, other), other)).toEqual(one);
      expect([numberOf(one), numberOf(other)]).toEqual([a, b]);
    }),
  );
});

test('a sum and its hex digits say the same', () => {
  fc.assert(
    fc.property(number, (value) => {
      expect(sumFromHex(sumToHex(sumOf(value)))).toEqual(sumOf(value));
    }),
  );
});

test.each(['', '0'.repeat(63), '0'.repeat(65), 'A'.repeat(64), `${'0'.repeat(63)}g`])('%j is no sum', async (hex) => {
  const error = await refusal(() => sumFromHex(hex, 'the fingerprint of the base'));
  expect([error?.code, error?.message]).toEqual([
    'corrupt',
    expect.stringContaining('the fingerprint of the base must be 64 hex digits'),
  ]);
});
