import fc from 'fast-check';
import { expect, test } from 'vitest';
import { counted, nameFromBytes, nameToBytes, printable } from '../../src/bytes/text.ts';

test('any bytes survive the way to a name and back', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
      expect(nameToBytes(nameFromBytes(bytes)).equals(bytes)).toBe(true);
    }),
  );
});

test('valid UTF-8 is its text; a byte that is none becomes U+DC00 + byte', () => {
  expect(nameFromBytes(Buffer.from('snäp-🦀'))).toBe('snäp-🦀');
  expect(nameFromBytes(Buffer.from([0x61, 0xff, 0xc3, 0xa9, 0xc3]))).toBe('a\udcffé\udcc3');
  // Not UTF-8 either: too long for what it says, half a surrogate pair, beyond Unicode.
  expect(nameFromBytes(Buffer.from('c080', 'hex'))).toBe('\udcc0\udc80');
  expect(nameFromBytes(Buffer.from('eda080', 'hex'))).toBe('\udced\udca0\udc80');
  expect(nameFromBytes(Buffer.from('f4908080', 'hex'))).toBe('\udcf4\udc90\udc80\udc80');
  expect(nameFromBytes(Buffer.from('efbbbf61', 'hex'))).toBe('\ufeffa');
});

test('a lone surrogate that stands for no byte is refused', () => {
  for (const name of ['\ud800', 'a\udc7f', '\udd00']) {
    expect(() => nameToBytes(name)).toThrow(expect.objectContaining({ code: 'invalid' }));
  }
});

test('a name in a message is one harmless line', () => {
  expect(printable('snap "1" ä')).toBe('snap "1" ä');
  expect(printable('a\nb\x1b[2Jc\x7f\x85')).toBe('a\\x0ab\\x1b[2Jc\\x7f\\x85');
  expect(printable('a\udcffb')).toBe('a\\xffb');
  expect(printable('a\u202eb\u2028')).toBe('a\\u{202e}b\\u{2028}');
  expect(printable('x'.repeat(5000))).toBe(`${'x'.repeat(256)}…`);
});

test('one byte, two bytes, and as many as there are', () => {
  expect([0, 1, 2, 1n, 2n ** 64n - 1n].map((count) => counted(count, 'byte'))).toEqual([
    '0 bytes',
    '1 byte',
    '2 bytes',
    '1 byte',
    '18446744073709551615 bytes',
  ]);
});
