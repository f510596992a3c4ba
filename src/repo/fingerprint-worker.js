// A thread that sums what blocks add to a fingerprint (chain-fingerprint.ts). Spec: formats/archive/spec.md. JavaScript,
// as src/bytes/thread.ts tells.
// @ts-check

import { createHmac } from 'node:crypto';
import { parentPort } from 'node:worker_threads';

/**
 * @typedef {object} SumTask
 * @property {Uint8Array} key
 * @property {Float64Array} blocks at most 65536
 * @property {Uint8Array} digests 16 bytes for each
 */

parentPort?.on('message', (/** @type {SumTask} */ task) => parentPort?.postMessage(sumOf(task)));

/** @param {SumTask} task */
function sumOf({ key, blocks, digests }) {
  const element = Buffer.alloc(5 + 8 + 16, 'state');
  // Each word of 32 bits apart: so many of them add up exactly, carries come last.
  const words = new Float64Array(8);
  blocks.forEach((block, i) => {
    element.writeUInt32LE(block % 2 ** 32, 5);
    element.writeUInt32LE(Math.floor(block / 2 ** 32), 9);
    element.set(digests.subarray(16 * i, 16 * i + 16), 13);
    const value = createHmac('sha256', key).update(element).digest();
    for (let word = 0; word < 8; word++) words[word] = (words[word] ?? 0) + value.readUInt32LE(4 * word);
  });
  const sum = new Uint8Array(32);
  const view = new DataView(sum.buffer);
  let carry = 0;
  words.forEach((word, i) => {
    const value = word + carry;
    carry = Math.floor(value / 2 ** 32);
    view.setUint32(4 * i, value % 2 ** 32, true);
  });
  return sum;
}
