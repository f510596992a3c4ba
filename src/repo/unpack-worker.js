// A thread that checks and decompresses frames and pages of archives (unpack.ts). JavaScript, as thread.ts tells.
// @ts-check

import { createHash } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import zstd from 'zstd-napi/binding.js';

/**
 * @typedef {object} UnpackTask
 * @property {ArrayBuffer} stored moved here and back
 * @property {number} start where in `stored` the bytes are
 * @property {number} bytes
 * @property {Uint8Array} hash the first bytes of the SHA-256 that they must have
 * @property {ArrayBuffer | null} raw moved here and back; as long as `rawBytes` or longer. null: only the hash is checked
 * @property {number} rawBytes
 * @property {Float64Array | null} records offsets and lengths (negative: zeros) of the records that must come out
 */

/**
 * @typedef {object} Unpacked
 * @property {ArrayBuffer} stored
 * @property {ArrayBuffer | null} raw
 * @property {string | null} failure what is wrong, as the end of a sentence
 */

const decompressor = new zstd.DCtx();

parentPort?.on('message', (/** @type {UnpackTask} */ task) => {
  const { stored, raw } = task;
  /** @type {Unpacked} */
  const result = { stored, raw, failure: failureOf(task) };
  parentPort?.postMessage(result, raw === null ? [stored] : [stored, raw]);
});

/** @param {UnpackTask} task */
function failureOf({ stored, start, bytes, hash, raw, rawBytes, records }) {
  const from = new Uint8Array(stored, start, bytes);
  const found = createHash('sha256').update(from).digest().subarray(0, hash.length);
  if (!found.equals(hash)) {
    return `its SHA-256 begins with ${found.toString('hex')}, not with ${Buffer.from(hash).toString('hex')}`;
  }
  if (raw === null) return null;
  const into = new Uint8Array(raw, 0, rawBytes);
  try {
    const size = zstd.getFrameContentSize(from);
    if (size !== rawBytes) return `decompressed it has ${size} bytes, not ${rawBytes}`;
    const produced = decompressor.decompress(into, from);
    if (produced !== rawBytes) return `decompressed it has ${produced} bytes, not ${rawBytes}`;
  } catch (error) {
    return `it cannot be decompressed: ${error instanceof Error ? error.message : String(error)}`;
  }
  return records === null ? null : recordFailure(into, records);
}

const headerBytes = 17;
const tags = { write: 0x77, zero: 0x7a };

/**
 * The records of a diff stream (formats/rbd-diff) must be those that the index tells.
 *
 * @param {Uint8Array} raw
 * @param {Float64Array} records
 */
function recordFailure(raw, records) {
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  /** @param {number} at */
  const u64 = (at) => view.getUint32(at + 4, true) * 2 ** 32 + view.getUint32(at, true);
  let at = 0;
  for (let i = 0; i < records.length; i += 2) {
    const offset = records[i] ?? 0;
    const signed = records[i + 1] ?? 0;
    const length = Math.abs(signed);
    if (at + headerBytes > raw.length) return `it ends inside record ${i / 2} of ${records.length / 2}`;
    const tag = signed < 0 ? tags.zero : tags.write;
    if (raw[at] !== tag || u64(at + 1) !== offset || u64(at + 9) !== length) {
      const what = `'${String.fromCharCode(raw[at] ?? 0)}' ${u64(at + 1)}~${u64(at + 9)}`;
      return `record ${i / 2} is ${what}; the index tells '${String.fromCharCode(tag)}' ${offset}~${length}`;
    }
    at += headerBytes + (signed < 0 ? 0 : length);
  }
  return at === raw.length ? null : `${raw.length - at} bytes are left over behind its last record`;
}
