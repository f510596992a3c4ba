// One input, read in different pieces: a codec must not care where the chunks of a stream end.

import fc from 'fast-check';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource, chunkSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';

export const whole = (bytes: Uint8Array): ByteReader => new ByteReader(bytesSource(bytes));

export const byteByByte = (bytes: Uint8Array): ByteReader =>
  new ByteReader(chunkSource(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1))));

/** Chunks of the given lengths in turn, over and over. */
export const cutAt = (bytes: Uint8Array, lengths: readonly number[]): ByteReader => {
  const chunks: Uint8Array[] = [];
  for (let at = 0, turn = 0; at < bytes.length; turn++) {
    const length = lengths[turn % lengths.length] ?? 1;
    chunks.push(bytes.subarray(at, at + length));
    at += length;
  }
  return new ByteReader(chunkSource(chunks));
};

export const cutLengths = fc.array(fc.integer({ min: 1, max: 9000 }), { minLength: 1, maxLength: 20 });

/** All of what a generator of borrowed chunks gives. */
export const gather = async (chunks: AsyncIterable<Uint8Array[]>): Promise<Buffer> => {
  const all: Buffer[] = [];
  for await (const some of chunks) for (const chunk of some) all.push(Buffer.from(chunk));
  return Buffer.concat(all);
};

/** The refusal of what is read; null when it was not refused. Anything that is not an RbdeltaError is a bug, and goes on. */
export const refusal = async (read: () => unknown): Promise<RbdeltaError | null> => {
  try {
    await read();
    return null;
  } catch (error) {
    if (error instanceof RbdeltaError) return error;
    throw error;
  }
};

/** The code of the refusal, or `read`. */
export const outcome = async (read: () => unknown): Promise<string> => (await refusal(read))?.code ?? 'read';

/** Lengths of proper prefixes of `bytes` that are not refused as cut off just there. Good codecs leave none. */
export const acceptedPrefixes = async (
  bytes: Buffer,
  read: (prefix: Buffer) => unknown,
  says = (length: number) => `ends at byte ${length}`,
): Promise<number[]> => {
  const accepted: number[] = [];
  for (let length = 0; length < bytes.length; length++) {
    const error = await refusal(() => read(bytes.subarray(0, length)));
    if (error?.code !== 'corrupt' || !error.message.includes(says(length))) accepted.push(length);
  }
  return accepted;
};
