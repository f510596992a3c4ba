// `import`: a new image from raw bytes (format 1) or from `rbd export --export-format 2`.

import { interruption, unlessAborted } from '../bytes/errno.ts';
import type { ByteReader } from '../bytes/reader.ts';
import { type ByteSource, inputFailure } from '../bytes/source.ts';
import { printable } from '../bytes/text.ts';
import { geometryOf, periodBytes } from '../diff/striping.ts';
import type { RbdeltaError } from '../error.ts';
import { type DiffRecord, type DiffStream, openDiff } from '../format/rbd-diff.ts';
import { feature } from '../format/rbd-features.ts';
import { type ImageHeader, readImageHeader } from '../format/rbd-image.ts';
import { decodeParentNote, type ParentNote, parentKey } from '../format/rbd-image-parent.ts';
import type { Cluster, CreateOptions, WritableImage } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { type ApplyJob, applyRecords, defaultSparseBytes, limits } from './apply.ts';
import { madeWhole, orRemoved } from './half-made.ts';
import { heldExtents } from './head.ts';
import { type Base, createClone, findBase, openBase, shapeClone, withBase } from './import-base.ts';
import { overParent } from './over-parent.ts';
import { PayloadBuffers } from './payload-buffers.ts';
import { Window } from './window.ts';

export interface ImportOptions {
  /** Creation options; for format 2 they take the place of the file's. */
  create?: Omit<CreateOptions, 'size'>;
  /**
   * The snapshot that the new image becomes a clone of: only what differs from it is written. Absent: the one that the
   * file tells of (format 2), if it is here; null: none.
   */
  parent?: ImageSpec | null;
  /** Called when everything is written and flushed, the image still open: if it fails, so does the import (format 1). */
  seal?: (image: WritableImage) => Promise<void>;
  /** Runs of zeros in blocks of this many bytes are not written (rbd's --sparse-size); 0: they are. */
  sparseBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of input consumed so far. */
  onProgress?: (bytes: number) => void;
  /** How long removing the image again after a failure may stand still, in ms. */
  stallMs?: number;
  /** The image has its name from the beginning: for a caller who tells a whole one by other means. */
  namedFirst?: boolean;
}

export interface ImportedImage {
  size: number;
  /** Names of the snapshots made (format 2). */
  snapshots: string[];
  writtenBytes: number;
  /** What it is a clone of. */
  parent: ImageSpec | null;
}

const pieceBytes = 4 << 20;

/**
 * Format 1. `size`: bytes that the source will give, null if unknown (stdin: the image grows as it is read). The image
 * has its name when it is whole; on failure it is removed again. 'exists' if there is such an image already; that one is
 * not touched.
 */
export async function importRaw(
  cluster: Cluster,
  spec: ImageSpec,
  source: ByteSource,
  size: number | null,
  options: ImportOptions = {},
): Promise<ImportedImage> {
  const opening = options.parent ? openBase(cluster, options.parent, null) : Promise.resolve(null);
  return withBase(opening, async (base) => {
    const unknown = base === null ? 2 ** (options.create?.order ?? 22) : (await base.image.info()).size;
    const firstSize = size ?? unknown;
    const create = { ...options.create, size: firstSize };
    return intoNewImage(cluster, spec, create, { ...options, base }, async (target, job, first) => {
      let created = firstSize;
      let end = 0;
      async function* records(): AsyncGenerator<DiffRecord> {
        for (;;) {
          const piece = await job.buffers.allocate(pieceBytes);
          const data = piece.subarray(0, await readFull(source, piece));
          if (data.length === 0) {
            job.buffers.release(piece);
            return;
          }
          const offset = end;
          end += data.length;
          if (size !== null && end > size) throw changed(source, `the source has more than the ${size} bytes it had`);
          if (size === null && end > created) {
            await job.window.settled();
            while (created < end) created = Math.max(created * 2, pieceBytes);
            await target.resize(created);
          }
          yield { kind: 'write', offset, data, remaining: 0 };
          options.onProgress?.(end);
        }
      }
      const most = size ?? Number.MAX_SAFE_INTEGER;
      const { writtenBytes } = await applyRecords({ ...job, ...first, clear: null, records: records(), size: most });
      if (size !== null && end < size) throw changed(source, `the source ends at byte ${end}, it had ${size}`);
      if (end !== created) await target.resize(end);
      await target.flush();
      await options.seal?.(target);
      return { size: end, snapshots: [], writtenBytes: writtenBytes - first.keptBytes(), parent: first.parent };
    });
  });
}

/**
 * Format 2: creates the image with the file's properties, applies every diff, makes and protects the snapshots. The
 * image has its name when it is whole; on failure it is removed again, with its snapshots. 'exists' if there is such an
 * image already.
 */
export async function importImage(
  cluster: Cluster,
  spec: ImageSpec,
  reader: ByteReader,
  options: ImportOptions = {},
): Promise<ImportedImage> {
  const { signal } = options;
  const header = await unlessAborted(readImageHeader(reader), signal);
  const buffers = new PayloadBuffers(limits.payloadBytes);
  const open = async (fromSnap: string | null, isLast: boolean): Promise<Opened> => {
    const allocate = (bytes: number) => buffers.allocate(bytes);
    const stream = await unlessAborted(openDiff(reader, { order: 'any', allocate }), signal);
    return checkEmbedded(reader, stream, fromSnap, isLast);
  };
  const first = await open(null, header.diffCount === 1);
  const create = creation(reader, header, options.create ?? {}, first.size);
  const note = decodeParentNote(header.metadata.get(parentKey) ?? '');
  return withBase(baseOf(cluster, spec, note, options), (base) =>
    intoNewImage(cluster, spec, create, { ...options, buffers, base }, async (target, job, firstJob) => {
      await setAllMetadata(cluster, job.made, header.metadata, base !== null);
      const result: ImportedImage = { size: first.size, snapshots: [], writtenBytes: 0, parent: firstJob.parent };
      let diff = first;
      for (let number = 1; ; number += 1) {
        const { stream, size } = diff;
        if (size !== result.size) await target.resize(size);
        const how = number === 1 ? firstJob : { zeroFrom: Math.min(result.size, size) };
        const onRecord = options.onProgress && (() => options.onProgress?.(reader.position));
        const applied = await applyRecords({ ...job, ...how, records: stream.records, size, onRecord });
        result.size = size;
        result.writtenBytes += applied.writtenBytes;
        const isLast = number === header.diffCount;
        if (isLast && !(await unlessAborted(reader.atEnd(), signal)))
          throw reader.failure(
            'corrupt',
            `more follows at byte ${reader.position} of the image export, behind the last of its diffs`,
          );
        await target.flush();
        if (signal?.aborted) throw interruption(signal);
        const { toSnap } = stream.header;
        if (toSnap !== null) {
          await target.createSnapshot(toSnap);
          if (stream.header.protected) await target.protectSnapshot(toSnap);
          result.snapshots.push(toSnap);
        }
        if (isLast) return { ...result, writtenBytes: result.writtenBytes - firstJob.keptBytes() };
        diff = await open(toSnap, number + 1 === header.diffCount);
      }
    }),
  );
}

async function baseOf(
  cluster: Cluster,
  spec: ImageSpec,
  note: ParentNote | null,
  { parent, onNotice }: ImportOptions,
): Promise<Base | null> {
  if (parent) return openBase(cluster, parent, note);
  return parent === null || note === null ? null : findBase(cluster, note, spec, onNotice);
}

/** A clone has its parent's metadata to begin with, and its header tells of the parent. */
async function setAllMetadata(
  cluster: Cluster,
  spec: ImageSpec,
  metadata: ReadonlyMap<string, string>,
  isClone: boolean,
): Promise<void> {
  const wanted = new Map(metadata);
  if (isClone) {
    wanted.delete(parentKey);
    for (const key of (await cluster.metadata(spec)).keys())
      if (!wanted.has(key)) await cluster.removeMetadata(spec, key);
  }
  for (const [key, value] of wanted) await cluster.setMetadata(spec, key, value);
}

interface NewImageJob extends Omit<ApplyJob, 'records' | 'size' | 'zeroFrom'> {
  /** Where the image is while it is made. */
  made: ImageSpec;
}

/** What is different for what comes first, while a clone shows nothing but its parent. */
interface FirstJob extends Pick<ApplyJob, 'target' | 'zeroFrom' | 'clear'> {
  keptBytes: () => number;
  parent: ImageSpec | null;
}

async function firstJobOf(target: WritableImage, base: Base | null, size: number, options: ImportOptions) {
  if (base === null) return { target, zeroFrom: 0, clear: null, keptBytes: () => 0, parent: null };
  const overlap = await shapeClone(target, base, size);
  const { signal, onNotice } = options;
  const clear = await heldExtents(base.image, { signal, onNotice });
  return { ...overParent(target, base.image, overlap), zeroFrom: overlap, clear, parent: base.spec };
}

/** Creates or clones, fills, closes; or removes again what it made. */
async function intoNewImage(
  cluster: Cluster,
  spec: ImageSpec,
  create: CreateOptions,
  options: ImportOptions & { buffers?: PayloadBuffers; base: Base | null },
  fill: (target: WritableImage, job: NewImageJob, first: FirstJob) => Promise<ImportedImage>,
): Promise<ImportedImage> {
  const { base, signal, stallMs } = options;
  const window = new Window(limits.writes);
  let target: WritableImage | null = null;
  const make = (made: ImageSpec) =>
    base === null ? cluster.create(made, create) : createClone(cluster, base, made, create);
  const fillIt = async (made: ImageSpec): Promise<ImportedImage> => {
    target = await cluster.openToWrite(made);
    const first = await firstJobOf(target, base, create.size, options);
    const job: NewImageJob = {
      made,
      target,
      window,
      buffers: options.buffers ?? new PayloadBuffers(limits.payloadBytes),
      periodBytes: periodBytes(geometryOf(await target.info())),
      order: 'checked',
      clear: null,
      sparseBytes: options.sparseBytes ?? defaultSparseBytes,
      signal,
    };
    const result = await fill(target, job, first);
    await target.close();
    return result;
  };
  const settle = async (): Promise<void> => {
    await window.settled();
    // what it says of a failure is not the first
    await target?.close().catch(() => {});
  };
  const making = { signal, settle, stallMs };
  if (options.namedFirst !== true) {
    return madeWhole(cluster, spec, (half) => make(half).then(() => fillIt(half)), making);
  }
  await make(spec);
  return orRemoved(cluster, spec, () => fillIt(spec), making);
}

interface Opened {
  stream: DiffStream;
  size: number;
}

/** The diffs of a file are one chain from nothing to the head: anything else would make a different image. */
function checkEmbedded(
  reader: ByteReader,
  stream: DiffStream | null,
  fromSnap: string | null,
  isLast: boolean,
): Opened {
  if (stream === null) throw reader.failure('corrupt', 'the image export ends where a diff should follow');
  const { header } = stream;
  const shown = (snap: string | null): string => (snap === null ? 'nothing' : `"${printable(snap)}"`);
  if (header.fromSnap !== fromSnap)
    throw reader.failure(
      'corrupt',
      `a diff of the image export starts from ${shown(header.fromSnap)}, ${shown(fromSnap)} was expected`,
    );
  if ((header.toSnap === null) !== isLast)
    throw reader.failure(
      'corrupt',
      isLast
        ? `the last diff of the image export ends at ${shown(header.toSnap)}, not at the head`
        : 'a diff of the image export that is not the last ends at no snapshot',
    );
  if (header.part !== undefined) throw reader.failure('corrupt', 'a diff of the image export is only a part');
  if (header.size === null)
    throw reader.failure('corrupt', 'a diff of the image export does not say how large the image is');
  return { stream, size: header.size };
}

/** Bits that only RBD itself sets, or that follow from other options. */
const derivedFeatures =
  feature.striping |
  feature.dataPool |
  feature.operations |
  feature.migrating |
  feature.nonPrimary |
  feature.dirtyCache;
const knownFeatures = feature.dirtyCache * 2 - 1;

/** The file's properties, each replaced by what was asked for. */
function creation(
  reader: ByteReader,
  header: ImageHeader,
  asked: Omit<CreateOptions, 'size'>,
  size: number,
): CreateOptions {
  const options: CreateOptions = { size };
  const order = asked.order ?? header.order;
  if (order !== null) options.order = order;
  if (asked.features !== undefined) options.features = asked.features;
  else if (header.features !== null) {
    if (header.features > knownFeatures)
      throw reader.failure(
        'unsupported',
        `the image has features that are not known here: 0x${header.features.toString(16)}`,
        { hint: 'name the features that the new image is to have: --image-feature' },
      );
    options.features = header.features & ~derivedFeatures;
  }
  // A file of an image that is not striped says that its stripe unit is its object: that must not become striping
  // when another object size is asked for.
  const striped = header.stripeCount !== null && header.stripeCount > 1 && header.stripeUnit !== null;
  const stripeUnit = asked.stripeUnit ?? (striped ? header.stripeUnit : null);
  const stripeCount = asked.stripeCount ?? (striped ? header.stripeCount : null);
  if (stripeUnit !== null) options.stripeUnit = stripeUnit;
  if (stripeCount !== null) options.stripeCount = stripeCount;
  if (asked.dataPool !== undefined) options.dataPool = asked.dataPool;
  return options;
}

const changed = ({ name }: ByteSource, what: string): RbdeltaError =>
  inputFailure(name, 'io', what, { hint: 'it was changed while it was read: read from a snapshot of it' });

/** How many bytes were read: fewer than fit only at the end. */
async function readFull(source: ByteSource, into: Uint8Array): Promise<number> {
  let filled = 0;
  while (filled < into.length) {
    const count = await source.read(filled === 0 ? into : into.subarray(filled));
    if (count === 0) break;
    filled += count;
  }
  return filled;
}
