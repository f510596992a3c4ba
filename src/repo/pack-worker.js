// A thread of Packer (packer.ts): blocks of an image become digests, records and a stored frame, while they are in the
// cache. Spec: formats/archive/spec.md. JavaScript, as src/bytes/thread.ts tells.
// @ts-check

import { Buffer } from 'node:buffer';
import { createHash, createHmac } from 'node:crypto';
import { parentPort } from 'node:worker_threads';
import zstd from 'zstd-napi/binding.js';
import { isZero, zeroRuns } from '../bytes/zero-scan.js';

/**
 * @typedef {object} PackMessage
 * @property {ArrayBuffer} data the spans, one behind the other; moved here and back
 * @property {Float64Array} spans offset, length pairs: whole blocks, but for the last one of the image
 * @property {Float64Array} changes offset, length pairs, the length of zeros negative; each is inside a span, or zeros of
 *   whole blocks outside all spans
 * @property {{ blocks: Float64Array, digests: Uint8Array }} old the touched blocks that were not zero before; others were
 * @property {boolean} trim
 * @property {boolean} dropZeros
 * @property {number} level
 * @property {Uint8Array} key
 */

/** @typedef {{ raw: Uint8Array, level: number }} CompressMessage */

/** @typedef {{ bytes: Uint8Array<ArrayBuffer>, rawBytes: number, hash: Uint8Array }} Stored */

/**
 * @typedef {object} PackResult
 * @property {Uint8Array<ArrayBuffer> | null} bytes
 * @property {number} rawBytes
 * @property {Uint8Array} hash
 * @property {Float64Array} records
 * @property {Float64Array} runs
 * @property {Uint8Array} digests
 * @property {Uint8Array} sum
 * @property {number} dataBytes
 * @property {number} zeroBytes
 * @property {ArrayBuffer} data
 */

const blockBytes = 65536;
/** What a run of zeros is made of, aligned to the image. */
const zeroBlockBytes = 4096;
const digestBytes = 16;
const recordBytes = 17;
/** The longest payload and the most records of a frame. */
const rawLimit = (4 << 20) + 16384 * recordBytes;
const writeTag = 0x77;
const zeroTag = 0x7a;

/** ZSTD_c_blockSplitterLevel of libzstd 1.5.7, which the binding has no name for. */
const blockSplitterLevel = /** @type {import('zstd-napi/binding.js').CParameter} */ (1017);

const compressor = new zstd.CCtx();
compressor.setParameter(zstd.CParameter.checksumFlag, 1);
let packedScratch = Buffer.alloc(0);
const raw = Buffer.allocUnsafeSlow(rawLimit);

parentPort?.on('message', (/** @type {PackMessage | CompressMessage} */ message) => {
  if ('raw' in message) {
    const stored = compress(message.raw, message.level);
    parentPort?.postMessage(stored, [stored.bytes.buffer]);
    return;
  }
  const result = pack(message);
  parentPort?.postMessage(result, result.bytes === null ? [result.data] : [result.data, result.bytes.buffer]);
});

/**
 * Frames of 4 MiB cannot refer to each other, and the index takes its share. What makes up for that at the usual level, in
 * no more time: tables that fit the frame, matches of four bytes, and blocks that are split where their content changes.
 * @param {number} level
 */
function setLevel(level) {
  const isUsual = level === 3;
  compressor.setParameter(zstd.CParameter.compressionLevel, level);
  compressor.setParameter(zstd.CParameter.hashLog, isUsual ? 19 : 0);
  compressor.setParameter(zstd.CParameter.chainLog, isUsual ? 17 : 0);
  compressor.setParameter(zstd.CParameter.minMatch, isUsual ? 4 : 0);
  compressor.setParameter(blockSplitterLevel, isUsual ? 4 : 0);
}

/**
 * A frame of its own, with content size and checksum.
 * @param {Uint8Array} bytes
 * @param {number} level
 * @returns {Stored}
 */
function compress(bytes, level) {
  setLevel(level);
  const bound = zstd.compressBound(bytes.length);
  if (packedScratch.length < bound) packedScratch = Buffer.allocUnsafeSlow(bound);
  const length = compressor.compress2(packedScratch, bytes);
  const stored = new Uint8Array(packedScratch.subarray(0, length));
  const hash = new Uint8Array(createHash('sha256').update(stored).digest().subarray(0, 16));
  return { bytes: stored, rawBytes: bytes.length, hash };
}

/**
 * @param {PackMessage} task
 * @returns {PackResult}
 */
function pack(task) {
  const { spans, changes, key, trim } = task;
  const data = new Uint8Array(task.data);
  const records = new Records();
  const runs = new Runs();
  const old = new OldBlocks(task.old.blocks, task.old.digests);
  const sum = new Sum(key);
  /** Zeros need no record where the block was zero before. */
  const dropsZeros = trim || task.dropZeros;
  let change = 0;
  let at = 0;

  /** @param {number} border */
  const zerosBefore = (border) => {
    for (; change < changes.length && number(changes, change) < border; change += 2) {
      const offset = number(changes, change);
      const length = -number(changes, change + 1);
      if (length <= 0 || offset % blockBytes !== 0) throw new Error(`the change at ${offset} is outside the spans`);
      const end = offset + length;
      const first = offset / blockBytes;
      const endBlock = Math.ceil(end / blockBytes);
      if (!dropsZeros) {
        records.zero(offset, end);
        runs.zeros(first, endBlock - first);
        continue;
      }
      for (const block of old.between(first, endBlock)) {
        records.zero(block * blockBytes, Math.min((block + 1) * blockBytes, end));
        runs.zeros(block, 1);
      }
    }
  };

  for (let span = 0; span < spans.length; span += 2) {
    const spanEnd = number(spans, span) + number(spans, span + 1);
    zerosBefore(number(spans, span));
    for (let offset = number(spans, span); offset < spanEnd; offset += blockBytes) {
      const end = Math.min(offset + blockBytes, spanEnd);
      const bytes = data.subarray(at, at + end - offset);
      if (bytes.length < end - offset) throw new Error(`the data of a task ends ${end - offset} bytes early`);
      at += bytes.length;

      const block = offset / blockBytes;
      const digest = isZero(bytes) ? null : digestOf(key, bytes);
      const before = old.indexOf(block);
      const isSame = digest === null ? before < 0 : before >= 0 && old.isDigest(before, digest);
      const isTouched = change < changes.length && number(changes, change) < end;
      if (isSame && digest !== null) old.keep(before);
      else if (digest !== null) sum.add(block, digest);

      const keepsZeros = before >= 0 || !dropsZeros;
      const isTold = !isSame || (!trim && isTouched && (digest !== null || keepsZeros));
      // A block that nobody named and that is another one (the end of an image that shrank) is told whole. So is one
      // that was zeros: what no change names of it is to be zeros, and costs nothing then.
      const isWhole = !isTouched || (!keepsZeros && !isSame);
      /** @param {number} from @param {number} to */
      const tell = (from, to) => {
        if (digest === null) {
          if (keepsZeros) records.zero(from, to);
          return;
        }
        const part = bytes.subarray(from - offset, to - offset);
        zeroRuns(part, from, zeroBlockBytes, (start, stop, zero) => {
          if (!zero) records.write(from + start, part.subarray(start, stop));
          else if (keepsZeros) records.zero(from + start, from + stop);
        });
      };
      if (isTold && isWhole) tell(offset, end);
      while (change < changes.length && number(changes, change) < end) {
        const changeEnd = number(changes, change) + Math.abs(number(changes, change + 1));
        if (changeEnd > spanEnd)
          throw new Error(`the change at ${changes[change]} ends outside the span to ${spanEnd}`);
        if (isTold && !isWhole) tell(Math.max(offset, number(changes, change)), Math.min(end, changeEnd));
        if (changeEnd > end) break;
        change += 2;
      }
      if (!isTold) continue;
      if (digest === null) runs.zeros(block, 1);
      else runs.data(block, digest);
    }
  }
  zerosBefore(Infinity);
  for (const index of old.gone()) sum.subtract(old.block(index), old.digest(index));

  const isEmpty = records.list.length === 0;
  const stored = isEmpty ? null : compress(raw.subarray(0, records.filled), task.level);
  return {
    bytes: stored?.bytes ?? null,
    rawBytes: stored?.rawBytes ?? 0,
    hash: stored?.hash ?? new Uint8Array(16),
    records: Float64Array.from(records.list),
    runs: Float64Array.from(isEmpty ? [] : runs.list),
    digests: new Uint8Array(isEmpty ? [] : Buffer.concat(runs.digests)),
    sum: sum.bytes(),
    dataBytes: records.dataBytes,
    zeroBytes: records.zeroBytes,
    data: task.data,
  };
}

/** The records of the frame, gathered in `raw`; those that continue the one before lengthen it. */
class Records {
  /** @type {number[]} offset, length pairs, the length of zeros negative */
  list = [];
  filled = 0;
  dataBytes = 0;
  zeroBytes = 0;
  #end = -1;
  #tag = 0;
  #lengthAt = 0;

  /** @param {number} offset @param {Uint8Array} bytes */
  write(offset, bytes) {
    this.#add(writeTag, offset, bytes.length, bytes.length);
    raw.set(bytes, this.filled);
    this.filled += bytes.length;
    this.dataBytes += bytes.length;
  }

  /** @param {number} offset @param {number} end */
  zero(offset, end) {
    this.#add(zeroTag, offset, end - offset, 0);
    this.zeroBytes += end - offset;
  }

  /** @param {number} tag @param {number} offset @param {number} length @param {number} payloadBytes */
  #add(tag, offset, length, payloadBytes) {
    if (this.filled + recordBytes + payloadBytes > rawLimit) throw new Error('a task is more than a frame may hold');
    const last = this.list.length - 1;
    if (tag === this.#tag && offset === this.#end) {
      const whole = Math.abs(this.list[last] ?? 0) + length;
      this.list[last] = tag === zeroTag ? -whole : whole;
      putU64(whole, this.#lengthAt);
    } else {
      raw[this.filled] = tag;
      putU64(offset, this.filled + 1);
      putU64(length, this.filled + 9);
      this.#lengthAt = this.filled + 9;
      this.#tag = tag;
      this.filled += recordBytes;
      this.list.push(offset, tag === zeroTag ? -length : length);
    }
    this.#end = offset + length;
  }
}

/** What the blocks are now. */
class Runs {
  /** @type {number[]} first block, count pairs, the count of zero blocks negative */
  list = [];
  /** @type {Buffer[]} */
  digests = [];

  /** @param {number} block @param {number} count */
  zeros(block, count) {
    const [first, length] = this.#last();
    if (length < 0 && first - length === block) this.list[this.list.length - 1] = length - count;
    else this.list.push(block, -count);
  }

  /** @param {number} block @param {Buffer} digest */
  data(block, digest) {
    const [first, length] = this.#last();
    if (length > 0 && first + length === block) this.list[this.list.length - 1] = length + 1;
    else this.list.push(block, 1);
    this.digests.push(digest);
  }

  /** @returns {[number, number]} */
  #last() {
    return [this.list[this.list.length - 2] ?? 0, this.list[this.list.length - 1] ?? 0];
  }
}

/** The blocks before; asked about in rising order. */
class OldBlocks {
  #blocks;
  #digests;
  #next = 0;
  /** @type {Uint8Array} 1: is what it was */
  #kept;

  /** @param {Float64Array} blocks @param {Uint8Array} digests */
  constructor(blocks, digests) {
    if (digests.length !== blocks.length * digestBytes) throw new Error('not a digest for each old block');
    this.#blocks = blocks;
    this.#digests = Buffer.from(digests.buffer, digests.byteOffset, digests.length);
    this.#kept = new Uint8Array(blocks.length);
  }

  /** @param {number} block @returns {number} -1 where it was zero */
  indexOf(block) {
    while (this.#next < this.#blocks.length && number(this.#blocks, this.#next) < block) this.#next += 1;
    return this.#blocks[this.#next] === block ? this.#next : -1;
  }

  /** @param {number} first @param {number} end */
  *between(first, end) {
    this.indexOf(first);
    for (; this.#next < this.#blocks.length && number(this.#blocks, this.#next) < end; this.#next += 1) {
      yield number(this.#blocks, this.#next);
    }
  }

  /** @param {number} index */
  block(index) {
    return number(this.#blocks, index);
  }

  /** @param {number} index */
  digest(index) {
    return this.#digests.subarray(index * digestBytes, (index + 1) * digestBytes);
  }

  /** @param {number} index @param {Buffer} digest */
  isDigest(index, digest) {
    return this.#digests.compare(digest, 0, digestBytes, index * digestBytes, (index + 1) * digestBytes) === 0;
  }

  /** @param {number} index */
  keep(index) {
    this.#kept[index] = 1;
  }

  *gone() {
    for (let index = 0; index < this.#blocks.length; index++) if (this.#kept[index] === 0) yield index;
  }
}

const zeroBlock = Buffer.alloc(blockBytes);

/** @param {Uint8Array} key @param {Uint8Array} bytes of a block that may be cut by the end of the image */
function digestOf(key, bytes) {
  const hmac = createHmac('sha256', key).update(bytes);
  if (bytes.length < blockBytes) hmac.update(zeroBlock.subarray(bytes.length));
  return hmac.digest().subarray(0, digestBytes);
}

/** New elements minus old ones, modulo 2^256. The eight words carry at the end: 2^20 elements are far from 2^53. */
class Sum {
  #key;
  #words = new Float64Array(8);
  #element = Buffer.alloc(29, 'state');

  /** @param {Uint8Array} key */
  constructor(key) {
    this.#key = key;
  }

  /** @param {number} block @param {Buffer} digest */
  add(block, digest) {
    this.#change(block, digest, 1);
  }

  /** @param {number} block @param {Buffer} digest */
  subtract(block, digest) {
    this.#change(block, digest, -1);
  }

  bytes() {
    const bytes = Buffer.alloc(32);
    let carry = 0;
    this.#words.forEach((word, i) => {
      const value = word + carry;
      carry = Math.floor(value / 2 ** 32);
      bytes.writeUInt32LE(value - carry * 2 ** 32, 4 * i);
    });
    return new Uint8Array(bytes);
  }

  /** @param {number} block @param {Buffer} digest @param {1 | -1} sign */
  #change(block, digest, sign) {
    this.#element.writeUInt32LE(block % 2 ** 32, 5);
    this.#element.writeUInt32LE(Math.floor(block / 2 ** 32), 9);
    this.#element.set(digest, 13);
    const value = createHmac('sha256', this.#key).update(this.#element).digest();
    for (let i = 0; i < 8; i++) this.#words[i] = number(this.#words, i) + sign * value.readUInt32LE(4 * i);
  }
}

/** @param {number} value @param {number} at in `raw` */
function putU64(value, at) {
  raw.writeUInt32LE(value % 2 ** 32, at);
  raw.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

/** @param {Float64Array} values @param {number} index */
const number = (values, index) => values[index] ?? 0;
