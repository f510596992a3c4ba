// Says what an input is that should have been an rbd diff: people mix up their files at night.

import { RbdeltaError } from '../error.ts';

/** First bytes of formats that end up where a diff was meant, with what to do about it. */
const known: { magic: string | number[]; what: string; hint?: string }[] = [
  {
    magic: 'rbd image v2\n',
    what: 'an image export (rbd export --export-format 2)',
    hint: 'rbdelta import --export-format 2',
  },
  { magic: 'rbd diff v', what: 'an rbd diff of an unknown version', hint: 'a newer rbdelta may read it' },
  { magic: 'rbd image', what: 'an image export of rbd, of an unknown version', hint: 'a newer rbdelta may read it' },
  { magic: [0x28, 0xb5, 0x2f, 0xfd], what: 'zstd compressed data', hint: 'zstd -d' },
  { magic: [0x1f, 0x8b], what: 'gzip compressed data', hint: 'gzip -d' },
  { magic: 'BZh', what: 'bzip2 compressed data', hint: 'bzip2 -d' },
  { magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], what: 'xz compressed data', hint: 'xz -d' },
  { magic: [0x04, 0x22, 0x4d, 0x18], what: 'lz4 compressed data', hint: 'lz4 -d' },
  { magic: [0x51, 0x46, 0x49, 0xfb], what: 'a qcow2 image', hint: 'qemu-img convert -O raw' },
  { magic: 'KDMV', what: 'a VMDK image', hint: 'qemu-img convert -O raw' },
  { magic: 'age-encryption.org/', what: 'an age encrypted file', hint: 'age -d' },
];

/** The error (`invalid`) for an input whose first bytes are `start`, `at` bytes into the whole. */
export const notADiff = (start: Uint8Array, at: number): RbdeltaError => {
  const bytes = Buffer.from(start);
  const match = known.find(({ magic }) => {
    const wanted = typeof magic === 'string' ? Buffer.from(magic) : Buffer.from(magic);
    return bytes.subarray(0, wanted.length).equals(wanted);
  });
  const where =
    at === 0 ? 'the input is not an rbd diff stream' : `what follows at byte ${at} is not a further rbd diff`;
  const looks =
    match !== undefined
      ? `it looks like ${match.what}`
      : bytes.every((byte) => byte === 0)
        ? 'it starts with zeros, as a raw image may'
        : `it starts with ${bytes.subarray(0, 12).toString('hex')}`;
  return new RbdeltaError('invalid', `${where}: ${looks}`, match?.hint === undefined ? {} : { hint: match.hint });
};
