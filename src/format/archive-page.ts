// Pages of the index of an archive: what is told of each frame. Spec: formats/archive/spec.md

import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { PageReader, PageWriter, varintBytes } from './varint.ts';

/** Bytes of the image that have one digest. */
export const blockBytes = 65536;
export const digestBytes = 16;
/** Type, offset and length of a record of the diff stream: what stands in front of a payload. */
export const recordHeaderBytes = 17;

export const limits = {
  /** A frame as it is stored. */
  frameBytes: (4 << 20) + (64 << 10) + (1 << 10),
  frameRecords: 16384,
  /** Payload of a record, and of all records of a frame. */
  payloadBytes: 4 << 20,
  /** A frame, decompressed. */
  frameRawBytes: (4 << 20) + 16384 * recordHeaderBytes,
  /** What a page tells of one frame: so that any frame fits behind what a page has. */
  frameEntryBytes: 960 << 10,
  /** A page, decompressed. */
  pageRawBytes: (1 << 20) + (4 << 10),
  /** A page as it is stored: what zstd makes of one that cannot be compressed. */
  pageBytes: (1 << 20) + (16 << 10),
  pages: 4_000_000,
  segments: 1_000_000,
} as const;

/** A page takes no further frame when it has this many bytes. */
export const pageFullBytes = 64 << 10;

/** Where a frame lies. `hash` is the first 16 bytes of the SHA-256 of the stored bytes. */
export interface EdgeFrame {
  segment: number;
  /** Bytes from the start of the segment. */
  offset: number;
  /** As stored. */
  bytes: number;
  /** Decompressed. */
  rawBytes: number;
  hash: Uint8Array;
}

/** A frame of records. */
export interface Frame extends EdgeFrame {
  /** Pairs of offset and length in bytes of the image; the length of a zero record is negative. At least one. */
  records: Float64Array;
  /** Pairs of first block and count; the count is negative where the blocks are zero. They cover the records. */
  runs: Float64Array;
  /** 16 bytes for each block of the runs that is not zero, in their order. */
  digests: Uint8Array;
}

/** What the frame tells anything of, in bytes of the image: whole blocks, so the image may end before `end` does. */
export const hullOf = (frame: Pick<Frame, 'runs'>): { start: number; end: number } => {
  const { runs } = frame;
  return {
    start: runs[0]! * blockBytes,
    end: (runs[runs.length - 2]! + Math.abs(runs[runs.length - 1]!)) * blockBytes,
  };
};

/** How many blocks of the runs have a digest. */
export const digestsOf = (runs: Float64Array): number => {
  let count = 0;
  for (let i = 1; i < runs.length; i += 2) if (runs[i]! > 0) count += runs[i]!;
  return count;
};

/**
 * Makes pages of frames, in their order. A page comes out raw: who has it compresses it. What breaks a rule of the
 * spec is a bug (RangeError).
 */
export class PageEncoder {
  #body = new PageWriter();
  #frames = 0;
  #before: Frame | null = null;

  /** Appends a frame; a page if that made it full, null otherwise. */
  add(frame: Frame): Buffer | null {
    const wrong = frameFault(frame, this.#before);
    if (wrong !== null) throw new RangeError(`a frame that must not be: ${wrong}`);
    this.#before = frame;
    this.#frames += 1;
    const body = this.#body;
    const start = body.length;
    body.reserve(4 * 8 + digestBytes + 2 * 8 + 8 * (frame.records.length + frame.runs.length) + frame.digests.length);
    body.varint(frame.segment);
    body.varint(frame.offset);
    body.varint(frame.bytes);
    body.varint(frame.rawBytes);
    body.raw(frame.hash);
    body.varint(frame.records.length / 2);
    body.varint(frame.runs.length / 2);
    writePairs(body, frame.records);
    writePairs(body, frame.runs);
    body.raw(frame.digests);
    if (body.length - start > limits.frameEntryBytes) {
      throw new RangeError(
        `a frame takes ${body.length - start} bytes of a page; ${limits.frameEntryBytes} is the most`,
      );
    }
    return body.length + varintBytes(this.#frames) >= pageFullBytes ? this.finish() : null;
  }

  /** What is left; null if that is nothing. The encoder may be used further. */
  finish(): Buffer | null {
    if (this.#frames === 0) return null;
    const head = new PageWriter();
    head.reserve(8);
    head.varint(this.#frames);
    const page = Buffer.concat([head.bytes(), this.#body.bytes()]);
    this.#body.clear();
    this.#frames = 0;
    return page;
  }
}

const writePairs = (to: PageWriter, pairs: Float64Array): void => {
  let end = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const start = pairs[i]!;
    const signed = pairs[i + 1]!;
    to.varint(start - end);
    to.varint(signed < 0 ? -2 * signed + 1 : 2 * signed);
    end = start + Math.abs(signed);
  }
};

/**
 * The frames of a decompressed page. Hashes and digests are views of `raw`; records and runs are copies. `name` says
 * which page of which file it is. Throws `corrupt`.
 */
export const decodePage = (raw: Uint8Array, name = 'a page of an index'): Frame[] => {
  const frames: Frame[] = [];
  const fail = (how: string): RbdeltaError =>
    new RbdeltaError('corrupt', `${name} is damaged: frame ${frames.length}: ${how}`);
  if (raw.length > limits.pageRawBytes) {
    const message = `${name} is damaged: it has ${raw.length} bytes; ${limits.pageRawBytes} is the most`;
    throw new RbdeltaError('corrupt', message);
  }
  const from = new PageReader(raw, fail);
  const count = from.count(leastFrameBytes, 'frames');
  if (count === 0) throw new RbdeltaError('corrupt', `${name} is damaged: it has no frames`);
  let before: Frame | null = null;
  while (frames.length < count) {
    if (from.at >= pageFullBytes)
      throw fail(`it begins at byte ${from.at}; a page takes no frame after ${pageFullBytes}`);
    const segment = from.varint();
    const offset = from.varint();
    const bytes = from.varint();
    const rawBytes = from.varint();
    const hash = from.raw(digestBytes, 'the hash');
    const recordCount = from.count(2, 'records');
    const runCount = from.count(2, 'runs');
    const records = readPairs(from, recordCount, fail);
    const runs = readPairs(from, runCount, fail);
    const digests = from.raw(digestsOf(runs) * digestBytes, 'the digests');
    const frame: Frame = { segment, offset, bytes, rawBytes, hash, records, runs, digests };
    const wrong = frameFault(frame, before);
    if (wrong !== null) throw fail(wrong);
    frames.push(frame);
    before = frame;
  }
  if (from.at < raw.length) {
    const message = `${name} is damaged: ${counted(raw.length - from.at, 'byte')} left over behind its last frame`;
    throw new RbdeltaError('corrupt', message);
  }
  return frames;
};

/** A frame of one record and one run of zeros. */
export const leastFrameBytes = 4 + digestBytes + 2 + 2 + 2;

const readPairs = (from: PageReader, count: number, fail: (how: string) => RbdeltaError): Float64Array => {
  const pairs = new Float64Array(2 * count);
  let end = 0;
  for (let i = 0; i < 2 * count; i += 2) {
    const start = end + from.varint();
    const value = from.varint();
    const zero = value % 2;
    const length = (value - zero) / 2;
    end = start + length;
    if (length === 0 || end > Number.MAX_SAFE_INTEGER) throw fail(`a piece of length ${length} at ${start}`);
    pairs[i] = start;
    pairs[i + 1] = zero === 1 ? -length : length;
  }
  return pairs;
};

/** What is wrong with a frame behind another one; null if nothing is. Checked before writing, and after reading. */
const frameFault = (frame: Frame, before: Frame | null): string | null => {
  const { segment, offset, bytes, rawBytes, hash, records, runs, digests } = frame;
  if (segment >= limits.segments) return `segment ${segment} of at most ${limits.segments}`;
  if (bytes < 1 || bytes > limits.frameBytes) return `${bytes} stored bytes; 1 to ${limits.frameBytes} are possible`;
  if (before !== null) {
    const follows = segment === before.segment ? offset === before.offset + before.bytes : offset === 0;
    if (!follows || segment - before.segment > 1 || segment < before.segment) {
      return `it is at ${segment}:${offset}; the one before it ends at ${before.segment}:${before.offset + before.bytes}`;
    }
  }
  if (hash.length !== digestBytes) return `a hash of ${hash.length} bytes`;
  const count = records.length / 2;
  if (count < 1 || count > limits.frameRecords) return `${count} records; 1 to ${limits.frameRecords} are possible`;
  if (runs.length === 0) return 'no runs';
  const wrong = pairsFault(records, 'record') ?? pairsFault(runs, 'run');
  if (wrong !== null) return wrong;
  if (runs[runs.length - 2]! + Math.abs(runs[runs.length - 1]!) > maxBlocks) return 'a run ends past 2^53 bytes';
  let payload = 0;
  for (let i = 1; i < records.length; i += 2) if (records[i]! > 0) payload += records[i]!;
  if (payload > limits.payloadBytes) return `${payload} bytes of payload; ${limits.payloadBytes} is the most`;
  if (rawBytes !== payload + count * recordHeaderBytes) {
    return `${rawBytes} raw bytes; its records take ${payload + count * recordHeaderBytes}`;
  }
  const expected = digestsOf(runs) * digestBytes;
  if (digests.length !== expected) return `${digests.length} bytes of digests; its runs need ${expected}`;
  if (before !== null) {
    const end = hullOf(before).end / blockBytes;
    if (runs[0]! < end) return `it begins at block ${runs[0]}; the one before it ends at block ${end}`;
  }
  return uncovered(records, runs);
};

const maxBlocks = Math.floor(Number.MAX_SAFE_INTEGER / blockBytes);

/** Pairs rise and do not overlap; none is empty. */
const pairsFault = (pairs: Float64Array, what: string): string | null => {
  let end = 0;
  for (let i = 0; i < pairs.length; i += 2) {
    const start = pairs[i]!;
    const length = Math.abs(pairs[i + 1]!);
    if (!(start >= end) || !(length > 0)) return `the ${what} ${start}~${length} behind the end of another at ${end}`;
    end = start + length;
  }
  return null;
};

/** A block that a record touches and no run tells of. */
const uncovered = (records: Float64Array, runs: Float64Array): string | null => {
  let run = 0;
  for (let i = 0; i < records.length; i += 2) {
    const end = Math.ceil((records[i]! + Math.abs(records[i + 1]!)) / blockBytes);
    for (let block = Math.floor(records[i]! / blockBytes); block < end; ) {
      while (run < runs.length && runs[run]! + Math.abs(runs[run + 1]!) <= block) run += 2;
      if (run >= runs.length || runs[run]! > block) return `no run tells of block ${block}, which a record touches`;
      block = runs[run]! + Math.abs(runs[run + 1]!);
    }
  }
  return null;
};
