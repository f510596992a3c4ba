// Archives of given content in a store in memory, packed in the simplest way by the real codecs: small frames and pages, so
// that small images have many. And a store whose objects can be looked at, counted and damaged.

import { createHash, createHmac } from 'node:crypto';
import zstd from 'zstd-napi/binding.js';
import { RbdeltaError } from '../../src/error.ts';
import {
  blockBytes,
  type EdgeFrame,
  encodeDirectory,
  encodeTrailer,
  type Frame,
  hullOf,
  indexMagic,
  PageEncoder,
  type PageEntry,
  subtractSums,
} from '../../src/format/archive-index.ts';
import { sumFromHex, zeroSum } from '../../src/format/fingerprint.ts';
import { encodeManifest, type Manifest } from '../../src/format/manifest.ts';
import { encodeDiff } from '../../src/format/rbd-diff.ts';
import { pointFolder } from '../../src/repo/keys.ts';
import type { Repository } from '../../src/repo/repository.ts';
import type { Store } from '../../src/store/port.ts';

/** Enough of a store to read from; `objects` may be changed behind its back. */
export interface MemoryStore {
  store: Store;
  objects: Map<string, Buffer>;
  /** Keys of what was read, in order. */
  reads: string[];
}

export function memoryStore(): MemoryStore {
  const objects = new Map<string, Buffer>();
  const reads: string[] = [];
  const absent = (): never => {
    throw new Error('this store is only read');
  };
  const store: Store = {
    kind: 'directory',
    nameOf: (key) => `memory:${key}`,
    async get(key) {
      reads.push(key);
      return objects.get(key) ?? null;
    },
    async read(key, offset, into) {
      reads.push(key);
      // a real one takes its time, and ends in another order
      await new Promise((resolve) => setImmediate(resolve));
      const object = objects.get(key);
      if (object === undefined) throw new RbdeltaError('notFound', `memory:${key} is not there`);
      if (offset + into.length > object.length) throw new RbdeltaError('corrupt', `memory:${key} is cut off`);
      into.set(object.subarray(offset, offset + into.length));
    },
    async stat(key) {
      const bytes = objects.get(key)?.length;
      return bytes === undefined ? null : { key, bytes, modifiedMs: 0 };
    },
    put: absent,
    write: absent,
    list: absent,
    folders: absent,
    remove: absent,
    leftovers: absent,
    removeLeftover: absent,
    nowMs: absent,
    enforcesCreate: absent,
    close: async () => {},
  };
  return { store, objects, reads };
}

export const image = { pool: 'volumes', namespace: '', image: 'vm-1' };

export const repositoryIn = ({ store }: MemoryStore): Repository => ({
  store,
  id: '01234567-89ab-cdef-0123-456789abcdef',
  createdMs: 0,
  digestKey: Buffer.alloc(32, 'key'),
});

/** One record of a point; `data` null is zeros. */
export interface MadeRecord {
  offset: number;
  length: number;
  data: Uint8Array | null;
}

export interface MadePoint {
  id: string;
  base: Manifest | null;
  size: number;
  records: MadeRecord[];
  /** Blocks that are looked at, those of the records among them: digest, or null for zeros. */
  blocks: Map<number, Uint8Array | null>;
  /** 64 hex digits. */
  fingerprint: string;
}

export interface Shape {
  /** A frame ends with so many records, at the next border of blocks. */
  frameRecords: number;
  pageFrames: number;
  /** A segment ends with so many bytes. */
  segmentBytes: number;
}

export const smallShape: Shape = { frameRecords: 3, pageFrames: 2, segmentBytes: 600 };

export const pointId = (number: number): string => `20260101T000000Z-${number.toString(16).padStart(6, '0')}`;

/** Puts the files of a point into the store. */
export async function putPoint(memory: MemoryStore, point: MadePoint, shape: Shape = smallShape): Promise<Manifest> {
  const repository = repositoryIn(memory);
  const folder = pointFolder(image, point.id);
  const snapshot = `rbdelta-${point.id}`;
  const segments: Buffer[][] = [[]];
  const framesIn: number[] = [0];

  const put = (raw: Uint8Array): EdgeFrame => {
    const stored = compress(raw);
    if (bytesOf(segments.at(-1)!) >= shape.segmentBytes) {
      segments.push([]);
      framesIn.push(0);
    }
    const offset = bytesOf(segments.at(-1)!);
    segments.at(-1)!.push(stored);
    framesIn[framesIn.length - 1]! += 1;
    const segment = segments.length - 1;
    return { segment, offset, bytes: stored.length, rawBytes: raw.length, hash: hashOf(stored).subarray(0, 16) };
  };

  const stream = { fromSnap: point.base?.snapshot.name ?? null, toSnap: snapshot, size: point.size, protected: null };
  const edges: Uint8Array[] = [];
  for await (const chunks of encodeDiff({ header: stream, records: noRecords() })) {
    edges.push(...chunks.map((chunk) => Uint8Array.from(chunk)));
  }
  const edge = Buffer.concat(edges);
  const header = put(edge.subarray(0, edge.length - 1));

  const index: Buffer[] = [indexMagic];
  const pages: PageEntry[] = [];
  let pageFrames: Frame[] = [];
  const encoder = new PageEncoder();
  const putPage = (page: Buffer | null): void => {
    if (page === null) return;
    const stored = compress(page);
    pages.push({
      position: bytesOf(index),
      bytes: stored.length,
      rawBytes: page.length,
      start: hullOf(pageFrames[0]!).start,
      end: hullOf(pageFrames.at(-1)!).end,
      frames: pageFrames.length,
      digests: pageFrames.reduce((count, { digests }) => count + digests.length / 16, 0),
      hash: hashOf(stored).subarray(0, 16),
    });
    index.push(stored);
    pageFrames = [];
  };
  for (const { records, blocks } of cutFrames(point, shape)) {
    const frame = { ...put(rawOf(records)), ...columnsOf(records, blocks) };
    pageFrames.push(frame);
    putPage(encoder.add(frame));
    if (pageFrames.length >= shape.pageFrames) putPage(encoder.finish());
  }
  putPage(encoder.finish());
  const end = put(edge.subarray(-1));

  const data = point.records.filter((record) => record.data !== null);
  const dataBytes = data.reduce((sum, { length }) => sum + length, 0);
  const zeroBytes = point.records.reduce((sum, { length }) => sum + length, 0) - dataBytes;
  const bytes = edge.length + 17 * point.records.length + dataBytes;
  const before = point.base === null ? zeroSum() : sumFromHex(point.base.fingerprint);
  const directory = encodeDirectory({
    reached: point.size,
    sum: subtractSums(sumFromHex(point.fingerprint), before),
    records: point.records.length,
    dataBytes,
    zeroBytes,
    streamBytes: bytes,
    header,
    end,
    pages,
  });
  index.push(directory, encodeTrailer(directory.length));

  const time = '2026-01-01T00:00:00.000Z';
  const manifest: Manifest = {
    format: 1,
    repository: repository.id,
    point: point.id,
    image: {
      pool: image.pool,
      namespace: image.namespace,
      name: image.image,
      id: '1234',
      size: point.size,
      order: 22,
      features: 61,
      stripeUnit: 1 << 22,
      stripeCount: 1,
      dataPool: null,
      parent: null,
      metadata: {},
    },
    snapshot: { name: snapshot, id: 4, created: time, ours: true },
    base:
      point.base === null
        ? null
        : { point: point.base.point, snapshot: point.base.snapshot.name, fingerprint: point.base.fingerprint },
    created: time,
    finished: time,
    tags: [],
    pinned: false,
    fingerprint: point.fingerprint,
    digests: { algorithm: 'hmac-sha256-128', blockBytes },
    stream: { bytes, records: point.records.length, dataBytes, zeroBytes },
    segments: segments.map((pieces, i) => ({
      name: `${String(i).padStart(6, '0')}.rbdiff.zst`,
      bytes: bytesOf(pieces),
      frames: framesIn[i]!,
      wrap: 'plain',
    })),
    index: {
      name: 'index',
      bytes: bytesOf(index),
      directoryBytes: directory.length,
      directorySha256: hashOf(directory).toString('hex'),
      wrap: 'plain',
    },
    writer: { rbdelta: '0.0.0', host: 'here', seconds: 1 },
  };
  segments.forEach((pieces, i) => memory.objects.set(folder + manifest.segments[i]!.name, Buffer.concat(pieces)));
  memory.objects.set(`${folder}index`, Buffer.concat(index));
  memory.objects.set(`${folder}manifest.json`, encodeManifest(manifest));
  return manifest;
}

async function* noRecords(): AsyncGenerator<never> {}

const bytesOf = (pieces: readonly Buffer[]): number => pieces.reduce((sum, { length }) => sum + length, 0);

const hashOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();

const compressor = new zstd.CCtx();
compressor.setParameter(zstd.CParameter.checksumFlag, 1);

function compress(raw: Uint8Array): Buffer {
  const into = Buffer.alloc(zstd.compressBound(raw.length));
  return Buffer.from(into.subarray(0, compressor.compress2(into, raw)));
}

/** Frames of some records each, which touch no block together; blocks without a record come to the frame before. */
function cutFrames(
  { records, blocks }: MadePoint,
  { frameRecords }: Shape,
): { records: MadeRecord[]; blocks: [number, Uint8Array | null][] }[] {
  const frames: { records: MadeRecord[]; blocks: [number, Uint8Array | null][] }[] = [];
  let reached = -1;
  for (const record of records) {
    const frame = frames.at(-1);
    const first = Math.floor(record.offset / blockBytes);
    if (frame === undefined || (frame.records.length >= frameRecords && first > reached)) {
      frames.push({ records: [record], blocks: [] });
    } else {
      frame.records.push(record);
    }
    reached = Math.ceil((record.offset + record.length) / blockBytes) - 1;
  }
  const sorted = [...blocks].sort(([a], [b]) => a - b);
  let at = 0;
  frames.forEach((_, i) => {
    const next = frames[i + 1]?.records[0]?.offset ?? Number.POSITIVE_INFINITY;
    for (; at < sorted.length && sorted[at]![0] < Math.floor(next / blockBytes); at++)
      frames[i]!.blocks.push(sorted[at]!);
  });
  return frames;
}

function rawOf(records: readonly MadeRecord[]): Buffer {
  return Buffer.concat(
    records.flatMap(({ offset, length, data }) => {
      const head = Buffer.alloc(17);
      head.write(data === null ? 'z' : 'w', 0);
      head.writeBigUInt64LE(BigInt(offset), 1);
      head.writeBigUInt64LE(BigInt(length), 9);
      return data === null ? [head] : [head, Buffer.from(data)];
    }),
  );
}

function columnsOf(
  records: readonly MadeRecord[],
  blocks: readonly [number, Uint8Array | null][],
): Pick<Frame, 'records' | 'runs' | 'digests'> {
  const runs: number[] = [];
  for (const [block, digest] of blocks) {
    const sign = digest === null ? -1 : 1;
    const before = runs.at(-1) ?? 0;
    if (Math.sign(before) === sign && runs.at(-2)! + Math.abs(before) === block) runs[runs.length - 1] = before + sign;
    else runs.push(block, sign);
  }
  return {
    records: Float64Array.from(
      records.flatMap(({ offset, length, data }) => [offset, data === null ? -length : length]),
    ),
    runs: Float64Array.from(runs),
    digests: Buffer.concat(blocks.flatMap(([, digest]) => (digest === null ? [] : [digest]))),
  };
}

/** The digest of the block of an image that `state` is; null for zeros. */
export function digestOf(key: Uint8Array, state: Uint8Array, block: number): Buffer | null {
  const bytes = Buffer.alloc(blockBytes);
  bytes.set(state.subarray(block * blockBytes, (block + 1) * blockBytes));
  if (bytes.every((byte) => byte === 0)) return null;
  return createHmac('sha256', key).update(bytes).digest().subarray(0, 16);
}

/** By the definition: block by block, with big numbers. */
export function fingerprintOf(key: Uint8Array, digests: ReadonlyMap<number, Uint8Array>): string {
  let sum = 0n;
  for (const [block, digest] of digests) {
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(BigInt(block));
    const element = createHmac('sha256', key).update('state').update(number).update(digest).digest();
    sum += BigInt(`0x${element.reverse().toString('hex')}`);
  }
  return Buffer.from((sum % (1n << 256n)).toString(16).padStart(64, '0'), 'hex')
    .reverse()
    .toString('hex');
}
