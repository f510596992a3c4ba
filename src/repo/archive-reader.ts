// Reads the archive of one point: the pages of its index, and its frames. Spec: formats/archive/spec.md

import { RbdeltaError } from '../error.ts';
import {
  decodeDirectory,
  decodePage,
  decodeTrailer,
  digestsOf,
  type EdgeFrame,
  type Frame,
  hullOf,
  type IndexDirectory,
  indexMagic,
  limits,
  trailerBytes,
} from '../format/archive-index.ts';
import type { Manifest } from '../format/manifest.ts';
import type { Store } from '../store/port.ts';
import { checkHint, scrubHint, type Unpacker } from './unpack.ts';

/** The index of a point: the directory is in memory, pages are fetched. */
export interface IndexReader {
  readonly directory: IndexDirectory;
  /** The frames of a page, which are what the directory says of it; hashes and digests are views of one memory. */
  page(index: number): Promise<Frame[]>;
  /** The pages whose hulls meet the range (bytes of the image): the first of them, and the first behind them. */
  pagesIn(start: number, end: number): [number, number];
}

export interface ArchiveReader {
  /** Read when it is first asked for. */
  index(): Promise<IndexReader>;
  /**
   * A frame, decompressed: at the beginning of `into` (moved; use the result's `buffer` afterwards) if that is given and
   * long enough, else in memory of its own. Its hash, checksum and size are right, and its records are those of the index.
   */
  readFrame(frame: Frame | EdgeFrame, into?: ArrayBuffer): Promise<Uint8Array<ArrayBuffer>>;
}

/** What a reader needs of a store. */
export type ReadStore = Pick<Store, 'nameOf' | 'read' | 'stat'>;

/** What the manifest says of the files. */
export type ArchiveFiles = Pick<Manifest, 'segments' | 'index'>;

/** An index up to this size is fetched at once, and held: most increments have a smaller one. */
const heldBytes = 32 << 10;

/** `folder` is that of the point, and ends with `/`. Nothing is read yet. */
export function openArchive(store: ReadStore, folder: string, files: ArchiveFiles, unpacker: Unpacker): ArchiveReader {
  let index: Promise<IndexReader> | null = null;
  return {
    index() {
      index ??= openIndex(store, folder, files.index, unpacker).catch((error: unknown) => {
        // the next one who asks may find a network that works again
        index = null;
        throw error;
      });
      return index;
    },
    async readFrame(frame, into) {
      const segment = files.segments[frame.segment];
      if (segment === undefined || frame.offset + frame.bytes > segment.bytes) {
        const where = `${frame.offset}~${frame.bytes} of segment ${frame.segment}`;
        const has = segment === undefined ? `${files.segments.length} segments` : `${segment.bytes} bytes in it`;
        throw damaged(store.nameOf(folder + files.index.name), `it tells of a frame at ${where}; there are ${has}`);
      }
      if (frame.bytes > limits.frameBytes || frame.rawBytes > limits.frameRawBytes) {
        throw damaged(
          store.nameOf(folder + files.index.name),
          `a frame of ${frame.bytes} bytes, ${frame.rawBytes} raw`,
        );
      }
      const key = folder + segment.name;
      const stored = new ArrayBuffer(frame.bytes);
      await store.read(key, frame.offset, new Uint8Array(stored));
      const name = `the frame ${frame.offset}~${frame.bytes} of ${store.nameOf(key)}`;
      const records = 'records' in frame ? frame.records : null;
      const { bytes, hash, rawBytes } = frame;
      const fits = into !== undefined && into.byteLength >= rawBytes ? into : undefined;
      return unpacker.unpack({ stored, start: 0, bytes, hash, rawBytes, records, name }, fits);
    },
  };
}

/** Reads the directory, which must be the one that the manifest means. */
export async function openIndex(
  store: ReadStore,
  folder: string,
  file: Manifest['index'],
  unpacker: Unpacker,
): Promise<IndexReader> {
  const key = folder + file.name;
  const name = store.nameOf(key);
  const tailBytes = file.directoryBytes + trailerBytes;
  if (file.bytes < indexMagic.length + tailBytes) {
    throw damaged(name, `it has ${file.bytes} bytes, its directory alone would have ${file.directoryBytes}`);
  }
  // Where `tail` begins in the file. Its length is not from outside alone: the store must have as many bytes.
  const from = file.bytes <= heldBytes ? 0 : file.bytes - tailBytes;
  if (from > 0) await expectBytes(store, key, file.bytes);
  const memory = new ArrayBuffer(file.bytes - from);
  await store.read(key, from, new Uint8Array(memory));
  const start = file.bytes - from - tailBytes;
  const checked = await unpacker.check({
    stored: memory,
    start,
    bytes: file.directoryBytes,
    hash: Buffer.from(file.directorySha256, 'hex'),
    name: `the directory of ${name}`,
  });
  const tail = Buffer.from(checked);
  const said = decodeTrailer(tail.subarray(tail.length - trailerBytes), name);
  if (said !== file.directoryBytes) {
    throw damaged(name, `its directory has ${said} bytes, ${file.directoryBytes} by the manifest`);
  }
  const directory = decodeDirectory(tail.subarray(start, start + file.directoryBytes), name);
  const { pages } = directory;
  const last = pages.at(-1);
  const pagesEnd = last === undefined ? indexMagic.length : last.position + last.bytes;
  if (pagesEnd !== file.bytes - tailBytes) {
    throw damaged(name, `its pages end at byte ${pagesEnd}, its directory begins at ${file.bytes - tailBytes}`);
  }

  return {
    directory,
    async page(index) {
      const page = pages[index];
      if (page === undefined) throw new RangeError(`${name} has ${pages.length} pages, not ${index}`);
      const { position, bytes, rawBytes, hash } = page;
      const stored = new ArrayBuffer(bytes);
      if (from === 0) new Uint8Array(stored).set(tail.subarray(position, position + bytes));
      else await store.read(key, position, new Uint8Array(stored));
      const pageName = `page ${index} of ${name}`;
      const raw = await unpacker.unpack({ stored, start: 0, bytes, hash, rawBytes, records: null, name: pageName });
      const frames = decodePage(raw, pageName);
      checkPage(frames, page, pageName);
      return frames;
    },
    pagesIn: (start, end) => [
      firstIndex(pages.length, (i) => pages[i]!.end > start),
      firstIndex(pages.length, (i) => pages[i]!.start >= end),
    ],
  };
}

/** A directory's length comes from a manifest: before so much memory is taken, the file must be there and as long. */
async function expectBytes(store: ReadStore, key: string, bytes: number): Promise<void> {
  const found = await store.stat(key);
  if (found === null) throw new RbdeltaError('notFound', `${store.nameOf(key)} is not there`, { hint: checkHint });
  if (found.bytes === bytes) return;
  throw damaged(store.nameOf(key), `it has ${found.bytes} bytes, ${bytes} by the manifest`);
}

/** A page and its entry in the directory tell the same: who trusts the one has not been shown another. */
function checkPage(frames: readonly Frame[], page: IndexDirectory['pages'][number], name: string): void {
  let digests = 0;
  for (const { runs } of frames) digests += digestsOf(runs);
  const start = frames[0] === undefined ? 0 : hullOf(frames[0]).start;
  const lastFrame = frames.at(-1);
  const end = lastFrame === undefined ? 0 : hullOf(lastFrame).end;
  if (frames.length === page.frames && digests === page.digests && start === page.start && end === page.end) return;
  const found = `${frames.length} frames from ${start} to ${end} with ${digests} digests`;
  const expected = `${page.frames} from ${page.start} to ${page.end} with ${page.digests}`;
  throw damaged(name, `it has ${found}; the directory tells ${expected}`);
}

const damaged = (name: string, how: string): RbdeltaError =>
  new RbdeltaError('corrupt', `${name} is damaged: ${how}`, { hint: scrubHint });

/** The first number below `count` that `is` holds for; it holds for all behind it. `count` if there is none. */
function firstIndex(count: number, is: (index: number) => boolean): number {
  let low = 0;
  let high = count;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (is(middle)) high = middle;
    else low = middle + 1;
  }
  return low;
}
