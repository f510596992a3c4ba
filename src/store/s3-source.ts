// An object in S3, read front to back: ranges of it, a few ahead, all of the same version.

import { BufferPool } from '../bytes/buffers.ts';
import { interruption } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { type ByteSource, chunkSource } from '../bytes/source.ts';
import {
  connectS3,
  nameOf,
  s3Failure,
  type S3Connection,
  type S3Location,
  type S3Options,
  statusOf,
  urlOf,
} from './s3-client.ts';
import { readRange } from './s3-range.ts';

export interface S3SourceOptions extends S3Options, S3Location {
  /** Bytes of a range; 8 MiB if absent. */
  rangeBytes?: number;
  /** Ranges asked for at a time; 4 if absent. */
  ahead?: number;
  signal?: AbortSignal;
}

/**
 * The bytes of an object. One that is replaced while it is read is noticed (`io`); a body that ends early is asked for
 * again from where it ended. One that is missing is refused as `notFound` at once.
 */
export async function s3Source(options: S3SourceOptions): Promise<ByteSource> {
  const { rangeBytes = 8 << 20, ahead = 4, attempts = 5 } = options;
  const connection = await connectS3(options);
  const stopped = new AbortController();
  const signal = options.signal ? AbortSignal.any([options.signal, stopped.signal]) : stopped.signal;
  const object = new StoredObject(connection, options, signal, attempts);
  let bytes: number;
  try {
    bytes = await object.open();
  } catch (error) {
    connection.client.destroy();
    throw options.signal?.aborted ? interruption(options.signal) : error;
  }

  async function* chunks(): AsyncGenerator<Uint8Array> {
    const buffers = new BufferPool(rangeBytes, ahead);
    const ranges = mapOrdered(rangesOf(bytes, rangeBytes), ahead, async ({ start, end }) => {
      const buffer = await buffers.take();
      await object.read(start, buffer.subarray(0, end - start));
      return { buffer, length: end - start };
    });
    for await (const { buffer, length } of ranges) {
      yield buffer.subarray(0, length);
      buffers.give(buffer);
    }
  }

  const source = chunkSource(chunks());
  return {
    name: urlOf(options),
    version: object.etag,
    async read(into) {
      try {
        return await source.read(into);
      } catch (error) {
        throw options.signal?.aborted ? interruption(options.signal) : error;
      }
    },
    async close() {
      stopped.abort();
      await source.close().catch(() => {});
      connection.client.destroy();
    },
  };
}

function* rangesOf(bytes: number, rangeBytes: number): Generator<{ start: number; end: number }> {
  for (let start = 0; start < bytes; start += rangeBytes) yield { start, end: Math.min(start + rangeBytes, bytes) };
}

class StoredObject {
  readonly #connection: S3Connection;
  readonly #location: S3Location;
  readonly #target: { Bucket: string; Key: string };
  readonly #task: string;
  readonly #signal: AbortSignal;
  readonly #attempts: number;
  #etag: string | undefined;

  constructor(connection: S3Connection, location: S3Location, signal: AbortSignal, attempts: number) {
    this.#connection = connection;
    this.#location = location;
    this.#target = { Bucket: location.bucket, Key: location.key };
    this.#task = `cannot read ${nameOf(location, connection)}`;
    this.#signal = signal;
    this.#attempts = attempts;
  }

  get etag(): string | undefined {
    return this.#etag;
  }

  /** How long it is; from now on only this version of it is read. */
  async open(): Promise<number> {
    const { client, sdk } = this.#connection;
    try {
      const head = await client.send(new sdk.HeadObjectCommand(this.#target), { abortSignal: this.#signal });
      this.#etag = head.ETag;
      return head.ContentLength ?? 0;
    } catch (error) {
      throw await s3Failure(await this.#reason(error), this.#task, this.#connection);
    }
  }

  /** The answer to HEAD has no body that says why it is refused or what is missing; that to GET has. */
  async #reason(error: unknown): Promise<unknown> {
    const status = statusOf(error);
    if (status !== 403 && status !== 404) return error;
    const { client, sdk } = this.#connection;
    const command = new sdk.GetObjectCommand({ ...this.#target, Range: 'bytes=0-0' });
    try {
      const { Body } = await client.send(command, { abortSignal: this.#signal });
      (Body as NodeJS.ReadableStream & { destroy(): void }).destroy();
      return error;
    } catch (told) {
      return statusOf(told) === status ? told : error;
    }
  }

  /** Fills `into` from byte `start` of the object. */
  read(start: number, into: Buffer): Promise<void> {
    const options = { etag: this.#etag, signal: this.#signal, attempts: this.#attempts };
    return readRange(this.#connection, this.#location, start, into, options);
  }
}
