// The header object of an RBD image of format 1: one packed block of bytes. Spec: formats/rbd-header/spec.md

import { counted, nameFromBytes } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { u64At } from './struct.ts';

/** What `<image>.rbd` says. A format 1 image has no features, flags, object map, parent or times. */
export interface HeaderV1 {
  /** Prefix of the data objects, as `rb.0.1d50.6b8b4567`. */
  blockName: string;
  order: number;
  size: number;
  snapSeq: number;
  /** By rising id. */
  snapshots: { id: number; name: string; size: number }[];
}

const text = '<<< Rados Block Device Image >>>\n';
const migratingText = '<<< Migrating RBD Image';
const fixedBytes = 0x70;

/** `corrupt` when it is damaged, `unsupported` while the image is being migrated. */
export const decodeHeaderV1 = (bytes: Uint8Array): HeaderV1 => {
  const header = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (header.toString('latin1', 0, migratingText.length) === migratingText) {
    throw new RbdeltaError('unsupported', 'the image is being migrated: its header has moved', {
      hint: 'finish or abort the migration first (rbd migration)',
    });
  }
  if (header.length < fixedBytes) {
    throw damaged(`it has ${counted(header.length, 'byte')}, where ${fixedBytes} are the least`);
  }
  if (header.toString('latin1', 0, text.length) !== text || header.toString('latin1', 0x40, 0x44) !== 'RBD\0') {
    throw damaged('it does not begin as one');
  }
  const count = header.readUInt32LE(0x60);
  const namesAt = fixedBytes + 16 * count;
  const nameBytes = number(header, 0x68);
  if (namesAt + nameBytes > header.length) {
    throw damaged(`${count} snapshots with names of ${nameBytes} bytes do not fit into its ${header.length} bytes`);
  }
  const snapshots = [];
  let at = namesAt;
  for (let index = 0; index < count; index++) {
    const end = header.indexOf(0, at);
    if (end < 0 || end >= namesAt + nameBytes)
      throw damaged(`the name of snapshot ${index + 1} of ${count} has no end`);
    const entry = fixedBytes + 16 * index;
    snapshots.push({
      id: number(header, entry),
      name: nameFromBytes(header.subarray(at, end)),
      size: number(header, entry + 8),
    });
    at = end + 1;
  }
  const blockName = header.subarray(0x28, 0x40);
  const blockNameEnd = blockName.indexOf(0);
  return {
    blockName: blockName.toString('latin1', 0, blockNameEnd < 0 ? blockName.length : blockNameEnd),
    order: header.readUInt8(0x4c),
    size: number(header, 0x50),
    snapSeq: number(header, 0x58),
    snapshots: snapshots.sort((a, b) => a.id - b.id),
  };
};

const number = (header: Buffer, at: number): number => {
  const value = u64At(header, at);
  if (value > Number.MAX_SAFE_INTEGER) throw damaged(`the number at byte ${at} is past 2^53 - 1`);
  return value;
};

const damaged = (how: string): RbdeltaError =>
  new RbdeltaError('corrupt', `the header of the format 1 image is damaged: ${how}`);
