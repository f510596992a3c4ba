// `export`: a whole image, as raw bytes (format 1) or with its snapshots and metadata (format 2).

import { open, unlink } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf, interruption, ioFailure, orInterruption } from '../bytes/errno.ts';
import { type ByteSink, fsyncDirectory } from '../bytes/sink.ts';
import { nameToBytes, printable } from '../bytes/text.ts';
import { type DiffRecord, encodeDiff } from '../format/rbd-diff.ts';
import { encodeImageHeader } from '../format/rbd-image.ts';
import { encodeParentNote, parentKey } from '../format/rbd-image-parent.ts';
import type { Image } from '../image/port.ts';
import { diffStream, planDiff } from './changes.ts';
import { parentNote } from './parent-note.ts';

export interface ExportOptions {
  /** Reads in flight. */
  queueDepth?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of the image done, of all (format 2: over all its versions). */
  onProgress?: (done: number, total: number) => void;
}

/** Format 1: every byte of the opened version, holes as zeros. Finishes the sink, or aborts it. */
export async function exportRaw(image: Image, sink: ByteSink, options: ExportOptions = {}): Promise<void> {
  await writeRaw(image, rawIntoSink(sink), options);
}

/** Format 1 to a new sparse file (mode 0644, 'exists' if there is one); removed again on failure. */
export async function exportRawToFile(image: Image, path: string, options: ExportOptions = {}): Promise<void> {
  await writeRaw(image, await intoSparseFile(path), options);
}

/**
 * Format 2: properties, metadata (of a clone: what its parent is), and all `user` snapshots and the head as diffs. `openAt` opens the image at a
 * snapshot, or its head (null). Other snapshots (of groups, in the trash) cannot be restored by name: they are left out
 * with a notice. Finishes the sink, or aborts it.
 */
export async function exportImage(
  openAt: (snap: string | null) => Promise<Image>,
  metadata: ReadonlyMap<string, string>,
  sink: ByteSink,
  options: ExportOptions = {},
): Promise<void> {
  try {
    const versions = await writeImageHeader(openAt, metadata, sink, options);
    const totalBytes = versions.reduce((sum, version) => sum + version.size, 0);
    let doneBytes = 0;
    let fromSnap: string | null = null;
    for (const { snap, size, isProtected } of versions) {
      const image = await openAt(snap);
      try {
        const plan = await planDiff(image, { fromSnap, ...planOptions(options) });
        const { header, records } = diffStream(image, plan, streamOptions(options));
        const done = doneBytes;
        const watched = watch(records, options, (offset) => options.onProgress?.(done + offset, totalBytes));
        const stream = { header: { ...header, protected: isProtected }, records: watched };
        for await (const chunks of encodeDiff(stream, { version: 2 })) await sink.write(chunks);
      } finally {
        await image.close();
      }
      doneBytes += size;
      options.onProgress?.(doneBytes, totalBytes);
      fromSnap = snap;
    }
    await sink.finish();
  } catch (error) {
    await sink.abort();
    throw orInterruption(error, options.signal);
  }
}

interface Version {
  /** null is the head. */
  snap: string | null;
  size: number;
  isProtected: boolean | null;
}

async function writeImageHeader(
  openAt: (snap: string | null) => Promise<Image>,
  metadata: ReadonlyMap<string, string>,
  sink: ByteSink,
  options: ExportOptions,
): Promise<Version[]> {
  const head = await openAt(null);
  try {
    const info = await head.info();
    const versions: Version[] = [];
    for (const { name, namespace, size, protection } of info.snapshots) {
      if (namespace === 'user') versions.push({ snap: name, size, isProtected: protection !== 'unprotected' });
      else
        options.onNotice?.(`the snapshot "${printable(name)}" (${namespace}) has no name of its own: it is left out`);
    }
    versions.push({ snap: null, size: info.size, isProtected: null });
    const note = await parentNote(openAt, versions[0]?.snap ?? null);
    const pairs = new Map(metadata);
    if (note !== null) pairs.set(parentKey, encodeParentNote(note));
    const striped = info.stripeCount > 1;
    const header = encodeImageHeader({
      order: info.order,
      features: info.format === 1 ? 0 : info.features,
      stripeUnit: striped ? info.stripeUnit : 2 ** info.order,
      stripeCount: striped ? info.stripeCount : 1,
      metadata: new Map([...pairs].sort(([a], [b]) => Buffer.compare(nameToBytes(a), nameToBytes(b)))),
      diffCount: versions.length,
    });
    await sink.write([header]);
    return versions;
  } finally {
    await head.close();
  }
}

/** Where raw bytes go: calls come in order and do not overlap; what is between them is a hole. */
export interface RawOut {
  data(offset: number, bytes: Uint8Array): Promise<void>;
  finish(size: number): Promise<void>;
  /** Never throws. */
  abort(): Promise<void>;
}

async function writeRaw(image: Image, out: RawOut, options: ExportOptions): Promise<void> {
  try {
    const plan = await planDiff(image, { fromSnap: null, wholeObject: true, ...planOptions(options) });
    const { size } = plan.info;
    const { records } = diffStream(image, plan, streamOptions(options));
    for await (const record of watch(records, options, (offset) => options.onProgress?.(offset, size)))
      if (record.kind === 'write') await out.data(record.offset, record.data);
    await out.finish(size);
    options.onProgress?.(size, size);
  } catch (error) {
    await out.abort();
    throw orInterruption(error, options.signal);
  }
}

const zeros = Buffer.alloc(1 << 20);

/** Every byte in order, zeros as well. */
export function rawIntoSink(sink: ByteSink): RawOut {
  let position = 0;
  const zerosUpTo = async (offset: number): Promise<void> => {
    while (position < offset) {
      const length = Math.min(zeros.length, offset - position);
      await sink.write([zeros.subarray(0, length)]);
      position += length;
    }
  };
  return {
    async data(offset, bytes) {
      await zerosUpTo(offset);
      await sink.write([bytes]);
      position += bytes.length;
    },
    async finish(size) {
      await zerosUpTo(size);
      await sink.finish();
    },
    abort: () => sink.abort(),
  };
}

async function intoSparseFile(path: string): Promise<RawOut> {
  const handle = await open(path, 'wx', 0o644).catch((error: unknown) => {
    const hint = errnoOf(error) === 'EEXIST' ? 'remove it or choose another path' : undefined;
    throw ioFailure(error, `cannot create "${path}"`, hint);
  });
  const attempt = async (act: () => Promise<void>): Promise<void> => {
    try {
      await act();
    } catch (error) {
      throw ioFailure(error, `cannot write "${path}"`);
    }
  };
  return {
    data: (offset, bytes) =>
      attempt(async () => {
        for (let done = 0; done < bytes.length; )
          done += (await handle.write(bytes, done, bytes.length - done, offset + done)).bytesWritten;
      }),
    finish: (size) =>
      attempt(async () => {
        await handle.truncate(size);
        await handle.sync();
        await handle.close();
        await fsyncDirectory(dirname(path));
      }),
    async abort() {
      await unlink(path).catch(() => {});
      await handle.close().catch(() => {});
    },
  };
}

/** Passes the records on, tells how far they have come, and ends at an interruption. */
async function* watch(
  records: AsyncIterable<DiffRecord>,
  { signal }: ExportOptions,
  onOffset: (offset: number) => void,
): AsyncGenerator<DiffRecord> {
  for await (const record of records) {
    if (signal?.aborted) throw interruption(signal);
    yield record;
    onOffset(record.offset + (record.kind === 'write' ? record.data.length : record.length));
  }
}

function planOptions({ signal, onNotice }: ExportOptions): {
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
} {
  return { ...(signal && { signal }), ...(onNotice && { onNotice }) };
}

function streamOptions({ queueDepth }: ExportOptions): { queueDepth?: number } {
  return queueDepth === undefined ? {} : { queueDepth };
}
