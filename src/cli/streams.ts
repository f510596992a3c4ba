// Where a command's stream comes from and where it goes: the path, and the options that shape the way.

import { open } from 'node:fs/promises';
import type { ByteSink } from '../bytes/sink.ts';
import type { ByteSource } from '../bytes/source.ts';
import { createSink, mayBeZstd, openSource, parseCompress } from '../ops/path.ts';
import { usage } from './args.ts';
import type { Call } from './command.ts';
import { s3From } from './s3.ts';
import { countFrom, rateFrom, sizeFrom } from './values.ts';

/** Reads the options now, and makes the sink when it is called: with the most bytes that will be written. */
export function sinkAt(call: Call, path: string): (maxBytes: number) => Promise<ByteSink> {
  const compress = call.args.text('compress');
  const options = {
    signal: call.signal,
    s3: s3From(call),
    ...(compress === null ? {} : { compress: parseCompress(compress) }),
    ...rate(call),
  };
  return (maxBytes) => createSink(path, { ...options, maxBytes });
}

/** Reads the options now, and opens the source when it is called. `raw`: see SourceOptions. */
export function sourceAt(call: Call, path: string, { raw = false } = {}): () => Promise<ByteSource> {
  const options = { signal: call.signal, s3: s3From(call), raw, onNotice: call.notice, ...rate(call) };
  return () => openSource(path, options);
}

const rate = ({ args }: Call): { maxRate?: number } => {
  const maxRate = args.value('max-rate', rateFrom);
  return maxRate === null ? {} : { maxRate };
};

export const queueDepth = ({ args }: Call): { queueDepth?: number } => {
  const depth = args.value('queue-depth', countFrom);
  return depth === null ? {} : { queueDepth: depth };
};

export const sparseBytes = ({ args }: Call): { sparseBytes?: number } => {
  const bytes = args.value('sparse-size', sizeFrom);
  return bytes === null ? {} : { sparseBytes: bytes };
};

/** Bytes that a path will give; null where that cannot be known before: pipes, stores, what is compressed. */
export async function lengthOf(path: string, { raw = false } = {}): Promise<number | null> {
  if (path === '-' || path.startsWith('s3://')) return null;
  const file = await open(path).catch(() => null);
  if (file === null) return null;
  try {
    const found = await file.stat();
    if (!found.isFile()) return null;
    if (!mayBeZstd(path, raw)) return found.size;
    const { buffer, bytesRead } = await file.read(Buffer.alloc(4), 0, 4, 0);
    const { beginsAsZstd } = await import('../bytes/zstd.ts');
    return beginsAsZstd(buffer.subarray(0, bytesRead)) ? null : found.size;
  } catch {
    return null;
  } finally {
    await file.close();
  }
}

/** Whether a result is to be printed as json, which must not get into a stream on the same descriptor. */
export function printsResult({ args }: Call, path: string | null): boolean {
  if (args.has('json') && path === '-') throw usage('--json and a stream cannot both go to standard output');
  return args.has('json');
}
