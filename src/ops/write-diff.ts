// A diff stream into a sink: whole and durable, or not at all; counted on the way.

import type { ByteSink } from '../bytes/sink.ts';
import { type DiffRecord, type DiffStream, encodeDiff } from '../format/rbd-diff.ts';

export interface WrittenDiff {
  records: number;
  /** Bytes of payload, and bytes that the stream says are zero. */
  dataBytes: number;
  zeroBytes: number;
  /** Length of the stream. */
  streamBytes: number;
}

/**
 * Writes the stream and finishes the sink; aborts it on any failure. `beforeEnd` runs when the last record is written,
 * and before the end record is: what it throws keeps the stream from looking whole.
 */
export const writeDiff = async (
  stream: DiffStream,
  sink: ByteSink,
  options: { version?: 1 | 2; signal?: AbortSignal; beforeEnd?: () => Promise<void> },
): Promise<WrittenDiff> => {
  const written: WrittenDiff = { records: 0, dataBytes: 0, zeroBytes: 0, streamBytes: 0 };
  const { version = 1, signal, beforeEnd } = options;
  const records = counted(stream.records, written, beforeEnd);
  try {
    for await (const chunks of encodeDiff({ header: stream.header, records }, { version })) {
      signal?.throwIfAborted();
      for (const chunk of chunks) written.streamBytes += chunk.length;
      await sink.write(chunks);
    }
    signal?.throwIfAborted();
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
  return written;
};

/** The most bytes that a diff of `dataBytes` of an image takes: every second block of 4 KiB a record of its own. */
export const mostStreamBytes = (dataBytes: number): number =>
  2 * 4096 + 1024 + dataBytes + Math.ceil(dataBytes / 4096) * 25;

async function* counted(
  records: AsyncIterable<DiffRecord>,
  written: WrittenDiff,
  beforeEnd: (() => Promise<void>) | undefined,
): AsyncGenerator<DiffRecord, void, undefined> {
  for await (const record of records) {
    if (record.kind === 'write') {
      written.dataBytes += record.data.length;
      if (record.remaining === 0) written.records += 1;
    } else {
      written.zeroBytes += record.length;
      written.records += 1;
    }
    yield record;
  }
  await beforeEnd?.();
}
