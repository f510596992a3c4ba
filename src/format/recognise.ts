// Says what an input is that should have been something else: people mix up their files at night.

import type { ByteReader } from '../bytes/reader.ts';
import type { RbdeltaError } from '../error.ts';

/** First bytes of formats that end up where a diff or an image export was meant, with what to do about it. */
const known: { magic: Buffer; what: string; hint: string }[] = [
  { magic: Buffer.from('rbd image v2\n'), what: 'an image export', hint: 'rbdelta import --export-format 2 reads it' },
  { magic: Buffer.from('rbd diff v1\n'), what: 'an rbd diff', hint: 'rbdelta import-diff reads it' },
  { magic: Buffer.from('rbd diff v2\n'), what: 'an rbd diff', hint: 'rbdelta import-diff reads it' },
  { magic: Buffer.from('rbd diff v'), what: 'an rbd diff of an unknown version', hint: 'a newer rbdelta may read it' },
  {
    magic: Buffer.from('rbd image'),
    what: 'an image export of an unknown version',
    hint: 'a newer rbdelta may read it',
  },
  { magic: Buffer.of(0x28, 0xb5, 0x2f, 0xfd), what: 'zstd compressed data', hint: 'decompress it first: zstd -d' },
  { magic: Buffer.of(0x1f, 0x8b), what: 'gzip compressed data', hint: 'decompress it first: gzip -d' },
  { magic: Buffer.from('BZh'), what: 'bzip2 compressed data', hint: 'decompress it first: bzip2 -d' },
  {
    magic: Buffer.of(0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00),
    what: 'xz compressed data',
    hint: 'decompress it first: xz -d',
  },
  { magic: Buffer.of(0x04, 0x22, 0x4d, 0x18), what: 'lz4 compressed data', hint: 'decompress it first: lz4 -d' },
  { magic: Buffer.of(0x51, 0x46, 0x49, 0xfb), what: 'a qcow2 image', hint: 'qemu-img convert -O raw' },
  { magic: Buffer.from('KDMV'), what: 'a VMDK image', hint: 'qemu-img convert -O raw' },
  { magic: Buffer.from('age-encryption.org/'), what: 'an age encrypted file', hint: 'decrypt it first: age -d' },
];

/**
 * The error for what is not `wanted`: its first bytes (32 are enough) are `start`, and they are `at` bytes into the
 * input. At its beginning (0) the input is of another kind, `invalid`; further on it is one that is damaged, `corrupt`.
 */
export const notADiff = (
  reader: ByteReader,
  start: Uint8Array,
  at: number,
  wanted = 'an rbd diff stream',
): RbdeltaError => {
  const bytes = Buffer.from(start);
  const match = known.find(({ magic }) => bytes.subarray(0, magic.length).equals(magic));
  const where = at === 0 ? `the input is not ${wanted}` : `what follows at byte ${at} is not ${wanted}`;
  return reader.failure(
    at === 0 ? 'invalid' : 'corrupt',
    `${where}: ${describe(bytes, match?.what)}`,
    match === undefined ? {} : { hint: match.hint },
  );
};

const describe = (bytes: Buffer, what: string | undefined): string => {
  if (bytes.length === 0) return 'it is empty';
  if (what !== undefined) return `it looks like ${what}`;
  if (bytes.every((byte) => byte === 0)) return 'it starts with zeros, as a raw image may';
  return `it starts with the bytes ${bytes.subarray(0, 12).toString('hex')}`;
};
