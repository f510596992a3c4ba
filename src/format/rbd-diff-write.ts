// Writes diff streams; reading is in rbd-diff.ts. Spec: formats/rbd-diff/spec.md

import { nameToBytes, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import {
  banners,
  type DiffHeader,
  type DiffRecord,
  type DiffStream,
  type DiffVersion,
  limits,
  tags,
} from './rbd-diff-layout.ts';
import { putU64 } from './struct.ts';

/** Payloads up to this are copied into the batch: a system call costs more than the copy. */
const copyBytes = 16 << 10;
const batchBytes = 256 << 10;

/**
 * Writes a diff: banner, header, records, end. Each value is a list of chunks to be consumed before the next is pulled
 * (their memory is used again). Large payloads are passed through as they are; headers and small payloads are
 * gathered. What the header leaves out (null) is left out; a `protected` that is not null is written in v1, too.
 * A stream that breaks its own rules is a bug (Error).
 */
export async function* encodeDiff(
  stream: DiffStream,
  options: { version?: DiffVersion } = {},
): AsyncGenerator<Uint8Array[], void, undefined> {
  const version = options.version ?? 1;
  yield [encodeHeader(stream.header, version)];
  const batch = Buffer.allocUnsafeSlow(batchBytes);
  const fixedBytes = version === 2 ? 25 : 17;
  let filled = 0;
  let open = 0; // bytes that the current write record still lacks
  let reached = 0;
  for await (const record of stream.records) {
    const length = record.kind === 'write' ? record.data.length : record.length;
    if (length === 0) continue;
    const whole = record.kind === 'write' ? length + record.remaining : length;
    checkRecord(record.offset, whole, stream.header.size);
    if (filled + fixedBytes > batchBytes) {
      yield [batch.subarray(0, filled)];
      filled = 0;
    }
    if (open === 0) filled = putFixed(batch, filled, version, record.kind, record.offset, whole);
    else if (record.kind !== 'write' || whole !== open || record.offset !== reached) {
      throw new Error(
        `a ${record.kind} of ${whole} bytes at ${record.offset} where ${open} bytes at ${reached} were due`,
      );
    }
    reached = record.offset + length;
    if (record.kind === 'zero') continue;
    open = record.remaining;
    if (length > copyBytes) {
      yield filled > 0 ? [batch.subarray(0, filled), record.data] : [record.data];
      filled = 0;
      continue;
    }
    if (filled + length > batchBytes) {
      yield [batch.subarray(0, filled)];
      filled = 0;
    }
    batch.set(record.data, filled);
    filled += length;
  }
  if (open > 0) throw new Error(`the last write record lacks ${open} bytes at ${reached}`);
  if (filled === batchBytes) {
    yield [batch];
    filled = 0;
  }
  batch[filled] = tags.end;
  yield [batch.subarray(0, filled + 1)];
}

const encodeHeader = (header: DiffHeader, version: DiffVersion): Buffer => {
  const parts: Buffer[] = [banners[version]];
  const put = (tag: number, payload: Buffer) => {
    parts.push(Buffer.of(tag));
    if (version === 2) parts.push(u64(payload.length));
    parts.push(payload);
  };
  if (header.fromSnap !== null) put(tags.fromSnap, encodeName(header.fromSnap));
  if (header.toSnap !== null) put(tags.toSnap, encodeName(header.toSnap));
  if (header.protected !== null) put(tags.protected, Buffer.of(header.protected ? 1 : 0));
  if (header.size !== null) put(tags.size, u64(header.size));
  if (header.part !== undefined) {
    for (const border of [header.part.offset, header.part.end]) put(tags.zero, Buffer.concat([u64(border), u64(0)]));
  }
  return Buffer.concat(parts);
};

const encodeName = (name: string): Buffer => {
  const bytes = nameToBytes(name);
  if (bytes.length === 0 || bytes.length > limits.snapNameBytes) {
    throw new RbdeltaError(
      'invalid',
      `the snapshot name '${printable(name.slice(0, 40))}' has ${bytes.length} bytes; a diff can name 1 to ${limits.snapNameBytes}`,
    );
  }
  const length = Buffer.alloc(4);
  length.writeUInt32LE(bytes.length);
  return Buffer.concat([length, bytes]);
};

const putFixed = (
  into: Buffer,
  at: number,
  version: DiffVersion,
  kind: DiffRecord['kind'],
  offset: number,
  length: number,
): number => {
  into[at++] = kind === 'write' ? tags.write : tags.zero;
  if (version === 2) {
    putU64(into, kind === 'write' ? 16 + length : 16, at);
    at += 8;
  }
  putU64(into, offset, at);
  putU64(into, length, at + 8);
  return at + 16;
};

/** The reader would refuse such a record: better not to write it. */
const checkRecord = (offset: number, length: number, size: number | null): void => {
  const last = size ?? Number.MAX_SAFE_INTEGER;
  if (offset < 0 || !Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset + length > last) {
    throw new Error(`a record ${offset}~${length} does not fit into an image of ${last} bytes`);
  }
};

const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  putU64(bytes, value, 0);
  return bytes;
};
