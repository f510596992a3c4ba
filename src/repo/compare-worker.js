// A thread that compares blocks of an image with the digests that they should have. Spec: formats/archive/spec.md.
// JavaScript, as src/bytes/thread.ts tells.
// @ts-check

import { createHmac } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import { isZero } from '../bytes/zero-scan.js';

/**
 * @typedef {object} CompareTask
 * @property {Uint8Array} key
 * @property {ArrayBuffer} data whole blocks; moved here and back
 * @property {Uint8Array} digests 16 bytes for each block
 * @property {Uint8Array} expected for each block: 1 if it has the digest, 0 if it is to be zero
 */

/**
 * @typedef {object} Compared
 * @property {ArrayBuffer} data
 * @property {Uint8Array} differs for each block: 1 if it is not what it should be
 */

const blockBytes = 65536;
const digestBytes = 16;

parentPort?.on('message', (/** @type {CompareTask} */ { key, data, digests, expected }) => {
  const differs = expected.map((isData, i) => {
    const block = new Uint8Array(data, i * blockBytes, blockBytes);
    const zero = isZero(block);
    if (zero || isData === 0) return zero === (isData === 0) ? 0 : 1;
    const found = createHmac('sha256', key).update(block).digest();
    return found.compare(digests, i * digestBytes, (i + 1) * digestBytes, 0, digestBytes) === 0 ? 0 : 1;
  });
  parentPort?.postMessage({ data, differs }, [data]);
});
