// A path of the command line as a stream: `-` is stdin or stdout, `s3://bucket/key` an object, the rest a file.

import { rateLimitedSink, rateLimitedSource } from '../bytes/rate.ts';
import { createFileSink, fdSink, type ByteSink } from '../bytes/sink.ts';
import { fdSource, fileSource, type ByteSource } from '../bytes/source.ts';
import { printable } from '../bytes/text.ts';
import { autoDecompress, checkLevel, zstdSink } from '../bytes/zstd.ts';
import { RbdeltaError } from '../error.ts';
import type { S3Options } from '../store/s3-client.ts';

export interface PathOptions {
  /** Bytes per second that pass the file, pipe or connection: compressed ones where there is compression. */
  maxRate?: number;
  s3?: S3Options;
  /** Aborting makes what waits reject as `interrupted`. */
  signal?: AbortSignal;
}

export interface SinkOptions extends PathOptions {
  /** What the stream will not exceed, before compression; decides the size of the parts of an object in S3. */
  maxBytes?: number;
  /** zstd with this level; see `parseCompress`. */
  compress?: number;
}

/** Opens what is there, decompressed if it is zstd. */
export async function openSource(path: string, options: PathOptions = {}): Promise<ByteSource> {
  const source = await openRaw(path, options);
  try {
    return await autoDecompress(options.maxRate === undefined ? source : rateLimitedSource(source, options.maxRate));
  } catch (error) {
    await source.close();
    throw error;
  }
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
