// `repo cat`: the diff stream of a point as it was stored, or of several points as one diff.

import { mapOrdered } from '../bytes/ordered.ts';
import type { ByteSink } from '../bytes/sink.ts';
import { RbdeltaError } from '../error.ts';
import type { EdgeFrame, Frame } from '../format/archive-index.ts';
import { type ArchiveReader, openArchive } from '../repo/archive-reader.ts';
import { readManifest } from '../repo/catalog.ts';
import { chainDiff } from '../repo/chain-diff.ts';
import { loadChain } from '../repo/chain.ts';
import { chainIds, type FoundPoint } from '../repo/find-point.ts';
import { pointFolder, textOf } from '../repo/keys.ts';
import type { Repository } from '../repo/repository.ts';
import { startUnpacker } from '../repo/unpack.ts';
import { goneMeanwhile } from './repo-show.ts';
import { mostStreamBytes, writeDiff } from './write-diff.ts';

export interface CatOptions {
  signal?: AbortSignal;
  /** Bytes of the stream so far, and of the whole where that is known. */
  onProgress?: (doneBytes: number, totalBytes: number | null) => void;
}

export interface CatResult {
  streamBytes: number;
  dataBytes: number;
  zeroBytes: number;
  records: number;
}

/** Frames that are fetched and decompressed at the same time: up to 4 MiB each. */
const framesAtOnce = 8;

/**
 * The stream of the point, byte for byte what its segments decompress to; every frame is what its index says. The sink
 * is made when the index was read, finished, or aborted on any failure.
 */
export async function catPoint(
  repository: Repository,
  { image, entry }: Pick<FoundPoint, 'image' | 'entry'>,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: CatOptions = {},
): Promise<CatResult> {
  const { signal, onProgress } = options;
  const manifest = await readManifest(repository, image, entry.id);
  if (manifest === null) throw goneMeanwhile(image, entry.id);
  const unpacker = startUnpacker();
  try {
    const archive = openArchive(repository.store, pointFolder(image, entry.id), manifest, unpacker);
    const { bytes: totalBytes, dataBytes, zeroBytes, records } = manifest.stream;
    const frames = framesOf(archive, entry.id);
    // before there is a sink: a damaged index creates nothing
    const first = await frames.next();
    const sink = await openSink(totalBytes);
    let streamBytes = 0;
    try {
      const unpacked = mapOrdered(continued(first, frames), framesAtOnce, (frame) => archive.readFrame(frame));
      for await (const bytes of unpacked) {
        signal?.throwIfAborted();
        await sink.write([bytes]);
        streamBytes += bytes.length;
        onProgress?.(streamBytes, totalBytes);
      }
      if (streamBytes !== totalBytes) {
        const message = `the stream of ${entry.id} of ${textOf(image)} has ${streamBytes} bytes, ${totalBytes} by its manifest`;
        throw new RbdeltaError('corrupt', message, { hint: 'rbdelta repo check tells what else is damaged' });
      }
      await sink.finish();
    } catch (error) {
      await sink.abort();
      throw error;
    }
    return { streamBytes, dataBytes, zeroBytes, records };
  } finally {
    await unpacker.stop();
  }
}

/** From the state of `from` (null: from nothing) to that of the point, as one diff. `notFound` if it does not build on it. */
export async function catBetween(
  repository: Repository,
  { image, entry, points }: Pick<FoundPoint, 'image' | 'entry' | 'points'>,
  from: string | null,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: CatOptions = {},
): Promise<CatResult> {
  const { signal, onProgress } = options;
  const chain = await loadChain(repository, image, entry.id, { expected: chainIds(points, entry.id) });
  try {
    const stream = chainDiff(chain, from);
    const sink = counting(await openSink(mostStreamBytes(chain.size)), (bytes) => onProgress?.(bytes, null));
    return await writeDiff(stream, sink, { ...(signal && { signal }) });
  } finally {
    await chain.close();
  }
}

async function* framesOf(
  archive: ArchiveReader,
  point: string,
): AsyncGenerator<Frame | EdgeFrame, undefined, undefined> {
  const index = await archive.index();
  const { header, end, pages } = index.directory;
  if (header === null || end === null) {
    throw new RbdeltaError('corrupt', `the index of ${point} tells of no ${header === null ? 'header' : 'end'} frame`);
  }
  yield header;
  for (let i = 0; i < pages.length; i++) yield* await index.page(i);
  yield end;
}

async function* continued<T>(first: IteratorResult<T>, rest: AsyncGenerator<T>): AsyncGenerator<T> {
  if (first.done) return;
  yield first.value;
  yield* rest;
}

function counting(sink: ByteSink, onBytes: (bytes: number) => void): ByteSink {
  let total = 0;
  return {
    ...sink,
    async write(chunks) {
      await sink.write(chunks);
      for (const { length } of chunks) total += length;
      onBytes(total);
    },
  };
}
