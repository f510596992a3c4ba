import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import {
  decodeParentNote,
  encodeParentNote,
  type ParentNote,
  sampleBytes,
  sampleOffsets,
  samplesDigest,
} from '../../src/format/rbd-image-parent.ts';

const file = new URL('../../formats/rbd-image/vectors/vectors.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8')) as {
  parents: { text: string; note: ParentNote }[];
  notParents: string[];
  sampleOffsets: Record<string, number[]>;
};

/** As the spec's vectors have it: each block of 4096 bytes begins with its number. */
function bytesOf(size: number): Buffer {
  const bytes = Buffer.alloc(Math.ceil(size / 4096) * 4096);
  for (let at = 0; at < size; at += 4096) bytes.writeBigUInt64LE(BigInt(at / 4096), at);
  return bytes.subarray(0, size);
}

test.each(vectors.parents)('$text', ({ text, note }) => {
  expect(decodeParentNote(text)).toEqual(note);
  expect(decodeParentNote(encodeParentNote(note))).toEqual(note);
  expect(decodeParentNote(JSON.stringify({ ...note, later: 1 }))).toEqual(note);
  const digest = samplesDigest();
  for (const offset of sampleOffsets(note.size)) digest.add(bytesOf(note.size).subarray(offset, offset + sampleBytes));
  expect(digest.hex()).toBe(note.samples);
});

test.each(vectors.notParents)('is no parent: %s', (text) => {
  expect(decodeParentNote(text)).toBeNull();
});

test.each(Object.entries(vectors.sampleOffsets))('the samples of %s bytes', (size, offsets) => {
  expect(sampleOffsets(Number(size))).toEqual(offsets);
});
