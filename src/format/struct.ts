// Ceph's encoding of values: little endian, packed; strings, times, optionals, versioned envelopes. Spec: formats/rbd-header/spec.md

import { counted, nameFromBytes, nameToBytes } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';

/** One encoded value: what `decode` takes is what `encode` gives, byte for byte, for the current version of the value. */
export interface Codec<T> {
  /** Throws `corrupt` when the bytes are not such a value, `unsupported` when it is of a version that cannot be read. */
  decode(bytes: Uint8Array): T;
  encode(value: T): Buffer;
}

/** A codec from its two halves; `what` names the value in messages. Bytes that `read` leaves over are damage. */
export const codec = <T>(
  what: string,
  read: (from: StructReader) => T,
  write: (to: StructWriter, value: T) => void,
): Codec<T> => ({
  decode: (bytes) => {
    const from = new StructReader(bytes, what);
    const value = read(from);
    if (from.left > 0) throw from.damaged(`bytes are left over at byte ${from.position}: ${from.left}`);
    return value;
  },
  encode: (value) => {
    const to = new StructWriter();
    write(to, value);
    return to.bytes();
  },
});

/** The u64 at `at`. A value past 2^53 - 1 comes out inexact, but always past 2^53 - 1: compare before use. */
export const u64At = (bytes: Buffer, at: number): number =>
  bytes.readUInt32LE(at + 4) * 2 ** 32 + bytes.readUInt32LE(at);

/** Writes a u64, at most 2^53 - 1. */
export const putU64 = (into: Buffer, value: number, at: number): void => {
  into.writeUInt32LE(value % 2 ** 32, at);
  into.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
};

/** A time as Ceph keeps it. */
export interface Utime {
  seconds: number;
  nanoseconds: number;
}

/** ms since the epoch; fractions of a ms are cut off. */
export const utimeToMs = (time: Utime): number => time.seconds * 1000 + Math.floor(time.nanoseconds / 1e6);

export const utimeFromMs = (ms: number): Utime => ({
  seconds: Math.floor(ms / 1000),
  nanoseconds: Math.round((ms - Math.floor(ms / 1000) * 1000) * 1e6),
});

/** 2^64 - 2: the snapshot id that means "none" (the head). */
const noSnap = 0xfffffffffffffffen;

/** Takes fields off the front of a value, in the order they were written. Every short or senseless field is `corrupt`. */
export class StructReader {
  readonly what: string;
  private readonly bytes: Buffer;
  private at: number;
  private readonly end: number;

  constructor(bytes: Uint8Array, what: string, start = 0, end = bytes.length) {
    this.bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.what = what;
    this.at = start;
    this.end = end;
  }

  /** Bytes from the start of the whole value. */
  get position(): number {
    return this.at;
  }

  get left(): number {
    return this.end - this.at;
  }

  damaged(how: string): RbdeltaError {
    return new RbdeltaError('corrupt', `${this.what} is damaged: ${how}`);
  }

  u8(): number {
    return this.bytes.readUInt8(this.take(1, 'a byte'));
  }

  u32(): number {
    return this.bytes.readUInt32LE(this.take(4, 'a 32-bit number'));
  }

  u64(): number {
    const at = this.take(8, 'a 64-bit number');
    const value = u64At(this.bytes, at);
    if (value > Number.MAX_SAFE_INTEGER) {
      throw this.damaged(`the number at byte ${at}, ${this.bytes.readBigUInt64LE(at)}, is past 2^53 - 1`);
    }
    return value;
  }

  i64(): number {
    const at = this.take(8, 'a 64-bit number');
    const value = this.bytes.readBigInt64LE(at);
    if (!Number.isSafeInteger(Number(value)))
      throw this.damaged(`the number at byte ${at}, ${value}, is outside of +-2^53`);
    return Number(value);
  }

  /** A snapshot id; null for "none" (2^64 - 2). */
  snapId(): number | null {
    if (this.left >= 8 && this.bytes.readBigUInt64LE(this.at) === noSnap) {
      this.at += 8;
      return null;
    }
    return this.u64();
  }

  bool(): boolean {
    const at = this.at;
    const value = this.u8();
    if (value > 1) throw this.damaged(`the byte at ${at} must be 0 or 1, not ${value}`);
    return value === 1;
  }

  string(): string {
    const length = this.u32();
    const at = this.take(length, `a string of ${counted(length, 'byte')}`);
    return nameFromBytes(this.bytes.subarray(at, at + length));
  }

  utime(): Utime {
    return { seconds: this.u32(), nanoseconds: this.u32() };
  }

  optional<T>(read: () => T): T | null {
    return this.bool() ? read() : null;
  }

  /** A counted list; each item takes at least `itemBytes`, so that a count cannot ask for more than is there. */
  list<T>(itemBytes: number, read: () => T): T[] {
    const at = this.at;
    const count = this.u32();
    if (count * itemBytes > this.left)
      throw this.damaged(`${count} items at byte ${at} do not fit into ${counted(this.left, 'byte')}`);
    return Array.from({ length: count }, read);
  }

  /** What is left, as a copy. */
  rest(): Buffer {
    const at = this.take(this.left, 'the rest');
    return Buffer.from(this.bytes.subarray(at, this.end));
  }

  /**
   * A versioned envelope: u8 version, u8 compat, u32 length. Fields that newer versions append are skipped;
   * `unsupported` when `compat` says that a reader of version `known` cannot make sense of it.
   */
  struct<T>(known: number, read: (inner: StructReader, version: number, compat: number) => T): T {
    const version = this.u8();
    const compat = this.u8();
    const length = this.u32();
    const start = this.take(length, `a structure of ${counted(length, 'byte')}`);
    if (compat > known) {
      throw new RbdeltaError(
        'unsupported',
        `${this.what} is of version ${version}, which needs a reader of version ${compat}; this one knows ${known}`,
        { hint: 'a newer rbdelta may read it' },
      );
    }
    return read(new StructReader(this.bytes, this.what, start, start + length), version, compat);
  }

  private take(length: number, field: string): number {
    if (length > this.left)
      throw this.damaged(`${field} at byte ${this.at} needs ${counted(length, 'byte')}, ${this.left} left`);
    const at = this.at;
    this.at += length;
    return at;
  }
}

/** Puts fields one behind the other. Numbers that do not fit are bugs (RangeError). */
export class StructWriter {
  private readonly parts: Buffer[] = [];

  bytes(): Buffer {
    return Buffer.concat(this.parts);
  }

  u8(value: number): this {
    return this.raw(Buffer.of(value));
  }

  u32(value: number): this {
    const part = Buffer.alloc(4);
    part.writeUInt32LE(value);
    return this.raw(part);
  }

  u64(value: number): this {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no u64 up to 2^53 - 1`);
    const part = Buffer.alloc(8);
    putU64(part, value, 0);
    return this.raw(part);
  }

  i64(value: number): this {
    const part = Buffer.alloc(8);
    part.writeBigInt64LE(BigInt(value));
    return this.raw(part);
  }

  snapId(value: number | null): this {
    const part = Buffer.alloc(8);
    part.writeBigUInt64LE(value === null ? noSnap : BigInt(value));
    return this.raw(part);
  }

  bool(value: boolean): this {
    return this.u8(value ? 1 : 0);
  }

  string(value: string): this {
    const part = nameToBytes(value);
    return this.u32(part.length).raw(part);
  }

  utime(value: Utime): this {
    return this.u32(value.seconds).u32(value.nanoseconds);
  }

  optional<T>(value: T | null, write: (value: T) => void): this {
    this.bool(value !== null);
    if (value !== null) write(value);
    return this;
  }

  list<T>(items: readonly T[], write: (item: T) => void): this {
    this.u32(items.length);
    for (const item of items) write(item);
    return this;
  }

  struct(version: number, compat: number, write: (inner: StructWriter) => void): this {
    const inner = new StructWriter();
    write(inner);
    const body = inner.bytes();
    return this.u8(version).u8(compat).u32(body.length).raw(body);
  }

  raw(part: Uint8Array): this {
    this.parts.push(Buffer.from(part.buffer, part.byteOffset, part.byteLength));
    return this;
  }
}
