// A JSON file that is damaged: whatever comes of a cut or of a flipped bit.

import { refusal } from './cuts.ts';

/**
 * Cuts `bytes` everywhere and flips its bits: each must be refused as `corrupt` or `unsupported`, or read as a value that
 * is read again as it is written. Gives those of which neither is true.
 */
export const unstable = async <T>(
  bytes: Buffer,
  decode: (bytes: Uint8Array, name: string) => T,
  encode: (value: T) => Buffer,
): Promise<string[]> => {
  const wrong: string[] = [];
  const look = async (input: Buffer, what: string): Promise<void> => {
    const error = await refusal(() => {
      const once = encode(decode(input, 'x'));
      if (!encode(decode(once, 'x')).equals(once)) wrong.push(`${what}: other bytes`);
    });
    if (error && !['corrupt', 'unsupported'].includes(error.code)) wrong.push(`${what}: ${error.message}`);
  };
  // Of a long file some: the step is odd, so each bit of a byte has its turn.
  const step = Math.ceil(bytes.length / 400) | 1;
  for (let length = 0; length < bytes.length; length += step) await look(bytes.subarray(0, length), `cut at ${length}`);
  for (let bit = 0; bit < 8 * bytes.length; bit += step) {
    const flipped = Buffer.from(bytes);
    flipped[bit >> 3]! ^= 1 << (bit & 7);
    await look(flipped, `bit ${bit}`);
  }
  return wrong;
};
