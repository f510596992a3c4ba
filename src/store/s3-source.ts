// An object in S3, read front to back: ranges of it, a few ahead, all of the same version.

import { setTimeout as sleep } from 'node:timers/promises';
import { BufferPool } from '../bytes/buffers.ts';
import { interruption } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { type ByteSource, chunkSource } from '../bytes/source.ts';
import { RbdeltaError } from '../error.ts';
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
  readonly #target: { Bucket: string; Key: string };
  readonly #task: string;
  readonly #signal: AbortSignal;
  readonly #attempts: number;
  #etag: string | undefined;

  constructor(connection: S3Connection, { bucket, key }: S3Location, signal: AbortSignal, attempts: number) {
    this.#connection = connection;
    this.#target = { Bucket: bucket, Key: key };
    this.#task = `cannot read ${nameOf({ bucket, key }, connection)}`;
    this.#signal = signal;
    this.#attempts = attempts;
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
  async read(start: number, into: Buffer): Promise<void> {
    let filled = 0;
    for (let attempt = 1; filled < into.length; attempt++) {
      try {
        const body = await this.#get(start + filled, start + into.length);
        for await (const chunk of body) {
          if (filled + chunk.length > into.length) throw new RbdeltaError('io', `${this.#task}: it sends too much`);
          into.set(chunk, filled);
          filled += chunk.length;
        }
        if (filled < into.length) throw new BodyCut();
      } catch (error) {
        const lasting = error instanceof RbdeltaError || this.#signal.aborted;
        if (lasting || attempt >= this.#attempts) throw this.#failure(error, start + filled);
        await sleep(100 * 2 ** attempt * Math.random(), undefined, { signal: this.#signal });
      }
    }
  }

  async #get(start: number, end: number): Promise<AsyncIterable<Uint8Array>> {
    const { client, sdk } = this.#connection;
    const command = new sdk.GetObjectCommand({
      ...this.#target,
      Range: `bytes=${start}-${end - 1}`,
      ...(this.#etag ? { IfMatch: this.#etag } : {}),
    });
    const answer = await client.send(command, { abortSignal: this.#signal }).catch(async (error: unknown) => {
      if (statusOf(error) === 412 || statusOf(error) === 416) throw this.#replaced(error);
      // The SDK has tried again already.
      throw await s3Failure(error, this.#task, this.#connection);
    });
    if (!answer.ContentRange?.startsWith(`bytes ${start}-`)) {
      const hint = 'this server does not do what S3 does: copy the object to a file first';
      throw new RbdeltaError('unsupported', `${this.#task}: the server does not send the range asked for`, { hint });
    }
    const body = answer.Body as NodeJS.ReadableStream & { destroy(error?: Error): void };
    // Whoever has stopped reading must not wait for the rest.
    const stop = (): void => body.destroy(new BodyCut());
    this.#signal.addEventListener('abort', stop, { once: true });
    body.once('close', () => this.#signal.removeEventListener('abort', stop));
    return body as unknown as AsyncIterable<Uint8Array>;
  }

  #failure(error: unknown, position: number): unknown {
    if (error instanceof RbdeltaError) return error;
    const hint = 'check the network, and try again';
    const message = `${this.#task}: the connection breaks at byte ${position}, again and again`;
    return new RbdeltaError('io', message, { hint, cause: error });
  }

  #replaced(cause: unknown): RbdeltaError {
    const hint = 'read it again from the beginning';
    return new RbdeltaError('io', `${this.#task}: it was replaced while it was read`, { hint, cause });
  }
}

/** A body that ended before its time. */
class BodyCut extends Error {}
