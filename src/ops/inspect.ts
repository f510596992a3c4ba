// inspect: what is in a diff stream (or in several, one after the other), also of one that is damaged further on.

import { interruption } from '../bytes/errno.ts';
import type { ByteReader } from '../bytes/reader.ts';
import { counted } from '../bytes/text.ts';
import { zeroRuns } from '../bytes/zero.ts';
import { RbdeltaError } from '../error.ts';
import { type DiffHeader, diffFollows, type DiffStream, type DiffVersion, openDiff } from '../format/rbd-diff.ts';
import { type ImageHeader, isImageExport, readImageHeader } from '../format/rbd-image.ts';
import { ChangeMap } from './change-map.ts';
import { Coverage } from './coverage.ts';

export interface DiffReport {
  version: DiffVersion;
  header: DiffHeader;
  /** Where it begins and ends in the (uncompressed) stream, in bytes; where reading stopped if it is not whole. */
  startByte: number;
  endByte: number;
  /** The end record was there. */
  whole: boolean;
  writes: { records: number; bytes: number };
  zeros: { records: number; bytes: number };
  /** Bytes of data that are zeros (in blocks of 4 KiB) and yet sent as data. */
  zeroDataBytes: number;
  /** What the changes span; null without any. */
  span: { offset: number; end: number } | null;
  /** Records by length: `upTo` is a power of two, the longest length that counts here. Only what occurs, ascending. */
  lengths: { upTo: number; records: number; bytes: number }[];
  /** Whether every record begins at or after the end of the one before. Old exporters of striped images did not sort. */
  ascending: boolean;
  /** Null for all but the first diffs of a long chain. */
  map: ChangeMap | null;
}

export const limits = {
  /** A map takes 64 KiB, a diff of nothing 22 bytes: memory must not follow how many there are. */
  maps: 500,
} as const;

export interface StreamReport {
  /** What `rbd export --export-format 2` puts before the diffs; null for a plain diff stream. */
  image: ImageHeader | null;
  diffs: DiffReport[];
  /** Bytes of the stream that were read. */
  streamBytes: number;
  /** Why not more of it could be read, or else why it would not be imported; null when all was well. */
  failure: RbdeltaError | null;
}

export interface InspectOptions {
  signal?: AbortSignal;
  /** Bytes of input consumed so far. */
  onProgress?: (bytes: number) => void;
}

/** Reads to the end. What is wrong with the stream is reported, not thrown; all else (a failing disk) is thrown. */
export async function inspectStream(reader: ByteReader, options: InspectOptions = {}): Promise<StreamReport> {
  const report: StreamReport = { image: null, diffs: [], streamBytes: 0, failure: null };
  try {
    if (await reader.atEnd()) throw reader.failure('corrupt', 'the input is empty');
    if (isImageExport(await reader.peek(32))) report.image = await readImageHeader(reader);
    while (report.image === null || report.diffs.length < report.image.diffCount) {
      if (report.image === null && report.diffs.length > 0 && !(await diffFollows(reader))) break;
      const startByte = reader.position;
      const stream = await openDiff(reader, { order: 'any' });
      if (stream === null) break;
      const diff = emptyReport(stream, startByte, report.diffs.length < limits.maps);
      report.diffs.push(diff);
      const overlap = await readRecords(stream, diff, reader, options);
      report.failure ??= overlap;
    }
    if (report.image !== null) await expectEnd(reader, report);
  } catch (error) {
    if (!(error instanceof RbdeltaError) || !aboutTheStream.includes(error.code)) throw error;
    report.failure = error;
  }
  report.streamBytes = reader.position;
  return report;
}

const aboutTheStream: readonly string[] = ['corrupt', 'invalid', 'tooLarge'];

async function expectEnd(reader: ByteReader, { image, diffs }: StreamReport): Promise<void> {
  const expected = image?.diffCount ?? 0;
  if (diffs.length < expected) {
    throw reader.failure('corrupt', `the image export ends after ${diffs.length} of its ${counted(expected, 'diff')}`);
  }
  if (!(await reader.atEnd())) {
    throw reader.failure('corrupt', `more bytes follow the image export at byte ${reader.position}`);
  }
}

const emptyReport = (
  stream: DiffStream & { version: DiffVersion },
  startByte: number,
  hasMap: boolean,
): DiffReport => ({
  version: stream.version,
  header: stream.header,
  startByte,
  endByte: startByte,
  whole: false,
  writes: { records: 0, bytes: 0 },
  zeros: { records: 0, bytes: 0 },
  zeroDataBytes: 0,
  span: null,
  lengths: [],
  ascending: true,
  map: hasMap ? new ChangeMap(stream.header.size) : null,
});

/**
 * Fills in the report as it reads, so that it tells what was there even if reading fails. Resolves to why an import
 * would refuse records that could be read: overlaps.
 */
async function readRecords(
  stream: DiffStream,
  report: DiffReport,
  reader: ByteReader,
  { signal, onProgress }: InspectOptions,
): Promise<RbdeltaError | null> {
  /** Counts by the logarithm of the length. */
  const lengths: { records: number; bytes: number }[] = [];
  let insideRecord = false;
  const coverage = new Coverage();
  let overlap: RbdeltaError | null = null;
  const cover = (offset: number, length: number): void => {
    if (overlap !== null) return;
    try {
      coverage.add(offset, length);
    } catch (error) {
      if (!(error instanceof RbdeltaError)) throw error;
      const hint = 'import-diff --force applies such records in their order, as rbd does';
      overlap = reader.failure(error.code, error.message, { cause: error, hint });
    }
  };
  const begin = (offset: number, length: number): void => {
    const bucket = Math.ceil(Math.log2(length));
    const counts = (lengths[bucket] ??= { records: 0, bytes: 0 });
    counts.records += 1;
    counts.bytes += length;
    cover(offset, length);
    if (report.span !== null && offset < report.span.end) report.ascending = false;
    const { offset: first, end } = report.span ?? { offset, end: 0 };
    report.span = { offset: Math.min(first, offset), end: Math.max(end, offset + length) };
  };
  const countZeros = (start: number, end: number, zero: boolean): void => {
    if (zero) report.zeroDataBytes += end - start;
  };
  try {
    for await (const record of stream.records) {
      if (signal?.aborted) throw interruption(signal);
      if (record.kind === 'zero') {
        begin(record.offset, record.length);
        report.zeros.records += 1;
        report.zeros.bytes += record.length;
        report.map?.addZero(record.offset, record.length);
      } else {
        if (!insideRecord) {
          begin(record.offset, record.data.length + record.remaining);
          report.writes.records += 1;
        }
        insideRecord = record.remaining > 0;
        report.writes.bytes += record.data.length;
        report.map?.addData(record.offset, record.data.length);
        zeroRuns(record.data, record.offset, zeroBlockBytes, countZeros);
      }
      onProgress?.(reader.position);
    }
    report.whole = true;
    return overlap;
  } finally {
    report.endByte = reader.position;
    report.lengths = Object.entries(lengths).map(([bucket, counts]) => ({ upTo: 2 ** Number(bucket), ...counts }));
  }
}

const zeroBlockBytes = 4096;
