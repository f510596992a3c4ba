// The changes of an image into an archive: planned in whole blocks, read, packed on all cores, appended in order.

import { mapOrdered } from '../bytes/ordered.ts';
import type { Image } from '../image/port.ts';
import type { ArchiveWriter } from '../repo/archive-writer.ts';
import { blockBytes } from '../format/archive-index.ts';
import type { BlockSpans } from '../repo/block-spans.ts';
import type { StateCursor } from '../repo/overlay.ts';
import type { Packer, PackTask } from '../repo/packer.ts';

/** Reads of tasks under way at once: 4 MiB each where much has changed. */
const readsAhead = 4;
/** Buffers of this size are used again; smaller ones are made. */
const bufferBytes = 4 << 20;

export interface ArchiveJob {
  image: Pick<Image, 'read'>;
  /** What to look at; blocks rise. */
  spans: AsyncIterable<BlockSpans>;
  /** What the blocks were at the base; null: all were zero. */
  old: StateCursor | null;
  packer: Packer;
  writer: ArchiveWriter;
  trim: boolean;
  dropZeros: boolean;
  signal?: AbortSignal | undefined;
  /** After each task. */
  onProgress?: (at: ArchiveProgress) => void;
}

export interface ArchiveProgress {
  /** Where in the image the work has come to. */
  reached: number;
  /** Of the image. */
  bytesRead: number;
  /** Of data that is new. */
  bytesChanged: number;
  /** Of frames. */
  bytesStored: number;
}

/** Resolves to the bytes that were read of the image, when the last frame was appended. */
export async function archiveChanges(job: ArchiveJob): Promise<number> {
  const { packer, writer, signal, onProgress } = job;
  const spare: ArrayBuffer[] = [];
  const ends: { end: number; bytes: number }[] = [];
  let bytesRead = 0;
  let bytesChanged = 0;
  let bytesStored = 0;

  const read = async ({ plan, old }: Planned): Promise<PackTask> => {
    const { spans, bytes, changes } = plan;
    // Before anything is waited for: reads begin in order, and end in any.
    ends.push({ end: plan.end, bytes });
    const data = bytes * 4 < bufferBytes ? new ArrayBuffer(bytes) : (spare.pop() ?? new ArrayBuffer(bufferBytes));
    const reads: Promise<void>[] = [];
    for (let i = 0, at = 0; i < spans.length; i += 2) {
      const length = spans[i + 1]!;
      reads.push(job.image.read(spans[i]!, new Uint8Array(data, at, length)));
      at += length;
    }
    await settleAll(reads);
    return { data, spans, changes, old, trim: job.trim, dropZeros: job.dropZeros };
  };

  for await (const frame of packer.frames(mapOrdered(withOld(job), readsAhead, read))) {
    signal?.throwIfAborted();
    const { end, bytes } = ends.shift()!;
    if (frame.data.byteLength === bufferBytes) spare.push(frame.data);
    await writer.append(frame, end);
    bytesRead += bytes;
    bytesStored += frame.bytes?.length ?? 0;
    for (let i = 1; i < frame.records.length; i += 2) bytesChanged += Math.max(0, frame.records[i]!);
    onProgress?.({ reached: end, bytesRead, bytesChanged, bytesStored });
  }
  return bytesRead;
}

interface Planned {
  plan: BlockSpans;
  old: PackTask['old'];
}

async function* withOld({ spans, old, signal }: ArchiveJob): AsyncGenerator<Planned, void, undefined> {
  for await (const plan of spans) {
    signal?.throwIfAborted();
    yield { plan, old: old === null ? nothing : await oldOf(plan, old) };
  }
}

const nothing: PackTask['old'] = { blocks: new Float64Array(0), digests: new Uint8Array(0) };

/** What the touched blocks were; not what lies between them. */
async function oldOf(plan: BlockSpans, cursor: StateCursor): Promise<PackTask['old']> {
  const found: PackTask['old'][] = [];
  for (const { first, end } of touchedRuns(plan)) found.push(await cursor.old(first, end));
  if (found.length === 1) return found[0]!;
  const count = found.reduce((sum, { blocks }) => sum + blocks.length, 0);
  const joined = { blocks: new Float64Array(count), digests: new Uint8Array(count * 16) };
  let at = 0;
  for (const { blocks, digests } of found) {
    joined.blocks.set(blocks, at);
    joined.digests.set(digests, at * 16);
    at += blocks.length;
  }
  return joined;
}

/** Runs of blocks that the plan reads or calls zero, rising; runs that touch are one. */
function touchedRuns({ spans, changes }: BlockSpans): { first: number; end: number }[] {
  const ranges: [number, number][] = [];
  for (let i = 0; i < spans.length; i += 2) ranges.push([spans[i]!, spans[i]! + spans[i + 1]!]);
  for (let i = 0; i < changes.length; i += 2)
    if (changes[i + 1]! < 0) ranges.push([changes[i]!, changes[i]! - changes[i + 1]!]);
  ranges.sort((a, b) => a[0] - b[0]);
  const runs: { first: number; end: number }[] = [];
  for (const [start, stop] of ranges) {
    const first = Math.floor(start / blockBytes);
    const end = Math.ceil(stop / blockBytes);
    const last = runs.at(-1);
    if (last !== undefined && first <= last.end) last.end = Math.max(last.end, end);
    else runs.push({ first, end });
  }
  return runs;
}

/** As Promise.all, but no read writes into the buffer any more when it rejects. */
async function settleAll(reads: Promise<void>[]): Promise<void> {
  const settled = await Promise.allSettled(reads);
  for (const one of settled) if (one.status === 'rejected') throw one.reason;
}
