// Exact reads from a source whose chunks fall as they like: small ones as views, large ones straight into their place.

import type { ErrorCode, RbdeltaError } from '../error.ts';
import { type ByteSource, inputFailure } from './source.ts';
import { counted } from './text.ts';

/** What `exact` and `peek` give at most, in bytes. */
export const smallReadBytes = 64 << 10;

const bufferBytes = 2 * smallReadBytes;

/**
 * Reads a source front to back. A source that ends inside something that was asked for is `corrupt`; `what` names
 * that something in the message. One call at a time.
 */
export class ByteReader {
  /** What messages call the input. */
  readonly name: string | undefined;
  readonly #source: ByteSource;
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes);
  /** The bytes of the buffer that are filled and not yet consumed. */
  #start = 0;
  #end = 0;
  #position = 0;
  #ended = false;

  constructor(source: ByteSource, name: string | undefined = source.name) {
    this.#source = source;
    this.name = name;
  }

  /** Bytes consumed so far. */
  get position(): number {
    return this.#position;
  }

  /** The next `length` bytes (at most 64 KiB), as a view that is valid until the next call. */
  async exact(length: number, what: string): Promise<Buffer> {
    return this.tryExact(length) ?? this.#exactSlowly(length, what);
  }

  /** As `exact`, if the bytes are here already; null if they have to be waited for (or are missing): then `exact`. */
  tryExact(length: number): Buffer | null {
    if (this.#end - this.#start < length) return null;
    const view = this.#buffer.subarray(this.#start, this.#start + length);
    this.#consume(length);
    return view;
  }

  /** Fills `into` to its last byte. What is not buffered goes from the source to its place without a copy. */
  async fill(into: Uint8Array, what: string): Promise<void> {
    let filled = Math.min(this.#end - this.#start, into.length);
    into.set(this.#buffer.subarray(this.#start, this.#start + filled));
    this.#consume(filled);
    while (filled < into.length) {
      const rest = filled === 0 ? into : into.subarray(filled);
      const count = this.#ended ? 0 : await this.#source.read(rest, rest.length);
      if (count === 0) throw this.#short(into.length, filled, what);
      filled += count;
      this.#position += count;
    }
  }

  /** Passes over `length` bytes. */
  async skip(length: number, what: string): Promise<void> {
    let skipped = 0;
    for (;;) {
      const count = Math.min(this.#end - this.#start, length - skipped);
      this.#consume(count);
      skipped += count;
      if (skipped === length) return;
      if (!(await this.#more())) throw this.#short(length, skipped, what);
    }
  }

  /** Whether nothing follows. */
  async atEnd(): Promise<boolean> {
    return this.#start === this.#end && !(await this.#more());
  }

  /** The next `length` bytes (at most 64 KiB) without consuming them; fewer where the source ends before. */
  async peek(length: number): Promise<Buffer> {
    await this.#buffered(length);
    return this.#buffer.subarray(this.#start, Math.min(this.#start + length, this.#end));
  }

  /** Closes the source. */
  async close(): Promise<void> {
    this.#ended = true;
    this.#start = this.#end = 0;
    await this.#source.close();
  }

  async #exactSlowly(length: number, what: string): Promise<Buffer> {
    const available = await this.#buffered(length);
    const view = this.tryExact(length);
    if (view) return view;
    this.#consume(available);
    throw this.#short(length, available, what);
  }

  #consume(length: number): void {
    this.#start += length;
    this.#position += length;
  }

  /** Reads until `length` bytes are buffered or the source ends; resolves to how many are. */
  async #buffered(length: number): Promise<number> {
    if (length > smallReadBytes) throw new RangeError(`a read of ${length} bytes is not small`);
    while (this.#end - this.#start < length && (await this.#more()));
    return this.#end - this.#start;
  }

  async #more(): Promise<boolean> {
    if (this.#ended) return false;
    if (this.#start === this.#end) this.#start = this.#end = 0;
    else if (this.#start > bufferBytes - smallReadBytes) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    const count = await this.#source.read(this.#buffer.subarray(this.#end));
    this.#end += count;
    if (count === 0) this.#ended = true;
    return count > 0;
  }

  /** The failure for what was read from here: it says which input is wrong. */
  failure(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown } = {}): RbdeltaError {
    return inputFailure(this.name, code, message, options);
  }

  #short(expected: number, found: number, what: string): RbdeltaError {
    return this.failure(
      'corrupt',
      `the stream ends at byte ${this.#position} inside ${what}: ${counted(expected, 'byte')} expected, ${found} found`,
      { hint: 'it was cut off: make it again, or fetch it again' },
    );
  }
}
