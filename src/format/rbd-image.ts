// A whole image with its snapshots: `rbd export --export-format 2`. Spec: formats/rbd-image/spec.md

import type { ByteReader } from '../bytes/reader.ts';
import { counted, nameFromBytes, nameToBytes, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { notADiff } from './recognise.ts';
import { putU64, u64At } from './struct.ts';

/** Limits on what a header may ask for, checked before anything is allocated. */
export const limits = {
  /** One pair of image metadata. */
  metadataBytes: 1 << 20,
  /** All pairs together. */
  metadataTotalBytes: 16 << 20,
  /** A record with a tag that we do not know is skipped when it says that it is no longer than this. */
  unknownRecordBytes: 1 << 20,
} as const;

/** What comes before the diffs. null: the record is absent, which rbd takes for its own default. */
export interface ImageHeader {
  /** Objects have 2^order bytes. */
  order: number | null;
  /** Feature bits of formats/rbd-header, also those that only rbd itself may set. 0 for an image of format 1. */
  features: number | null;
  /** Bytes. */
  stripeUnit: number | null;
  stripeCount: number | null;
  /** Image metadata in the order of the file; a key that comes twice has its last value. Names: src/bytes/text.ts */
  metadata: Map<string, string>;
  /** How many diffs (v2) follow: one a snapshot, in rising order, and one from the last of them to the head. */
  diffCount: number;
}

const imageBanner = Buffer.from('rbd image v2\n');
const diffsBanner = Buffer.from('rbd image diffs v2\n');

/** Whether these first bytes of an input (32 are enough) are those of an image export. */
export const isImageExport = (start: Uint8Array): boolean => imageBanner.equals(start.subarray(0, imageBanner.length));

const tags = { order: 0x4f, features: 0x54, stripeUnit: 0x55, stripeCount: 0x43, metadata: 0x4d, end: 0x45 } as const;

/**
 * Reads up to the first diff; read `diffCount` diffs with `openDiff` from there. Throws `invalid` for what is no such
 * export, `corrupt` for one that is truncated or damaged, `tooLarge` for metadata past the limits.
 */
export const readImageHeader = async (reader: ByteReader): Promise<ImageHeader> => {
  await expectBanner(reader, imageBanner, true);
  const header: ImageHeader = {
    order: null,
    features: null,
    stripeUnit: null,
    stripeCount: null,
    metadata: new Map(),
    diffCount: 0,
  };
  let metadataBytes = 0n;
  for (;;) {
    const at = reader.position;
    const tag = (await reader.exact(1, 'the header of the image export, before its end record'))[0] ?? tags.end;
    if (tag === tags.end) break;
    // exact, however long: it may have to be said
    const length = (await reader.exact(8, 'the length of a record of the image export')).readBigUInt64LE(0);
    switch (tag) {
      case tags.order:
        header.order = await readNumber(reader, length, 'order', at);
        break;
      case tags.features:
        header.features = await readNumber(reader, length, 'features', at);
        break;
      case tags.stripeUnit:
        header.stripeUnit = await readNumber(reader, length, 'stripe unit', at);
        break;
      case tags.stripeCount:
        header.stripeCount = await readNumber(reader, length, 'stripe count', at);
        break;
      case tags.metadata: {
        metadataBytes += length;
        if (length > limits.metadataBytes || metadataBytes > limits.metadataTotalBytes) {
          throw reader.failure(
            'tooLarge',
            `the image metadata at byte ${at} of the image export takes ${counted(length, 'byte')} (${metadataBytes} in all); ` +
              `at most ${limits.metadataBytes} (${limits.metadataTotalBytes} in all) are read`,
          );
        }
        const [key, value] = await readPair(reader, Number(length), at);
        header.metadata.set(key, value);
        break;
      }
      default:
        if (length > limits.unknownRecordBytes) {
          throw damaged(
            reader,
            at,
            `the record with the unknown tag byte ${tag} says ${length} bytes; at most ${limits.unknownRecordBytes} are skipped`,
          );
        }
        await reader.skip(Number(length), `the record with the unknown tag byte ${tag}`);
    }
  }
  await expectBanner(reader, diffsBanner, false);
  const at = reader.position;
  const count = (await reader.exact(8, 'the number of diffs of the image export')).readBigUInt64LE(0);
  if (count < 1 || count > Number.MAX_SAFE_INTEGER) throw damaged(reader, at, `it says that ${count} diffs follow`);
  header.diffCount = Number(count);
  return header;
};

/** Everything before the first diff. Then come `diffCount` diffs of version 2 (`encodeDiff`), and nothing more. */
export const encodeImageHeader = (header: ImageHeader): Buffer => {
  const parts: Buffer[] = [imageBanner];
  const put = (tag: number, payload: Buffer) => parts.push(Buffer.of(tag), u64(payload.length), payload);
  if (header.order !== null) put(tags.order, u64(header.order));
  if (header.features !== null) put(tags.features, u64(header.features));
  if (header.stripeUnit !== null) put(tags.stripeUnit, u64(header.stripeUnit));
  if (header.stripeCount !== null) put(tags.stripeCount, u64(header.stripeCount));
  for (const [key, value] of header.metadata) put(tags.metadata, Buffer.concat([string(key), string(value)]));
  parts.push(Buffer.of(tags.end), diffsBanner, u64(header.diffCount));
  return Buffer.concat(parts);
};

const expectBanner = async (reader: ByteReader, banner: Buffer, first: boolean): Promise<void> => {
  const at = reader.position;
  const found = Buffer.from(await reader.peek(32));
  const start = found.subarray(0, banner.length);
  if (start.equals(banner)) return reader.skip(banner.length, 'the banner');
  if (banner.subarray(0, start.length).equals(start)) {
    throw reader.failure('corrupt', `the image export ends at byte ${at + start.length} inside a banner`);
  }
  if (!first) throw damaged(reader, at, `'${banner.toString().trimEnd()}' is expected there`);
  throw notADiff(reader, found, at, 'an image export (rbd export --export-format 2)');
};

const readNumber = async (reader: ByteReader, length: bigint, what: string, at: number): Promise<number> => {
  if (length !== 8n) throw damaged(reader, at, `the ${what} says ${counted(length, 'byte')}, it takes 8`);
  const value = u64At(await reader.exact(8, `the ${what} of the image export`), 0);
  if (value > Number.MAX_SAFE_INTEGER) throw damaged(reader, at, `the ${what} is past 2^53 - 1`);
  return value;
};

const readPair = async (reader: ByteReader, length: number, at: number): Promise<[string, string]> => {
  const pair = Buffer.alloc(length);
  await reader.fill(pair, 'the image metadata of the image export');
  const keyBytes = length < 8 ? length : pair.readUInt32LE(0);
  if (keyBytes + 8 > length || pair.readUInt32LE(4 + keyBytes) !== length - 8 - keyBytes) {
    throw damaged(
      reader,
      at,
      `the lengths of an image metadata key and value do not add up to ${counted(length, 'byte')}`,
    );
  }
  return [nameFromBytes(pair.subarray(4, 4 + keyBytes)), nameFromBytes(pair.subarray(8 + keyBytes))];
};

const damaged = (reader: ByteReader, at: number, how: string): RbdeltaError =>
  reader.failure('corrupt', `the image export is damaged at byte ${at}: ${how}`);

const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  putU64(bytes, value, 0);
  return bytes;
};

const string = (value: string): Buffer => {
  const bytes = nameToBytes(value);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  if (bytes.length > limits.metadataBytes - 8) {
    throw new RbdeltaError(
      'tooLarge',
      `image metadata of ${bytes.length} bytes at '${printable(value.slice(0, 40))}' is more than an image export may have`,
    );
  }
  return Buffer.concat([length, bytes]);
};
