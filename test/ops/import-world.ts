// What the import tests stand on: a local pool with images, streams written byte by byte, faults at the n-th call.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster, CreateOptions, Image, WritableImage } from '../../src/image/port.ts';
import { type ImportDiffOptions, type ImportResult, importDiff } from '../../src/ops/import-diff.ts';

const u32 = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const u64 = (value: number): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value));
  return bytes;
};

/** Records of a v1 stream, written by hand: not by the codec that reads them. */
export const f = (name: string | Buffer): Buffer => named('f', name);
export const t = (name: string | Buffer): Buffer => named('t', name);
export const s = (size: number): Buffer => Buffer.concat([Buffer.from('s'), u64(size)]);
export const p = (isProtected: boolean): Buffer => Buffer.from([0x70, isProtected ? 1 : 0]);
export const w = (offset: number, data: string | Buffer): Buffer =>
  Buffer.concat([Buffer.from('w'), u64(offset), u64(data.length), Buffer.from(data)]);
export const z = (offset: number, length: number): Buffer =>
  Buffer.concat([Buffer.from('z'), u64(offset), u64(length)]);
export const e: Buffer = Buffer.from('e');
export const v1 = (...records: Buffer[]): Buffer => Buffer.concat([Buffer.from('rbd diff v1\n'), ...records]);

function named(tag: string, name: string | Buffer): Buffer {
  const bytes = Buffer.from(name);
  return Buffer.concat([Buffer.from(tag), u32(bytes.length), bytes]);
}

/** The same stream as v2: every record but the end carries its length; `p` says 8, as up to Ceph 16.2. */
export const v2 = (...records: Buffer[]): Buffer =>
  Buffer.concat([
    Buffer.from('rbd diff v2\n'),
    ...records.flatMap((record) => {
      if (record.equals(e)) return [record];
      const bytes = record[0] === 0x70 ? 8 : record.length - 1;
      return [record.subarray(0, 1), u64(bytes), record.subarray(1)];
    }),
  ]);

export interface World {
  cluster: Cluster;
  /** A new image, opened to write; closed with the world. */
  image(
    name: string,
    size: number,
    content?: Buffer | string,
    options?: Partial<CreateOptions>,
  ): Promise<WritableImage>;
  openAt(name: string): (snap: string | null) => Promise<Image>;
  close(): Promise<void>;
}

const spec = (image: string, snap: string | null = null) => ({ pool: 'rbd', namespace: '', image, snap });
export const specOf = spec;

export async function makeWorld(): Promise<World> {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-import-'));
  const cluster = await openLocalPool(dir);
  await cluster.createPool('rbd');
  const opened: Image[] = [];
  return {
    cluster,
    async image(name, size, content = '', options = {}) {
      await cluster.create(spec(name), { size, order: 12, ...options });
      const image = await cluster.openToWrite(spec(name));
      opened.push(image);
      const bytes = Buffer.from(content);
      if (bytes.length > 0) await image.write(0, bytes);
      return image;
    },
    openAt: (name) => (snap) => cluster.open(spec(name, snap)),
    async close() {
      for (const image of opened) await image.close();
      await cluster.close();
      await rm(dir, { recursive: true });
    },
  };
}

export async function contentOf(image: Image): Promise<Buffer> {
  const { size } = await image.info();
  const bytes = Buffer.alloc(size);
  if (size > 0) await image.read(0, bytes);
  return bytes;
}

/** The image as text: NUL shown as a point. */
export const textOf = async (image: Image): Promise<string> =>
  (await contentOf(image)).toString('latin1').replaceAll('\0', '.');

export const snapshotsOf = async (image: Image): Promise<string[]> =>
  (await image.info()).snapshots.map(({ name }) => name);

/** Everything an import could have changed: equal before and after means that nothing was. */
export const stateOf = async (image: Image): Promise<string> => {
  const snapshots = (await image.info()).snapshots.map(({ name, protection }) => `${name}:${protection}`);
  return `${snapshots.join(' ')}|${(await contentOf(image)).toString('latin1')}`;
};

export const readerOf = (bytes: Uint8Array): ByteReader => new ByteReader(bytesSource(bytes));

export const runImport = (
  world: World,
  name: string,
  image: WritableImage,
  bytes: Uint8Array,
  options: ImportDiffOptions = {},
): Promise<ImportResult> => importDiff(image, (snap) => world.openAt(name)(snap), readerOf(bytes), options);

export const failureOf = async (work: Promise<unknown>): Promise<RbdeltaError> => {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof RbdeltaError) return error;
  throw error;
};

type Call = keyof WritableImage;
const changing: Call[] = [
  'write',
  'writeZeroes',
  'flush',
  'resize',
  'createSnapshot',
  'protectSnapshot',
  'rollback',
  'removeSnapshot',
  'unprotectSnapshot',
];

/** The image, whose n-th changing call (from 0) fails, before or after it took effect. */
export function failing<I extends WritableImage>(
  image: I,
  n: number,
  options: { late?: boolean; onCall?: (call: Call) => void } = {},
): I {
  let calls = 0;
  const wrapped =
    (call: Call, real: (...args: unknown[]) => Promise<void>) =>
    async (...args: unknown[]) => {
      const number = calls;
      calls += 1;
      options.onCall?.(call);
      if (number === n && !options.late) throw new RbdeltaError('noSpace', `call ${n} (${call}) fails`);
      await real(...args);
      if (number === n) throw new RbdeltaError('io', `call ${n} (${call}) fails after it took effect`);
    };
  return new Proxy(image, {
    get(_, name) {
      const key = name as keyof WritableImage;
      const value: unknown = image[key];
      if (typeof value !== 'function') return value;
      const real = value.bind(image) as (...args: unknown[]) => Promise<void>;
      return changing.includes(key) ? wrapped(key, real) : real;
    },
  });
}
