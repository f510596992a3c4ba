// The object map of an image or snapshot. Spec: formats/object-map/spec.md

import { createRequire } from 'node:module';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { putU64, u64At } from './struct.ts';

export const limits = {
  /** RBD itself keeps no map of more objects. */
  objects: 256_000_000,
} as const;

/** States of an object, two bits each. */
export const NONEXISTENT = 0;
/** Exists, and was written since the snapshot before. */
export const EXISTS = 1;
/** Is being deleted; counts as data. */
export const PENDING = 2;
/** Exists, unchanged since the snapshot before. */
export const EXISTS_CLEAN = 3;

export type ObjectState = 0 | 1 | 2 | 3;

/** Each block of this many bytes of states has a checksum of its own. */
export const blockBytes = 4096;

/** States of `count` objects, four a byte; object 0 is in the top two bits of byte 0. */
export interface ObjectMap {
  count: number;
  /** `bytesFor(count)` bytes. */
  states: Uint8Array;
}

/** Bytes that the states of `count` objects take. */
export const bytesFor = (count: number): number => Math.ceil(count / 4);

/** Bytes from the start of the map to its states. */
export const statesAt = 18;

/** Bytes from the start of a map of `count` objects to the checksum of block `block`. */
export const blockCrcAt = (count: number, block: number): number => statesAt + bytesFor(count) + 12 + 4 * block;

/** State of object `index`, which must be less than the map's count. */
export const objectState = (states: Uint8Array, index: number): ObjectState =>
  (((states[index >> 2] ?? 0) >> (6 - 2 * (index & 3))) & 3) as ObjectState;

export const setObjectState = (states: Uint8Array, index: number, state: ObjectState): void => {
  const shift = 6 - 2 * (index & 3);
  states[index >> 2] = ((states[index >> 2] ?? 0) & ~(3 << shift)) | (state << shift);
};

/** Checksum of a block of states as the footer keeps it: CRC-32C that starts at 0 and is not inverted at the end. */
export const blockCrc = (block: Uint8Array): number => rawCrc(block, 0);

/**
 * Checks a map (all checksums that it has) and gives its states as a view of `bytes`. What follows the footer is
 * ignored. Throws `corrupt` for one that is truncated or damaged, `tooLarge` for a count past the limit.
 */
export const decodeObjectMap = (bytes: Uint8Array): ObjectMap => {
  const map = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const need = (end: number, what: string) => {
    if (end > map.length) throw damaged(`it ends at byte ${map.length} inside ${what}, which takes until ${end}`);
  };
  need(statesAt, 'the header');
  const headerBytes = map.readUInt32LE(0);
  const [version, compat, length] = [map[4], map[5] ?? 0, map.readUInt32LE(6)];
  if (compat > 1) {
    throw new RbdeltaError(
      'unsupported',
      `the object map is of version ${version}, which needs a reader of version ${compat}`,
    );
  }
  // a newer version may have put fields behind the count
  if (headerBytes < 14 || length + 6 !== headerBytes) {
    throw damaged(`its header says ${headerBytes} bytes outside and ${length} inside, where 14 and 8 are expected`);
  }
  const count = u64At(map, 10);
  if (count > limits.objects) {
    const message = `the object map says it has ${map.readBigUInt64LE(10)} objects; ${limits.objects} is the most`;
    throw new RbdeltaError('tooLarge', message);
  }
  const start = 4 + headerBytes;
  const end = start + bytesFor(count);
  need(end + 4, `the states of ${count} objects`);
  const states = map.subarray(start, end);
  const footerBytes = map.readUInt32LE(end);
  if (footerBytes > 0) {
    need(end + 4 + footerBytes, 'the footer');
    checkFooter(map.subarray(4, start), states, map.subarray(end + 4, end + 4 + footerBytes));
  }
  return { count, states };
};

/** A whole map with all its checksums; `states` has at least `bytesFor(count)` bytes. */
export const encodeObjectMap = (count: number, states: Uint8Array): Buffer => {
  const stateBytes = bytesFor(count);
  const blocks = Math.ceil(stateBytes / blockBytes);
  const map = Buffer.alloc(blockCrcAt(count, blocks));
  map.writeUInt32LE(14, 0);
  map.writeUInt8(1, 4);
  map.writeUInt8(1, 5);
  map.writeUInt32LE(8, 6);
  putU64(map, count, 10);
  map.set(states.subarray(0, stateBytes), statesAt);
  const footerAt = statesAt + stateBytes;
  map.writeUInt32LE(8 + 4 * blocks, footerAt);
  map.writeUInt32LE(rawCrc(map.subarray(4, statesAt), 0), footerAt + 4);
  map.writeUInt32LE(blocks, footerAt + 8);
  for (let block = 0; block < blocks; block++) {
    const at = statesAt + block * blockBytes;
    const part = map.subarray(at, Math.min(at + blockBytes, footerAt));
    map.writeUInt32LE(rawCrc(part, 0), blockCrcAt(count, block));
  }
  return map;
};

const damaged = (how: string): RbdeltaError =>
  new RbdeltaError('corrupt', `the object map is damaged: ${how}`, { hint: 'rbdelta object-map rebuild' });

const checkFooter = (header: Buffer, states: Buffer, footer: Buffer): void => {
  const blocks = Math.ceil(states.length / blockBytes);
  if (footer.length < 8 + 4 * blocks || footer.readUInt32LE(4) !== blocks) {
    throw damaged(`its footer of ${counted(footer.length, 'byte')} is not that of ${counted(blocks, 'block')}`);
  }
  if (footer.readUInt32LE(0) !== rawCrc(header, 0)) throw damaged('the checksum of its header does not match');
  for (let first = 0; first < blocks; first += runBlocks) {
    const last = Math.min(first + runBlocks, blocks);
    checkRun(states, footer, first, last);
  }
};

/** How many blocks are checked with one call. */
const runBlocks = 256;

/**
 * Checks blocks [first, last). A call into native code costs as much as the checksum of a block, so it is made once
 * a run: this CRC is linear, so the sum of a run follows from those of its blocks.
 */
const checkRun = (states: Buffer, footer: Buffer, first: number, last: number): void => {
  const end = Math.min(last * blockBytes, states.length);
  const tail = end - (last - 1) * blockBytes;
  let expected = 0;
  for (let block = first; block < last; block++) {
    const shifted =
      block === last - 1 && tail < blockBytes ? rawCrc(zeroBlock.subarray(0, tail), expected) : shiftBlock(expected);
    expected = (shifted ^ footer.readUInt32LE(8 + 4 * block)) >>> 0;
  }
  if (rawCrc(states.subarray(first * blockBytes, end), 0) === expected) return;
  for (let block = first; block < last; block++) {
    const part = states.subarray(block * blockBytes, Math.min((block + 1) * blockBytes, end));
    if (rawCrc(part, 0) !== footer.readUInt32LE(8 + 4 * block)) {
      throw damaged(`the checksum of its block ${block} (objects from ${block * blockBytes * 4}) does not match`);
    }
  }
};

const zeroBlock = Buffer.alloc(blockBytes);

type Crc32c = typeof import('@node-rs/crc32').crc32c;

/** Loaded when a map is there to be checked: most commands need none, and every start counts. */
let crc32c: Crc32c | undefined;

/** CRC-32C without the usual inversions: of `bytes`, going on from `crc`. */
const rawCrc = (bytes: Uint8Array, crc: number): number => {
  crc32c ??= (createRequire(import.meta.url)('@node-rs/crc32') as { crc32c: Crc32c }).crc32c;
  return ~crc32c(bytes as Buffer, ~crc >>> 0) >>> 0;
};

let shiftTables: Uint32Array | undefined;

/** What a checksum becomes when a block of zeros follows: linear as well, so one table for each of its four bytes. */
const shiftBlock = (crc: number): number => {
  shiftTables ??= makeShiftTables();
  const table = shiftTables;
  return (
    ((table[crc & 255] ?? 0) ^
      (table[256 + ((crc >>> 8) & 255)] ?? 0) ^
      (table[512 + ((crc >>> 16) & 255)] ?? 0) ^
      (table[768 + (crc >>> 24)] ?? 0)) >>>
    0
  );
};

const makeShiftTables = (): Uint32Array => {
  const tables = new Uint32Array(1024);
  for (let byte = 0; byte < 4; byte++) {
    for (let bit = 0; bit < 8; bit++) {
      const one = rawCrc(zeroBlock, (1 << (8 * byte + bit)) >>> 0);
      // every value with this top bit is the value without it, plus the bit
      for (let value = 1 << bit; value < 2 << bit; value++) {
        tables[256 * byte + value] = (tables[256 * byte + value - (1 << bit)] ?? 0) ^ one;
      }
    }
  }
  return tables;
};
