// The archive of a point on another base: what the points in between hold becomes part of it. Frames that show whole are
// taken as they are, the rest is packed again.

import { createHash } from 'node:crypto';
import { mapOrdered } from '../bytes/ordered.ts';
import { RbdeltaError } from '../error.ts';
import { type Frame, recordHeaderBytes } from '../format/archive-index.ts';
import { subtractSums, sumFromHex, zeroSum } from '../format/fingerprint.ts';
import { putU64 } from '../format/struct.ts';
import { ArchiveWriter, type WrittenArchive } from './archive-writer.ts';
import type { Chain } from './chain.ts';
import { type CopyUnit, type PackUnit, unitsOf } from './rebase-units.ts';
import { FrameCache, type HeldFrame } from './frame-cache.ts';
import { pointFolder } from './keys.ts';
import { scrubHint } from './unpack.ts';
import type { LivePiece } from './overlay.ts';
import type { Packer, PackedFrame } from './packer.ts';
import type { CopiedRange } from '../store/port.ts';
import type { Repository } from './repository.ts';

export interface RebaseOptions {
  packer: Packer;
  /** Another repository, which has the same `digestKey`, is to have the point: frames are fetched, and sent there. */
  into?: Repository;
  /** Begins the names of the new files, which lie beside the old ones. */
  prefix: string;
  signal?: AbortSignal | undefined;
  /** Where in the image the work has come to. */
  onProgress?: ((reached: number) => void) | undefined;
  /** For tests. */
  segmentBytes?: number;
}

export interface Rebased extends WrittenArchive {
  /** Frames that were taken as they are, and frames that were packed again. */
  copiedFrames: number;
  packedFrames: number;
}

/**
 * Writes, into the folder of the newest point of the chain, the archive that leads to its state from that of
 * `chain.points[base]`; -1: from nothing. Nothing refers to it yet. Memory: some frames.
 */
export async function rebase(chain: Chain, base: number, options: RebaseOptions): Promise<Rebased> {
  const { packer, prefix, signal, onProgress } = options;
  const newest = chain.points.at(-1)!.manifest;
  const from = chain.points[base]?.manifest ?? null;
  const header = {
    fromSnap: from?.snapshot.name ?? null,
    toSnap: newest.snapshot.name,
    size: chain.size,
    protected: null,
  };
  const { store } = options.into ?? chain.repository;
  const writer = new ArchiveWriter(store, pointFolder(chain.image, newest.point) + prefix, header, {
    compress: (raw) => packer.compress(raw),
    signal,
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
  });
  const frames = new FrameCache(chain, base, cacheBytes);
  const counts = { copiedFrames: 0, packedFrames: 0 };
  // Of the state, not of the way to it: it is what it was.
  const sum = subtractSums(sumFromHex(newest.fingerprint), from === null ? zeroSum() : sumFromHex(from.fingerprint));
  try {
    const built = mapOrdered(filled(unitsOf(chain, base), frames), compressions, async (unit) => {
      signal?.throwIfAborted();
      return 'frame' in unit ? unit : await pack(unit, packer);
    });
    for await (const unit of built) {
      if ('frame' in unit) {
        counts.copiedFrames += 1;
        const { point, frame, end } = unit;
        const copy = rangeOf(chain, point, frame);
        await writer.append(options.into === undefined ? { copy, frame } : await fetched(chain, copy, frame), end);
        onProgress?.(end);
      } else {
        counts.packedFrames += 1;
        await writer.append(unit, unit.end);
        onProgress?.(unit.end);
      }
    }
    await writer.append({ ...nothing, sum }, chain.size);
    const { segments, index, ...written } = await writer.finish(chain.size);
    return {
      ...written,
      ...counts,
      segments: segments.map((segment) => ({ ...segment, name: prefix + segment.name })),
      index: { ...index, name: prefix + index.name },
    };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await frames.close();
  }
}

/** Decompressed frames that are held. */
const cacheBytes = 64 << 20;
/** Frames that are compressed at the same time, or wait for that. */
const compressions = 4;
/** Pieces whose frames are fetched ahead of the one that is copied. */
const aheadPieces = 1024;

const nothing: PackedFrame = {
  bytes: null,
  rawBytes: 0,
  hash: new Uint8Array(16),
  records: new Float64Array(0),
  runs: new Float64Array(0),
  digests: new Uint8Array(0),
  sum: zeroSum(),
  dataBytes: 0,
  zeroBytes: 0,
  data: new ArrayBuffer(0),
};

/** The decompressed frame of the pieces: records, as a stream has them. */
interface RawUnit extends PackUnit {
  records: Float64Array;
  raw: Buffer<ArrayBuffer>;
  /** Where the payload of each piece goes. */
  places: number[];
}

function emptyRaw(unit: PackUnit): RawUnit {
  const records = recordsOf(unit.pieces);
  const dataBytes = unit.pieces.reduce((sum, { offset, end, frame }) => sum + (frame === null ? 0 : end - offset), 0);
  const raw = Buffer.allocUnsafeSlow((records.length / 2) * recordHeaderBytes + dataBytes);
  const places: number[] = [];
  let at = 0;
  for (let i = 0; i < records.length; i += 2) {
    const [offset, length] = [records[i]!, Math.abs(records[i + 1]!)];
    raw[at] = records[i + 1]! < 0 ? tags.zero : tags.write;
    putU64(raw, offset, at + 1);
    putU64(raw, length, at + 9);
    at += recordHeaderBytes;
    for (let piece = unit.pieces[places.length]; piece !== undefined && piece.end <= offset + length; ) {
      places.push(at);
      if (piece.frame !== null) at += piece.end - piece.offset;
      piece = unit.pieces[places.length];
    }
  }
  return { ...unit, records, raw, places };
}

/** The units in order, with their payload, which is fetched ahead. */
async function* filled(
  units: AsyncIterable<CopyUnit | PackUnit>,
  frames: FrameCache,
): AsyncGenerator<CopyUnit | RawUnit, void, undefined> {
  const steps = stepsOf(units);
  const ahead: { step: CopyUnit | { unit: RawUnit; index: number }; held: HeldFrame | null }[] = [];
  let isLast = false;
  for (;;) {
    while (!isLast && ahead.length < aheadPieces && frames.takenBytes < cacheBytes / 4) {
      const next = await steps.next();
      isLast = next.done === true;
      if (next.done === true) break;
      const step = next.value;
      if ('frame' in step) {
        ahead.push({ step, held: null });
        continue;
      }
      const { point, frame, offset, end, rawOffset } = step.unit.pieces[step.index]!;
      const held = frame === null ? null : frames.take(point, frame, rawOffset, rawOffset + end - offset);
      ahead.push({ step, held });
    }
    const first = ahead.shift();
    if (first === undefined) return;
    const { step, held } = first;
    if ('frame' in step) {
      yield step;
      continue;
    }
    const { unit, index } = step;
    if (held !== null) {
      const { offset, end, rawOffset } = unit.pieces[index]!;
      const from = rawOffset - held.start;
      unit.raw.set((await held.bytes).subarray(from, from + end - offset), unit.places[index]);
      frames.give(held);
    }
    if (index === unit.pieces.length - 1) yield unit;
  }
}

async function* stepsOf(
  units: AsyncIterable<CopyUnit | PackUnit>,
): AsyncGenerator<CopyUnit | { unit: RawUnit; index: number }, void, undefined> {
  for await (const one of units) {
    if ('frame' in one) {
      yield one;
      continue;
    }
    const unit = emptyRaw(one);
    for (let index = 0; index < unit.pieces.length; index++) yield { unit, index };
  }
}

async function pack(unit: RawUnit, packer: Packer): Promise<PackedFrame & { end: number }> {
  const { records, runs, digests, end, raw } = unit;
  let [dataBytes, zeroBytes] = [0, 0];
  for (let i = 1; i < records.length; i += 2) {
    if (records[i]! > 0) dataBytes += records[i]!;
    else zeroBytes -= records[i]!;
  }
  const { bytes, hash } = await packer.compress(raw);
  return { ...nothing, bytes, rawBytes: raw.length, hash, records, runs, digests, dataBytes, zeroBytes, end };
}

const tags = { write: 0x77, zero: 0x7a } as const;
/** The longest payload of a record. */
const recordBytes = 4 << 20;

/** Offset, length pairs: pieces that continue each other are one record. */
function recordsOf(pieces: readonly LivePiece[]): Float64Array {
  const records: number[] = [];
  for (const { offset, end, frame } of pieces) {
    const length = frame === null ? offset - end : end - offset;
    const last = records.length - 1;
    const before = records[last];
    const continues =
      before !== undefined &&
      before > 0 === length > 0 &&
      records[last - 1]! + Math.abs(before) === offset &&
      (length < 0 || before + length <= recordBytes);
    if (continues) records[last] = before + length;
    else records.push(offset, length);
  }
  return Float64Array.from(records);
}

/** The frame as it is stored: another store cannot copy it. */
async function fetched(chain: Chain, { key, offset, length }: CopiedRange, frame: Frame): Promise<PackedFrame> {
  const bytes = Buffer.allocUnsafe(length);
  await chain.repository.store.read(key, offset, bytes);
  const { rawBytes, hash, records, runs, digests } = frame;
  if (!createHash('sha256').update(bytes).digest().subarray(0, hash.length).equals(hash)) {
    const name = chain.repository.store.nameOf(key);
    throw new RbdeltaError('corrupt', `the frame ${offset}~${length} of ${name} is damaged: its hash is another`, {
      hint: scrubHint,
    });
  }
  return { ...nothing, bytes, rawBytes, hash, records, runs, digests };
}

const rangeOf = (chain: Chain, point: number, { segment, offset, bytes }: Frame): CopiedRange => {
  const { id, manifest } = chain.points[point]!;
  return { key: pointFolder(chain.image, id) + manifest.segments[segment]!.name, offset, length: bytes };
};
