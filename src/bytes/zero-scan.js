// Which bytes are zero: a glance at the first bytes of a block, then memcmp against zeros, which stops where they differ.
// JavaScript, since threads scan as well (thread.ts tells why); for everybody else it is zero.ts.
// @ts-check

import { Buffer } from 'node:buffer';

/**
 * Whether every byte is 0.
 * @param {Uint8Array} bytes
 * @returns {boolean}
 */
export function isZero(bytes) {
  return isZeroBetween(bytes, 0, bytes.length);
}

/**
 * Splits `bytes`, which lie at `startOffset` of the image, into runs that are zero and runs that are not, both in units
 * of blocks of `blockBytes` aligned to the image (the first and the last may be cut by the ends of `bytes`). `emit` gets
 * the runs in order, without gaps, neighbours always of different kind; `start` and `end` count from the first byte.
 * @param {Uint8Array} bytes
 * @param {number} startOffset
 * @param {number} blockBytes
 * @param {(start: number, end: number, zero: boolean) => void} emit
 */
export function zeroRuns(bytes, startOffset, blockBytes, emit) {
  let runStart = 0;
  let runZero = false;
  let blockEnd = blockBytes - (startOffset % blockBytes);
  for (let start = 0; start < bytes.length; start = blockEnd, blockEnd += blockBytes) {
    const zero = isZeroBetween(bytes, start, Math.min(blockEnd, bytes.length));
    if (zero === runZero) continue;
    if (start > runStart) emit(runStart, start, runZero);
    runStart = start;
    runZero = zero;
  }
  if (bytes.length > runStart) emit(runStart, bytes.length, runZero);
}

const zeros = Buffer.alloc(64 << 10);

/** Most blocks that are not zero show it at once: looking there first saves the call, which costs more than the look. */
const glanceBytes = 8;

/**
 * @param {Uint8Array} bytes
 * @param {number} start
 * @param {number} end
 */
function isZeroBetween(bytes, start, end) {
  let at = start;
  for (const glanced = Math.min(start + glanceBytes, end); at < glanced; at++) if (bytes[at] !== 0) return false;
  for (; at < end; at += zeros.length) {
    const length = Math.min(zeros.length, end - at);
    if (zeros.compare(bytes, at, at + length, 0, length) !== 0) return false;
  }
  return true;
}
