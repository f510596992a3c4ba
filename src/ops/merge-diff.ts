// merge-diff: any number of diff streams become one, in one pass.

import { ByteReader } from '../bytes/reader.ts';
import type { ByteSink } from '../bytes/sink.ts';
import type { ByteSource } from '../bytes/source.ts';
import { followsOn, mergeDiffs } from '../diff/merge.ts';
import { type DiffRecord, diffFollows, type DiffStream, limits, openDiff } from '../format/rbd-diff.ts';
import { mostStreamBytes, type WrittenDiff, writeDiff } from './write-diff.ts';

export interface MergeInput {
  /** As the user wrote it: what messages call a source that has no name of its own. */
  name: string;
  open: () => Promise<ByteSource>;
}

export interface MergeDiffOptions {
  version?: 1 | 2;
  /** In bytes of the image at the end. */
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal;
}

export type MergeDiffResult = WrittenDiff;

/** What all inputs together may hold in memory. */
const heldBytes = 32 << 20;

/**
 * Inputs oldest first. Opens all of them and checks their headers before `openSink` is called with the most bytes the
 * stream may have. The sink is finished, or aborted on any failure. Throws what `mergeDiffs` does; 'corrupt' for an
 * input that is empty, truncated or damaged, 'invalid' for one that goes on after its end record.
 */
export const mergeDiff = async (
  inputs: readonly MergeInput[],
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: MergeDiffOptions = {},
): Promise<MergeDiffResult> => {
  const readers: ByteReader[] = [];
  const { onProgress, ...writing } = options;
  try {
    const streams: DiffStream[] = [];
    for (const { name, open } of inputs) {
      const source = await open();
      const reader = new ByteReader(source, source.name ?? `"${name}"`);
      readers.push(reader);
      streams.push(await opened(reader, Math.ceil(heldBytes / inputs.length)));
    }
    await refuseChains(readers, streams);
    const names = readers.map(({ name }) => name ?? '');
    const merged = mergeDiffs(streams, names);
    // rbd refuses the record in version 1
    const header = options.version === 2 ? merged.header : { ...merged.header, protected: null };
    const size = merged.header.size ?? 0;
    const records = onProgress ? watched(merged.records, size, onProgress) : merged.records;
    const beforeEnd = () => allAtEnd(readers);
    const sink = await openSink(mostStreamBytes(size));
    return await writeDiff({ header, records }, sink, { ...writing, beforeEnd });
  } finally {
    for (const reader of readers) await reader.close();
  }
};

const opened = async (reader: ByteReader, bytes: number): Promise<DiffStream> => {
  const pieceBytes = Math.min(limits.pieceBytes, Math.max(64 << 10, bytes));
  // the merge says itself what is wrong with the order: rbd has another status for it than for damage
  const stream = await openDiff(reader, { order: 'any', pieceBytes });
  if (stream !== null) return stream;
  throw reader.failure('corrupt', 'it is empty, and should be an rbd diff', {
    hint: 'what wrote it failed, or has not written yet: make it again',
  });
};

/** rbd passes over what follows; but it is changes that somebody will miss. */
const allAtEnd = async (readers: readonly ByteReader[]): Promise<void> => {
  for (const reader of readers) await refuseChain(reader);
};

const refuseChain = async (reader: ByteReader): Promise<void> => {
  if (!(await diffFollows(reader))) return;
  const message = `another diff follows at byte ${reader.position}: a merge takes one diff of each input`;
  throw reader.failure('invalid', message, { hint: 'import-diff applies several diffs in one stream in turn' });
};

/**
 * A diff that does not start where the one before it ends may follow well on the last of several diffs in that input:
 * then this is what is wrong. Looks for their beginning, as far as nobody minds to wait for a failure.
 */
const refuseChains = async (readers: readonly ByteReader[], streams: readonly DiffStream[]): Promise<void> => {
  for (const [i, stream] of streams.entries()) {
    const next = streams[i + 1];
    if (next === undefined || followsOn(stream.header, next.header)) continue;
    const reader = readers[i]!;
    for await (const _record of stream.records) if (reader.position > lookBytes) return;
    return refuseChain(reader);
  }
};

const lookBytes = 256 << 20;

async function* watched(
  records: AsyncIterable<DiffRecord>,
  totalBytes: number,
  onProgress: NonNullable<MergeDiffOptions['onProgress']>,
): AsyncGenerator<DiffRecord, void, undefined> {
  for await (const record of records) {
    yield record;
    onProgress({ doneBytes: record.offset, totalBytes });
  }
  onProgress({ doneBytes: totalBytes, totalBytes });
}
