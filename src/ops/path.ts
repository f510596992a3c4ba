// A path of the command line as a stream: `-` is stdin or stdout, `s3://bucket/key` an object, the rest a file.

import { stat } from 'node:fs/promises';
import { closing } from '../bytes/closing.ts';
import { ioFailure } from '../bytes/errno.ts';
import { rateLimitedSink, rateLimitedSource } from '../bytes/rate.ts';
import { createFileSink, fdSink, type ByteSink } from '../bytes/sink.ts';
import { fdSource, fileSource, type ByteSource } from '../bytes/source.ts';
import { printable } from '../bytes/text.ts';
import { autoDecompress, beginsAsZstd, checkLevel, zstdSink } from '../bytes/zstd.ts';
import { RbdeltaError } from '../error.ts';
import type { S3Options } from '../store/s3-client.ts';

export interface PathOptions {
  /** Bytes per second that pass the file, pipe or connection: compressed ones where there is compression. */
  maxRate?: number;
  s3?: S3Options;
  /** Aborting makes what waits reject as `interrupted`. */
  signal?: AbortSignal;
}

export interface SourceOptions extends PathOptions {
  /** The bytes may be anything, those that zstd begins with as well: only of a path in `.zst` are they decompressed. */
  raw?: boolean;
  onNotice?: (text: string) => void;
}

export interface SinkOptions extends PathOptions {
  /** What the stream will not exceed, before compression; decides the size of the parts of an object in S3. */
  maxBytes?: number;
  /** zstd with this level; see `parseCompress`. */
  compress?: number;
}

/** Opens what is there, decompressed if it is zstd; with `raw`, a notice says so. */
export async function openSource(path: string, options: SourceOptions = {}): Promise<ByteSource> {
  const { maxRate, raw, onNotice } = options;
  const source = await openRaw(path, options);
  try {
    const limited = maxRate === undefined ? source : rateLimitedSource(source, maxRate);
    if (!raw) return await autoDecompress(limited);
    if (!mayBeZstd(path, true)) return limited;
    const notice = `"${printable(path)}" is decompressed`;
    return await autoDecompress(watchingHead(limited, () => onNotice?.(notice)));
  } catch (error) {
    await source.close();
    throw error;
  }
}

/** Whether zstd is looked for: see `SourceOptions.raw`. */
export const mayBeZstd = (path: string, raw: boolean): boolean => !raw || path.endsWith('.zst');

/** The source; calls `onZstd` once the first four bytes have passed, if they are those of zstd. */
function watchingHead(source: ByteSource, onZstd: () => void): ByteSource {
  let head = Buffer.alloc(0);
  return {
    name: source.name,
    async read(into, least) {
      const count = await source.read(into, least);
      if (head.length < 4) {
        head = Buffer.concat([head, into.subarray(0, Math.min(count, 4 - head.length))]);
        if (beginsAsZstd(head)) onZstd();
      }
      return count;
    },
    close: () => source.close(),
  };
}

/**
 * What tells what is at the path now from what was, or will be, there: size and time of a file, the ETag of an object. null for
 * what has no such thing: a pipe, a device.
 */
export async function versionOf(path: string, options: PathOptions = {}): Promise<string | null> {
  if (path === '-') return null;
  if (isS3(path)) return closing(await openRaw(path, options), async ({ version }) => version ?? null);
  const found = await stat(path, { bigint: true }).catch((error: unknown) => {
    throw ioFailure(error, `cannot open "${printable(path)}"`);
  });
  return found.isFile() ? `${found.size} ${found.mtimeNs} ${found.ino}` : null;
}

/** Makes something new: a file or an object that exists is refused as `exists`. */
export async function createSink(path: string, options: SinkOptions = {}): Promise<ByteSink> {
  const { maxRate, compress } = options;
  if (compress !== undefined) checkLevel(compress);
  const raw = await createRaw(path, options);
  const limited = maxRate === undefined ? raw : rateLimitedSink(raw, maxRate);
  return compress === undefined ? limited : zstdSink(limited, { level: compress });
}

/** The level that `zstd[:LEVEL]` asks for; anything else is refused as `usage`. */
export function parseCompress(text: string): number {
  const [, level] = /^zstd(?::(\d+))?$/.exec(text) ?? [];
  if (!text.startsWith('zstd') || (level === undefined && text !== 'zstd')) {
    const hint = 'write it as zstd or zstd:LEVEL, with a level of 1 (fast) to 19 (small)';
    throw new RbdeltaError('usage', `"${printable(text)}" is not a compression that is known here`, { hint });
  }
  const number = level === undefined ? 3 : Number(level);
  checkLevel(number);
  return number;
}

/** When it is needed: most commands end sooner than it loads. */
const loadS3 = () => import('../store/s3.ts');

const isS3 = (path: string): boolean => path.startsWith('s3://');

function openRaw(path: string, { s3, signal }: PathOptions): Promise<ByteSource> {
  const interruptible = signal === undefined ? {} : { signal };
  if (path === '-') return Promise.resolve(fdSource(0, interruptible));
  if (isS3(path))
    return loadS3().then((store) => store.s3Source({ ...s3, ...store.parseS3Url(path), ...interruptible }));
  return fileSource(path, interruptible);
}

function createRaw(path: string, { s3, signal, maxBytes, compress }: SinkOptions): Promise<ByteSink> {
  const interruptible = signal === undefined ? {} : { signal };
  if (path === '-') return Promise.resolve(fdSink(1, interruptible));
  if (!isS3(path)) return createFileSink(path, interruptible);
  const bound = maxBytes === undefined ? {} : { maxBytes: compress === undefined ? maxBytes : compressBound(maxBytes) };
  return loadS3().then((store) => store.s3Sink({ ...s3, ...store.parseS3Url(path), ...bound, ...interruptible }));
}

/** What zstd makes of incompressible bytes, at most: 1/256 more, and the headers of the frames. */
const compressBound = (bytes: number): number => bytes + Math.ceil(bytes / 256) + 1024;
