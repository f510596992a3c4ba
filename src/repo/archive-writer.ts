// The archive of a point: frames into segments, and where they lie into the index. Spec: formats/archive/spec.md

import { createHash } from 'node:crypto';
import { RbdeltaError } from '../error.ts';
import {
  addSums,
  type EdgeFrame,
  encodeDirectory,
  encodeTrailer,
  type Frame,
  type IndexDirectory,
  indexMagic,
  limits,
  type PageEntry,
} from '../format/archive-index.ts';
import { zeroSum } from '../format/fingerprint.ts';
import type { Manifest } from '../format/manifest.ts';
import { type DiffHeader, type DiffRecord, encodeDiff } from '../format/rbd-diff.ts';
import type { CopiedRange, Store } from '../store/port.ts';
import type { PackedFrame } from './packer.ts';
import { type Compress, PageList, type StoredPage } from './page-list.ts';
import { PieceQueue } from './piece-queue.ts';
import {
  type FinishedSegment,
  findSegments,
  segmentName,
  sidecarName,
  type StreamCounts,
} from './finished-segments.ts';

export const segmentBytes = 128 << 20;
export const indexName = 'index';

/** A frame of another point, or of another archive of this one: its bytes are taken as they are. */
export interface CopiedFrame {
  copy: CopiedRange;
  /** As the other index has it; where it lies is put right. */
  frame: Frame;
  /** 32 bytes: what it adds to the fingerprint; nothing if absent. */
  sum?: Uint8Array;
}

export interface ArchiveWriterOptions {
  /** `Packer.compress` */
  compress: Compress;
  /** A segment ends with the frame that makes it so long. */
  segmentBytes?: number;
  signal?: AbortSignal | undefined;
}

/** What the manifest tells of the archive. */
export interface WrittenArchive {
  segments: Manifest['segments'];
  index: Manifest['index'];
  stream: Manifest['stream'];
  /** 32 bytes: what the frames add to the fingerprint of the base. */
  sum: Uint8Array;
  /** Of segments and index. */
  storedBytes: number;
}

/** Up to where an archive is there already. */
export interface Resumed {
  /** All blocks below this offset have been looked at. */
  reached: number;
  /** What the frames up to there add to the fingerprint. */
  sum: Uint8Array;
  /** Bytes of the segments that need not be sent again. */
  storedBytes: number;
}

/** A segment's pages may take so much memory until it is finished. A segment that needs more (zeros, text) ends there. */
const segmentPageBytes = 16 << 20;
/** The longest range in one piece: some parts of an upload. */
const rangeBytes = 64 << 20;

/** The segment that is being written. */
interface Segment extends StreamCounts {
  number: number;
  bytes: number;
  frames: number;
  header: EdgeFrame | null;
  end: EdgeFrame | null;
  pages: PageList;
  queue: PieceQueue;
  /** Ranges that continue each other are one piece. */
  range: CopiedRange | null;
  written: Promise<void>;
}

/**
 * `resume`, then any number of `append`, then `finish`; calls do not overlap. After any failure, `abort`. A crash, or
 * `abort`, leaves whole segments behind, and the indexes of those which the next `resume` finds and continues.
 */
export class ArchiveWriter {
  readonly #store: Store;
  readonly #folder: string;
  readonly #header: DiffHeader;
  readonly #options: ArchiveWriterOptions;
  readonly #finished: FinishedSegment[] = [];
  #segment: Segment | null = null;
  #reached = 0;
  #sum = zeroSum();
  /** The segment before this one becomes durable, and gets its index, while this one is written. */
  #settling: Promise<void> = Promise.resolve();
  #failure: { error: unknown } | null = null;

  /** `folder` ends with `/`. `header` is that of the stream. */
  constructor(store: Store, folder: string, header: DiffHeader, options: ArchiveWriterOptions) {
    this.#store = store;
    this.#folder = folder;
    this.#header = header;
    this.#options = options;
  }

  /**
   * Finds the segments that an earlier writer of the same point finished, and goes on behind them. Whatever else of
   * segments is in the folder is removed: it would become part of the stream.
   */
  async resume(): Promise<Resumed> {
    const { compress } = this.#options;
    const header = await compress((await encodeEdges(this.#header)).header);
    const { segments, others } = await findSegments(this.#store, this.#folder, header.hash);
    await this.#store.remove(others);
    this.#finished.push(...segments);
    const last = segments.at(-1);
    this.#reached = last?.reached ?? 0;
    this.#sum = last?.sum ?? zeroSum();
    const storedBytes = this.#finished.reduce((sum, { bytes }) => sum + bytes, 0);
    return { reached: this.#reached, sum: this.#sum, storedBytes };
  }

  /**
   * `reached` is where the task of the frame ends: the next one begins there or later. Resolves when there is room for
   * another frame; rejects with what failed in the store, perhaps an earlier frame.
   */
  async append(piece: PackedFrame | CopiedFrame, reached: number): Promise<void> {
    this.#check();
    if ('copy' in piece || piece.bytes !== null) await this.#appendFrame(piece);
    // Only now: a segment that ended before this frame must not tell of it.
    if (piece.sum !== undefined) this.#sum = addSums(this.#sum, piece.sum);
    this.#reached = Math.max(this.#reached, reached);
    await this.#cutIfFull();
  }

  /** Makes all durable: with the manifest that names it, it is a point. `size` is that of the image. */
  async finish(size: number): Promise<WrittenArchive> {
    this.#check();
    try {
      return await this.#finish(size);
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /** Once the manifest is there: the indexes of single segments are of no use any more. */
  async removeSidecars(): Promise<void> {
    await this.#store.remove(this.#finished.map(({ number }) => this.#folder + sidecarName(number)));
  }

  /** Ends what is under way; never throws. Segments that are finished stay, for `resume`. */
  async abort(): Promise<void> {
    this.#fail(new RbdeltaError('interrupted', 'interrupted'));
    await Promise.allSettled([this.#segment?.written, this.#settling]);
  }

  #check(): void {
    if (this.#failure !== null) throw this.#failure.error;
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#segment?.queue.fail(this.#failure.error);
  }

  /** The segment that frames go into; it begins with the header if it is the first. */
  async #open(): Promise<Segment> {
    if (this.#segment !== null) return this.#segment;
    const number = this.#finished.length;
    if (number >= limits.segments) {
      throw new RbdeltaError('tooLarge', `${this.#store.nameOf(this.#folder)} would need more than ${number} segments`);
    }
    const queue = new PieceQueue();
    const { compress, signal } = this.#options;
    const most = this.#segmentBytes + (5 << 20);
    const written = this.#store.write(this.#folder + segmentName(number), queue, { maxBytes: most, signal });
    const segment: Segment = {
      number,
      bytes: 0,
      frames: 0,
      records: 0,
      dataBytes: 0,
      zeroBytes: 0,
      streamBytes: 0,
      header: null,
      end: null,
      range: null,
      queue,
      pages: new PageList(compress),
      written: written.then(() => undefined),
    };
    this.#segment = segment;
    // Whoever appends is told, waiting or at the next call.
    segment.written.catch((error: unknown) => {
      this.#fail(error);
      queue.fail(error);
    });
    if (number === 0) await this.#appendEdge('header');
    return segment;
  }

  get #segmentBytes(): number {
    return this.#options.segmentBytes ?? segmentBytes;
  }

  async #appendEdge(which: 'header' | 'end'): Promise<EdgeFrame> {
    const raw = (await encodeEdges(this.#header))[which];
    const segment = await this.#open();
    const { bytes, hash } = await this.#options.compress(raw);
    const frame = { segment: segment.number, offset: segment.bytes, bytes: bytes.length, rawBytes: raw.length, hash };
    segment[which] = frame;
    await this.#push(segment, bytes, raw.length);
    return frame;
  }

  async #finish(size: number): Promise<WrittenArchive> {
    const end = await this.#appendEdge('end');
    const last = this.#segment!;
    await this.#settling;
    await this.#endOf(last);
    this.#segment = null;
    const pages = await last.pages.finish();
    const counts = [...this.#finished, last];
    const total = (of: (segment: FinishedSegment | Segment) => number): number =>
      counts.reduce((sum, s) => sum + of(s), 0);
    const entries = placed([
      ...this.#finished.flatMap((segment) => segment.entries),
      ...pages.map(({ entry }) => entry),
    ]);
    const directory: IndexDirectory = {
      reached: size,
      sum: this.#sum,
      records: total((segment) => segment.records),
      dataBytes: total((segment) => segment.dataBytes),
      zeroBytes: total((segment) => segment.zeroBytes),
      streamBytes: total((segment) => segment.streamBytes),
      header: (this.#finished[0] ?? last).header,
      end,
      pages: entries,
    };
    const copies = this.#finished
      .map(({ number, entries }) => ({
        key: this.#folder + sidecarName(number),
        offset: indexMagic.length,
        length: entries.reduce((sum, entry) => sum + entry.bytes, 0),
      }))
      .filter(({ length }) => length > 0);
    const { bytes, directoryBytes, directorySha256 } = await this.#writeIndex(indexName, copies, pages, directory);
    const { records, dataBytes, zeroBytes, streamBytes } = directory;
    return {
      segments: counts.map(({ number, bytes, frames }) => ({
        name: segmentName(number),
        bytes,
        frames,
        wrap: 'plain',
      })),
      index: { name: indexName, bytes, directoryBytes, directorySha256, wrap: 'plain' },
      stream: { bytes: streamBytes, records, dataBytes, zeroBytes },
      sum: this.#sum,
      storedBytes: total((segment) => segment.bytes) + bytes,
    };
  }

  async #appendFrame(piece: PackedFrame | CopiedFrame): Promise<void> {
    const segment = await this.#open();
    const content = 'copy' in piece ? piece.copy : piece.bytes!;
    const { rawBytes, hash, records, runs, digests } = 'copy' in piece ? piece.frame : piece;
    const place = { segment: segment.number, offset: segment.bytes, bytes: content.length };
    segment.pages.add({ ...place, rawBytes, hash, records, runs, digests });
    for (let i = 1; i < records.length; i += 2) {
      segment.dataBytes += Math.max(0, records[i]!);
      segment.zeroBytes += Math.max(0, -records[i]!);
    }
    segment.records += records.length / 2;
    await this.#push(segment, content, rawBytes);
  }

  async #push(segment: Segment, piece: Uint8Array | CopiedRange, rawBytes: number): Promise<void> {
    segment.bytes += piece.length;
    segment.streamBytes += rawBytes;
    segment.frames += 1;
    const { range } = segment;
    if (!(piece instanceof Uint8Array)) {
      const continues = range !== null && range.key === piece.key && range.offset + range.length === piece.offset;
      if (continues && range.length + piece.length <= rangeBytes) {
        range.length += piece.length;
        return;
      }
      segment.range = { ...piece };
    } else {
      segment.range = null;
    }
    if (range !== null) await segment.queue.push(range);
    if (piece instanceof Uint8Array) await segment.queue.push(piece);
  }

  async #cutIfFull(): Promise<void> {
    const segment = this.#segment;
    if (segment === null) return;
    if (segment.bytes < this.#segmentBytes && segment.pages.rawBytes < segmentPageBytes) return;
    const [reached, sum] = [this.#reached, this.#sum];
    await this.#settling;
    this.#check();
    this.#segment = null;
    const { number, bytes, frames, header, records, dataBytes, zeroBytes, streamBytes } = segment;
    const counts = { records, dataBytes, zeroBytes, streamBytes };
    const finished: FinishedSegment = { number, bytes, frames, header, entries: [], reached, sum, ...counts };
    this.#finished.push(finished);
    const settle = async (): Promise<void> => {
      await this.#endOf(segment);
      const pages = await segment.pages.finish();
      finished.entries = placed(pages.map(({ entry }) => entry));
      const directory = { reached, sum, header, end: null, pages: finished.entries, ...counts };
      await this.#writeIndex(sidecarName(number), [], pages, directory);
    };
    this.#settling = settle();
    this.#settling.catch((error: unknown) => this.#fail(error));
  }

  /** Resolves when the segment is durable. */
  async #endOf(segment: Segment): Promise<void> {
    if (segment.range !== null) await segment.queue.push(segment.range);
    segment.queue.end();
    await segment.written;
  }

  async #writeIndex(
    name: string,
    copies: CopiedRange[],
    pages: StoredPage[],
    directory: IndexDirectory,
  ): Promise<{ bytes: number; directoryBytes: number; directorySha256: string }> {
    const encoded = encodeDirectory(directory);
    const trailer = encodeTrailer(encoded.length);
    const pieces = [indexMagic, ...copies, ...pages.map((page) => page.bytes), encoded, trailer];
    const bytes = pieces.reduce((sum, piece) => sum + piece.length, 0);
    await this.#store.write(this.#folder + name, pieces, { maxBytes: bytes, signal: this.#options.signal });
    const directorySha256 = createHash('sha256').update(encoded).digest('hex');
    return { bytes, directoryBytes: encoded.length, directorySha256 };
  }
}

/** The stream without its records: what stands before and behind them. */
const encodeEdges = async (header: DiffHeader): Promise<Record<'header' | 'end', Buffer>> => {
  const chunks: Buffer[] = [];
  for await (const parts of encodeDiff({ header, records: none() })) chunks.push(Buffer.concat(parts));
  return { header: chunks[0]!, end: chunks[1]! };
};

async function* none(): AsyncGenerator<DiffRecord, void, undefined> {}

/** The entries of pages that stand one behind the other. */
const placed = (entries: readonly PageEntry[]): PageEntry[] => {
  let position = indexMagic.length;
  return entries.map((entry) => {
    const at = position;
    position += entry.bytes;
    return { ...entry, position: at };
  });
};
