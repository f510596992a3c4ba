// The thread of autoDecompress (zstd.ts): keeps the state of one zstd stream. JavaScript, as thread.ts tells.
// @ts-check

import { parentPort } from 'node:worker_threads';
import zstd from 'zstd-napi/binding.js';

/**
 * @typedef {object} DecompressStep
 * @property {ArrayBuffer} input moved here and back, as `output`
 * @property {ArrayBuffer} output
 * @property {number} start the bytes of `input` that are still to be read
 * @property {number} end
 * @property {number} windowLog the largest window that a frame may ask for
 */

/**
 * @typedef {object} DecompressResult
 * @property {ArrayBuffer} input
 * @property {ArrayBuffer} output
 * @property {number} consumed
 * @property {number} produced
 * @property {boolean} betweenFrames whether everything so far was whole frames
 * @property {string | null} failure libzstd's name for what is wrong
 */

const decompressor = new zstd.DCtx();
let started = false;
let betweenFrames = true;

parentPort?.on('message', (/** @type {DecompressStep} */ { input, output, start, end, windowLog }) => {
  const from = new Uint8Array(input, start, end - start);
  const into = new Uint8Array(output);
  let consumed = 0;
  let produced = 0;
  let failure = null;
  try {
    // Only before the first frame: libzstd refuses it inside one.
    if (!started) decompressor.setParameter(zstd.DParameter.windowLogMax, windowLog);
    started = true;
    do {
      const [hint, written, read] = decompressor.decompressStream(into.subarray(produced), from.subarray(consumed));
      produced += written;
      consumed += read;
      // A call that could do nothing says nothing about where the stream stands.
      if (written > 0 || read > 0) betweenFrames = hint === 0;
    } while (produced < into.length && consumed < from.length);
  } catch (error) {
    failure = error instanceof Error ? error.message : String(error);
  }
  /** @type {DecompressResult} */
  const result = { input, output, consumed, produced, betweenFrames, failure };
  parentPort?.postMessage(result, [input, output]);
});
