// The segments of a point that is being written: their names, and which ones an earlier writer finished.

import { RbdeltaError } from '../error.ts';
import {
  decodeDirectory,
  decodeTrailer,
  type EdgeFrame,
  type IndexDirectory,
  indexMagic,
  type PageEntry,
  trailerBytes,
} from '../format/archive-index.ts';
import type { Store } from '../store/port.ts';

export const segmentName = (segment: number): string => `${numbered(segment)}.rbdiff.zst`;
/** The index of one finished segment, there only while the point is being written. */
export const sidecarName = (segment: number): string => `${numbered(segment)}.index`;

const numbered = (segment: number): string => String(segment).padStart(6, '0');
const writersName = /^\d{6}\.(?:rbdiff\.zst|index)$/;

/** What a segment holds of the stream. */
export interface StreamCounts {
  records: number;
  dataBytes: number;
  zeroBytes: number;
  streamBytes: number;
}

export interface FinishedSegment extends StreamCounts {
  number: number;
  bytes: number;
  /** Header and end as well. */
  frames: number;
  header: EdgeFrame | null;
  /** Of the pages in the segment's own index. */
  entries: PageEntry[];
  /** All blocks below this offset are in this segment, in those before it, or need not be. */
  reached: number;
  /** What the frames of all segments up to this one add to the fingerprint. */
  sum: Uint8Array;
}

/**
 * The first segments, as many as are there with an index of their own, if the stream's header frame has this hash; and
 * the keys of all else in the folder that belongs to segments.
 */
export const findSegments = async (
  store: Store,
  folder: string,
  headerHash: Uint8Array,
): Promise<{ segments: FinishedSegment[]; others: string[] }> => {
  const found = new Map<string, number>();
  for await (const { key, bytes } of store.list(folder)) {
    const name = key.slice(folder.length);
    if (writersName.test(name)) found.set(name, bytes);
  }
  const segments: FinishedSegment[] = [];
  for (let number = 0; ; number++) {
    const bytes = found.get(segmentName(number));
    const sidecarBytes = found.get(sidecarName(number));
    if (bytes === undefined || sidecarBytes === undefined) break;
    const directory = await readDirectory(store, folder + sidecarName(number), sidecarBytes);
    if (directory === null || directory.reached < (segments.at(-1)?.reached ?? 0)) break;
    const { header, pages: entries, reached, sum, records, dataBytes, zeroBytes, streamBytes } = directory;
    if (number === 0 && (header === null || Buffer.compare(header.hash, headerHash) !== 0)) break;
    const frames = entries.reduce((count, page) => count + page.frames, header === null ? 0 : 1);
    const counts = { records, dataBytes, zeroBytes, streamBytes };
    segments.push({ number, bytes, frames, header, entries, reached, sum, ...counts });
    found.delete(segmentName(number));
    found.delete(sidecarName(number));
  }
  return { segments, others: [...found.keys()].map((name) => folder + name) };
};

/** null for an index that is damaged: its segment is sent again. */
const readDirectory = async (store: Store, key: string, bytes: number): Promise<IndexDirectory | null> => {
  const end = bytes - trailerBytes;
  if (end < indexMagic.length) return null;
  try {
    const trailer = Buffer.alloc(trailerBytes);
    await store.read(key, end, trailer);
    const length = decodeTrailer(trailer, store.nameOf(key));
    if (indexMagic.length + length > end) return null;
    const directory = Buffer.alloc(length);
    await store.read(key, end - length, directory);
    const decoded = decodeDirectory(directory, store.nameOf(key));
    const pages = decoded.pages.reduce((sum, page) => sum + page.bytes, 0);
    return indexMagic.length + pages + length === end ? decoded : null;
  } catch (error) {
    if (error instanceof RbdeltaError && (error.code === 'corrupt' || error.code === 'unsupported')) return null;
    throw error;
  }
};
