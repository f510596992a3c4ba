// A thread of zstdSink (zstd.ts): one frame in, one frame out. JavaScript, as thread.ts tells.
// @ts-check

import { parentPort } from 'node:worker_threads';
import zstd from 'zstd-napi/binding.js';

/**
 * @typedef {object} CompressTask
 * @property {ArrayBuffer} input moved here and back, so that it can be used again
 * @property {number} length how many bytes of it are to be compressed
 * @property {number} level
 */

/** @typedef {{ input: ArrayBuffer, output: ArrayBuffer }} CompressedFrame */

const compressor = new zstd.CCtx();
compressor.setParameter(zstd.CParameter.checksumFlag, 1);
let scratch = Buffer.alloc(0);

parentPort?.on('message', (/** @type {CompressTask} */ { input, length, level }) => {
  compressor.setParameter(zstd.CParameter.compressionLevel, level);
  const bound = zstd.compressBound(length);
  if (scratch.length < bound) scratch = Buffer.allocUnsafeSlow(bound);
  const packed = compressor.compress2(scratch, new Uint8Array(input, 0, length));
  const output = new Uint8Array(scratch.subarray(0, packed)).buffer;
  /** @type {CompressedFrame} */
  const frame = { input, output };
  parentPort?.postMessage(frame, [input, output]);
});
