// Runs in a thread of the pool of zstd.ts: one frame in, one frame out.

import { Tinypool } from 'tinypool';
import zstd from 'zstd-napi/binding.js';

export interface CompressTask {
  /** Moved here and back, so that it can be used again. */
  input: ArrayBuffer;
  /** How many bytes of it are to be compressed. */
  length: number;
  level: number;
}

export interface CompressedFrame {
  input: ArrayBuffer;
  output: ArrayBuffer;
}

let context: { compressor: zstd.CCtx; level: number } | null = null;
let scratch = Buffer.alloc(0);

export default function compressFrame(task: CompressTask): unknown {
  if (context?.level !== task.level) {
    const compressor = new zstd.CCtx();
    compressor.setParameter(zstd.CParameter.compressionLevel, task.level);
    compressor.setParameter(zstd.CParameter.checksumFlag, 1);
    context = { compressor, level: task.level };
  }
  const bound = zstd.compressBound(task.length);
  if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
  const length = context.compressor.compress2(scratch, new Uint8Array(task.input, 0, task.length));
  const output = new Uint8Array(scratch.subarray(0, length)).buffer;
  const frame: CompressedFrame = { input: task.input, output };
  return Tinypool.move({
    [Tinypool.transferableSymbol]: [frame.input, frame.output],
    [Tinypool.valueSymbol]: frame,
  } as never);
}
