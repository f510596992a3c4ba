// `repo cat`: the diff stream of a point as it was stored, or of several points as one diff.

import { mapOrdered } from '../bytes/ordered.ts';
import type { ByteSink } from '../bytes/sink.ts';
import { RbdeltaError } from '../error.ts';
import type { EdgeFrame, Frame } from '../format/archive-index.ts';
import type { Manifest } from '../format/manifest.ts';
import { type ArchiveReader, openArchive } from '../repo/archive-reader.ts';
import { readManifest } from '../repo/catalog.ts';
import { chainDiff } from '../repo/chain-diff.ts';
import { chainIds, type FoundPoint } from '../repo/find-point.ts';
import { type ImageName, pointFolder, textOf } from '../repo/keys.ts';
import type { ReadPoints } from '../repo/outdated.ts';
import type { Repository } from '../repo/repository.ts';
import { scrubHint, startUnpacker } from '../repo/unpack.ts';
import { goneMeanwhile } from './repo-show.ts';
import { canBeRepeated, orRewritten, withRewrites, withSteadyChain } from './restore-again.ts';
import { mostStreamBytes, writeDiff } from './write-diff.ts';

export interface CatOptions {
  signal?: AbortSignal;
  /** Bytes of the stream so far, and of the whole where that is known. */
  onProgress?: (doneBytes: number, totalBytes: number | null) => void;
  onNotice?: (text: string) => void;
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
 * is made when the index was read, finished, or aborted on any failure. `busy` if the point was rewritten meanwhile: begun
 * again by itself, unless the sink has got something by then.
 */
export const catPoint = (
  repository: Repository,
  { image, entry }: Pick<FoundPoint, 'image' | 'entry'>,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: CatOptions = {},
): Promise<CatResult> =>
  withRewrites(
    async () => {
      const manifest = await readManifest(repository, image, entry.id);
      if (manifest === null) throw goneMeanwhile(image, entry.id);
      const unpacker = startUnpacker();
      try {
        const archive = openArchive(repository.store, pointFolder(image, entry.id), manifest, unpacker);
        const frames = framesOf(archive, entry.id);
        const points = [{ id: entry.id, manifest }];
        return await told({ repository, image, points }, options, async (atSink) => {
          // before there is a sink: a damaged index creates nothing
          const first = await frames.next();
          const sink = await atSink(() => openSink(manifest.stream.bytes));
          return writeFrames(archive, continued(first, frames), sink, { image, manifest }, options);
        });
      } finally {
        await unpacker.stop();
      }
    },
    options.onNotice ?? (() => {}),
  );

/** From the state of `from` (null: from nothing) to that of the point, as one diff. `notFound` if it does not build on it. */
export const catBetween = (
  repository: Repository,
  { image, entry, points }: Pick<FoundPoint, 'image' | 'entry' | 'points'>,
  from: string | null,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: CatOptions = {},
): Promise<CatResult> => {
  const { signal, onProgress, onNotice = () => {} } = options;
  const of = { image, point: entry.id, expected: chainIds(points, entry.id) };
  return withSteadyChain(
    repository,
    of,
    (chain) =>
      told(chain, options, async (atSink) => {
        const { header, records: all } = chainDiff(chain, from);
        const records = all[Symbol.asyncIterator]();
        const first = await records.next();
        const sink = await atSink(() => openSink(mostStreamBytes(chain.size)));
        const stream = { header, records: continued(first, records) };
        return writeDiff(
          stream,
          counting(sink, (bytes) => onProgress?.(bytes, null)),
          { ...(signal && { signal }) },
        );
      }),
    onNotice,
  );
};

/** A failure, told of as what it is; what fails before the sink is open can be begun again. */
async function told<T>(
  points: ReadPoints,
  { signal }: CatOptions,
  use: (atSink: (open: () => Promise<ByteSink>) => Promise<ByteSink>) => Promise<T>,
): Promise<T> {
  let isOpen = false;
  try {
    return await use(async (open) => {
      const sink = await open();
      isOpen = true;
      return sink;
    });
  } catch (error) {
    const failure = await orRewritten(error, points, signal);
    throw isOpen ? failure : canBeRepeated(failure);
  }
}

async function writeFrames(
  archive: ArchiveReader,
  frames: AsyncGenerator<Frame | EdgeFrame, undefined>,
  sink: ByteSink,
  { image, manifest }: { image: ImageName; manifest: Manifest },
  { signal, onProgress }: CatOptions,
): Promise<CatResult> {
  const { bytes: totalBytes, dataBytes, zeroBytes, records } = manifest.stream;
  let streamBytes = 0;
  try {
    for await (const bytes of mapOrdered(frames, framesAtOnce, (frame) => archive.readFrame(frame))) {
      signal?.throwIfAborted();
      await sink.write([bytes]);
      streamBytes += bytes.length;
      onProgress?.(streamBytes, totalBytes);
    }
    if (streamBytes !== totalBytes) {
      const message = `the stream of ${manifest.point} of ${textOf(image)} has ${streamBytes} bytes, ${totalBytes} by its manifest`;
      throw new RbdeltaError('corrupt', message, { hint: scrubHint });
    }
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw error;
  }
  return { streamBytes, dataBytes, zeroBytes, records };
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

/** All of them, of which the first was taken already. */
async function* continued<T>(first: IteratorResult<T, unknown>, rest: AsyncIterator<T>): AsyncGenerator<T, undefined> {
  try {
    for (let next = first; next.done !== true; next = await rest.next()) yield next.value;
  } finally {
    await rest.return?.();
  }
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
