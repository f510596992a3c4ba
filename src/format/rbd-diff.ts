// The rbd diff stream, v1 and v2; writing is in rbd-diff-write.ts. Spec: formats/rbd-diff/spec.md

import type { ByteReader } from '../bytes/reader.ts';
import { counted, nameFromBytes } from '../bytes/text.ts';
import type { RbdeltaError } from '../error.ts';
import {
  banners,
  type DiffHeader,
  type DiffRecord,
  type DiffStream,
  type DiffVersion,
  limits,
  tags,
} from './rbd-diff-layout.ts';
import { notADiff } from './recognise.ts';
import { u64At } from './struct.ts';

export { type DiffHeader, type DiffRecord, type DiffStream, type DiffVersion, limits } from './rbd-diff-layout.ts';
export { encodeDiff } from './rbd-diff-write.ts';

export interface DiffReadOptions {
  /**
   * Where payloads go: called once a piece with its length (at most `limits.pieceBytes`), must give at least that many
   * bytes, which are then the caller's. Without it `data` is only valid until the next record is pulled.
   */
  allocate?: (bytes: number) => Uint8Array | Promise<Uint8Array>;
  /** `ascending` (the default) refuses records that begin before the end of the one before; `any` lets them pass. */
  order?: 'ascending' | 'any';
  /** Longer payloads come in pieces of this many bytes; `limits.pieceBytes` is the default, and the most. */
  pieceBytes?: number;
}

/**
 * Reads the banner and the whole header of the next diff; null when the input ends cleanly before a banner. Call it
 * again when the records are exhausted: several diffs may follow one another on one pipe. The records are checked as
 * they are pulled, and end only after the end record was there. Throws `invalid` for an input that is no diff (or asks
 * for a name that cannot be), `corrupt` for one that is truncated or damaged, or goes on with something else.
 */
export const openDiff = async (
  reader: ByteReader,
  options: DiffReadOptions = {},
): Promise<(DiffStream & { version: DiffVersion }) | null> => {
  if (await reader.atEnd()) return null;
  const version = await readBanner(reader);
  const { header, tag } = await readHeader(reader, version);
  const next = tag === tags.zero ? await readPart(reader, version, header) : tag;
  return { version, header, records: readRecords(reader, version, header, next, options) };
};

/** After a diff: whether another one follows. Nothing is consumed. Anything else is `corrupt`. */
export const diffFollows = async (reader: ByteReader): Promise<boolean> => {
  if (await reader.atEnd()) return false;
  await peekBanner(reader);
  return true;
};

const bannerBytes = banners[1].length;

const readBanner = async (reader: ByteReader): Promise<DiffVersion> => {
  const version = await peekBanner(reader);
  await reader.skip(bannerBytes, 'the banner');
  return version;
};

const peekBanner = async (reader: ByteReader): Promise<DiffVersion> => {
  const start = reader.position;
  const found = Buffer.from(await reader.peek(bannerBytes));
  for (const version of [1, 2] as const) {
    const banner = banners[version];
    if (found.equals(banner)) return version;
    if (banner.subarray(0, found.length).equals(found)) {
      throw reader.failure('corrupt', `the rbd diff ends at byte ${start + found.length} inside the banner`);
    }
  }
  throw notADiff(reader, await reader.peek(32), start);
};

/** The header, and the first tag that is not part of it. */
const readHeader = async (reader: ByteReader, version: DiffVersion): Promise<{ header: DiffHeader; tag: number }> => {
  const header: DiffHeader = { fromSnap: null, toSnap: null, size: null, protected: null };
  for (;;) {
    const at = reader.position;
    const tag = await readTag(reader);
    switch (tag) {
      case tags.fromSnap:
        header.fromSnap = await readName(reader, version, 'start snapshot');
        if (header.fromSnap === '') {
          throw reader.failure('invalid', `the start snapshot at byte ${at} of the rbd diff has an empty name`);
        }
        break;
      case tags.toSnap:
        // rbd takes an empty name for "no snapshot", and so do we
        header.toSnap = (await readName(reader, version, 'end snapshot')) || null;
        break;
      case tags.protected: {
        // the length says 8 in files of Ceph up to 16.2, 1 in later ones; it is one byte in all of them
        if (version === 2) await reader.exact(8, 'the length of the protection record');
        const value = (await reader.exact(1, 'the protection record'))[0];
        if (value !== 0 && value !== 1) {
          throw reader.failure(
            'corrupt',
            `the protection record at byte ${at} of the rbd diff is ${value}, neither 0 nor 1`,
          );
        }
        header.protected = value === 1;
        break;
      }
      case tags.size:
        if (version === 2) await expectLength(reader, 8, 'image size');
        header.size = u64At(await reader.exact(8, 'the image size'), 0);
        if (header.size > Number.MAX_SAFE_INTEGER) {
          throw reader.failure('corrupt', `the image size at byte ${at} of the rbd diff is past 2^53 - 1`);
        }
        break;
      case tags.write:
      case tags.zero:
      case tags.end:
        return { header, tag };
      default:
        await skipUnknown(reader, version, tag, at);
    }
  }
};

/**
 * A part tells its borders by two empty records of zeros, before any other: rbd writes none, and passes over them.
 * Behind the tag of a first record of zeros; resolves to the tag of the first that changes something.
 */
const readPart = async (reader: ByteReader, version: DiffVersion, header: DiffHeader): Promise<number> => {
  const at = reader.position - 1;
  const bytes = version === 2 ? 24 : 16;
  const isEmpty = (fields: Buffer): boolean => fields.length === bytes && u64At(fields, bytes - 8) === 0;
  if (!isEmpty(await reader.peek(bytes))) return tags.zero;
  const both = await reader.peek(bytes + 1 + bytes);
  if (both[bytes] !== tags.zero || !isEmpty(both.subarray(bytes + 1))) return tags.zero;
  const [offset, end] = [u64At(both, bytes - 16), u64At(both, bytes + 1 + bytes - 16)];
  if (offset > end || end > (header.size ?? Number.MAX_SAFE_INTEGER)) {
    const borders = [both, both.subarray(bytes + 1)].map((fields) => fields.readBigUInt64LE(bytes - 16));
    throw reader.failure(
      'corrupt',
      `the part of a diff at byte ${at} goes from ${borders.join(' to ')}: that cannot be`,
    );
  }
  await reader.skip(both.length, 'the borders of a part');
  header.part = { offset, end };
  return readTag(reader);
};

async function* readRecords(
  reader: ByteReader,
  version: DiffVersion,
  { size, part }: DiffHeader,
  firstTag: number,
  { allocate, order = 'ascending', pieceBytes = limits.pieceBytes }: DiffReadOptions,
): AsyncGenerator<DiffRecord, void, undefined> {
  const fixedBytes = version === 2 ? 24 : 16;
  const fieldsAt = fixedBytes - 16;
  const last = part?.end ?? size ?? Number.MAX_SAFE_INTEGER;
  let reached = 0;
  let own: Uint8Array = Buffer.alloc(0);
  for (let tag = firstTag; tag !== tags.end; tag = reader.tryExact(1)?.[0] ?? (await readTag(reader))) {
    if (tag !== tags.write && tag !== tags.zero) {
      await refuseOrSkip(reader, version, tag);
      continue;
    }
    const at = reader.position - 1;
    const kind = tag === tags.write ? 'write' : 'zero';
    const fixed =
      reader.tryExact(fixedBytes) ?? (await reader.exact(fixedBytes, `the offset and length of a ${kind} record`));
    const offset = u64At(fixed, fieldsAt);
    const length = u64At(fixed, fieldsAt + 8);
    // first, so that what is compared next is exact
    if (offset + length > last || (part !== undefined && offset < part.offset))
      throw past(reader, kind, fixed.subarray(fieldsAt), at, { size, part });
    if (version === 2) checkLength(reader, fixed, kind === 'write' ? 16 + length : 16, `${kind} record`, at);
    if (length > 0) {
      if (order === 'ascending' && offset < reached) {
        throw reader.failure(
          'corrupt',
          `the ${kind} record ${offset}~${length} at byte ${at} of the rbd diff begins before ${reached}, where the one before ends`,
          { hint: 'old versions of Ceph wrote striped images unsorted; an import accepts that, nothing else does' },
        );
      }
      reached = offset + length;
    }
    if (kind === 'zero') {
      if (length > 0) yield { kind, offset, length };
      continue;
    }
    for (let done = 0; done < length; ) {
      const bytes = Math.min(length - done, pieceBytes);
      // small ones come out of the reader's buffer, which is then filled by one read for many of them
      const view =
        reader.tryExact(bytes) ?? (bytes <= smallBytes ? await reader.exact(bytes, dataOf(offset, length)) : null);
      let data: Uint8Array;
      if (view !== null && allocate === undefined) {
        data = view;
      } else {
        if (allocate === undefined && own.length < bytes) own = Buffer.allocUnsafeSlow(bytes);
        data = (allocate === undefined ? own : await allocate(bytes)).subarray(0, bytes);
        if (view !== null) data.set(view);
        else await reader.fill(data, dataOf(offset, length));
      }
      yield { kind, offset: offset + done, data, remaining: length - done - bytes };
      done += bytes;
    }
  }
}

const smallBytes = 16 << 10;

const dataOf = (offset: number, length: number): string => `the data of the write record ${offset}~${length}`;

const past = (
  reader: ByteReader,
  kind: string,
  fields: Buffer,
  at: number,
  { size, part }: Pick<DiffHeader, 'size'> & { part: DiffHeader['part'] | undefined },
): RbdeltaError => {
  const limit = size === null ? '2^53 - 1' : `the image size that it gives, ${size}`;
  return reader.failure(
    'corrupt',
    `the ${kind} record ${fields.readBigUInt64LE(0)}~${fields.readBigUInt64LE(8)} at byte ${at} of the rbd diff ` +
      (part === undefined ? `ends past ${limit}` : `is not inside the part from ${part.offset} to ${part.end}`),
  );
};

const readTag = async (reader: ByteReader): Promise<number> => {
  const [tag] = reader.tryExact(1) ?? (await reader.exact(1, 'the rbd diff, before its end record'));
  return tag ?? tags.end;
};

const readName = async (reader: ByteReader, version: DiffVersion, what: string): Promise<string> => {
  const at = reader.position - 1;
  const outer = version === 2 ? Buffer.from(await reader.exact(8, `the length of the ${what} record`)) : null;
  const length = (await reader.exact(4, `the length of the ${what}'s name`)).readUInt32LE(0);
  if (length > limits.snapNameBytes) {
    throw reader.failure(
      'invalid',
      `the ${what} at byte ${at} of the rbd diff has a name of ${length} bytes; ${limits.snapNameBytes} is the most`,
    );
  }
  if (outer !== null) checkLength(reader, outer, 4 + length, what, at);
  return nameFromBytes(await reader.exact(length, `the name of the ${what}`));
};

const expectLength = async (reader: ByteReader, expected: number, what: string): Promise<void> => {
  const at = reader.position - 1;
  checkLength(reader, await reader.exact(8, `the length of the ${what} record`), expected, what, at);
};

/** `bytes` begin with the length. rbd ignores that of a tag that it knows; a wrong one can only be damage, or a layout that nobody knows yet. */
const checkLength = (reader: ByteReader, bytes: Buffer, expected: number, what: string, at: number): void => {
  if (u64At(bytes, 0) === expected) return;
  const said = counted(bytes.readBigUInt64LE(0), 'byte');
  throw reader.failure(
    'corrupt',
    `the ${what} at byte ${at} of the rbd diff v2 says ${said}, its fields take ${expected}`,
  );
};

/** v2 gives the length of what we do not know; v1 does not, so everything behind it would be guesswork. */
const skipUnknown = async (reader: ByteReader, version: DiffVersion, tag: number, at: number): Promise<void> => {
  const shown = tag > 0x20 && tag < 0x7f ? `${tag} ('${String.fromCharCode(tag)}')` : `${tag}`;
  if (version === 1) {
    throw reader.failure('corrupt', `unknown tag byte ${shown} at byte ${at} of the rbd diff v1`, {
      hint: 'the stream is damaged, or of a version that this one does not know; rbd would skip the byte and misread what follows',
    });
  }
  const field = await reader.exact(8, `the length of the record with the unknown tag byte ${shown}`);
  const length = field.readBigUInt64LE(0);
  if (length > limits.unknownRecordBytes) {
    throw reader.failure(
      'corrupt',
      `the record with the unknown tag byte ${shown} at byte ${at} of the rbd diff v2 says ${length} bytes; ` +
        `at most ${limits.unknownRecordBytes} are skipped`,
    );
  }
  await reader.skip(Number(length), `the record with the unknown tag byte ${shown}`);
};

const metadata: ReadonlyMap<number, string> = new Map([
  [tags.fromSnap, 'start snapshot'],
  [tags.toSnap, 'end snapshot'],
  [tags.protected, 'protection record'],
  [tags.size, 'image size'],
]);

/** A tag between the records that is no record: metadata comes too late there. */
const refuseOrSkip = async (reader: ByteReader, version: DiffVersion, tag: number): Promise<void> => {
  const at = reader.position - 1;
  const what = metadata.get(tag);
  if (what === undefined) return skipUnknown(reader, version, tag, at);
  throw reader.failure('corrupt', `the ${what} at byte ${at} of the rbd diff comes after the first data record`);
};
