// Numbers as LEB128 and bytes, one behind the other: what pages of an index are made of. Spec: formats/archive/spec.md

import { counted } from '../bytes/text.ts';

/** Appends to a buffer that grows. */
export class PageWriter {
  length = 0;
  #buffer = Buffer.allocUnsafeSlow(1 << 10);

  /** Makes room for `bytes` more: call it before what follows. */
  reserve(bytes: number): void {
    if (this.length + bytes <= this.#buffer.length) return;
    const larger = Buffer.allocUnsafeSlow(Math.max(this.length + bytes, 2 * this.#buffer.length));
    larger.set(this.bytes());
    this.#buffer = larger;
  }

  /** A number up to 2^53 - 1 takes 8 bytes at most. Another one is a bug. */
  varint(value: number): void {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`${value} is no number up to 2^53 - 1`);
    let left = value;
    while (left >= 128) {
      this.#buffer[this.length++] = (left % 128) + 128;
      left = Math.floor(left / 128);
    }
    this.#buffer[this.length++] = left;
  }

  raw(bytes: Uint8Array): void {
    this.#buffer.set(bytes, this.length);
    this.length += bytes.length;
  }

  /** What was appended, as a view that is valid until more is. */
  bytes(): Buffer {
    return this.#buffer.subarray(0, this.length);
  }

  clear(): void {
    this.length = 0;
  }
}

/** How many bytes the number takes. */
export const varintBytes = (value: number): number => {
  let bytes = 1;
  for (let left = value; left >= 128; left = Math.floor(left / 128)) bytes++;
  return bytes;
};

/** Takes numbers and bytes off the front; what `fail` makes of a sentence is thrown when they are not there. */
export class PageReader {
  at = 0;
  readonly #bytes: Uint8Array;
  readonly #fail: (how: string) => Error;

  constructor(bytes: Uint8Array, fail: (how: string) => Error) {
    this.#bytes = bytes;
    this.#fail = fail;
  }

  /** At most 2^53 - 1, in as few bytes as it needs. */
  varint(): number {
    const bytes = this.#bytes;
    let byte = bytes[this.at++];
    if (byte !== undefined && byte < 128) return byte;
    let value = 0;
    let scale = 1;
    for (;;) {
      if (byte === undefined) throw this.#fail(`the page ends at byte ${bytes.length} inside a number`);
      if (byte < 128) {
        value += byte * scale;
        break;
      }
      value += (byte - 128) * scale;
      scale *= 128;
      if (scale > maxScale) break;
      byte = bytes[this.at++];
    }
    if (byte === 0 || byte > 127 || value > Number.MAX_SAFE_INTEGER) {
      throw this.#fail(`the number before byte ${this.at} is past 2^53 - 1, or longer than it must be`);
    }
    return value;
  }

  /** A number of items of at least `itemBytes`: no more than fit into what is left. */
  count(itemBytes: number, what: string): number {
    const count = this.varint();
    const left = this.#bytes.length - this.at;
    if (count * itemBytes > left) throw this.#fail(`${count} ${what} do not fit into ${counted(left, 'byte')}`);
    return count;
  }

  /** A view. */
  raw(length: number, what: string): Uint8Array {
    const start = this.at;
    if (length > this.#bytes.length - start) {
      throw this.#fail(
        `the page ends at byte ${this.#bytes.length} inside ${what}, which take ${length} from ${start}`,
      );
    }
    this.at = start + length;
    return this.#bytes.subarray(start, this.at);
  }
}

/** What the eighth byte counts. */
const maxScale = 2 ** 49;
