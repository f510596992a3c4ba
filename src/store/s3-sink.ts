// A new object in S3, written front to back: one PUT if it is small, else parts, a few of them on their way at a time.

import { randomUUID } from 'node:crypto';
import { interruption } from '../bytes/errno.ts';
import type { ByteSink } from '../bytes/sink.ts';
import { RbdeltaError } from '../error.ts';
import {
  connectS3,
  nameOf,
  s3Failure,
  type S3Connection,
  type S3Location,
  type S3Options,
  statusOf,
} from './s3-client.ts';
import { limits, partBytes, partsAtOnce } from './s3-parts.ts';

export interface S3SinkOptions extends S3Options, S3Location {
  /** Bytes that will not be exceeded. Absent: parts grow as the object does. */
  maxBytes?: number;
  signal?: AbortSignal;
}

/**
 * A key that exists is refused as `exists`: now, and again when the object is published (atomically where the server
 * can; radosgw can for objects of one PUT only). Nothing is visible before `finish`. `abort` leaves nothing behind; a
 * process that is killed leaves an unfinished multipart upload, which a lifecycle rule of the bucket should expire.
 */
export async function s3Sink(options: S3SinkOptions): Promise<ByteSink> {
  const connection = await connectS3(options);
  const upload = new Upload(connection, options);
  try {
    await upload.checkTarget();
  } catch (error) {
    connection.client.destroy();
    throw error;
  }
  return {
    write: (chunks) => upload.write(chunks),
    finish: () => upload.finish(),
    abort: () => upload.abort(),
  };
}

interface Part {
  PartNumber: number;
  ETag: string;
}

/** Kept with the object, so that after a lost answer we can tell whether the object that is there is ours. */
const uploadIdKey = 'rbdelta-upload';

/** How long cleaning up may take: somebody may be waiting for an interrupted command to end. */
const abortMs = 15_000;

class Upload {
  readonly #connection: S3Connection;
  readonly #target: { Bucket: string; Key: string };
  readonly #name: string;
  readonly #maxBytes: number | null;
  readonly #signal: AbortSignal | undefined;
  readonly #ownId = randomUUID();
  /** The part that is being filled. */
  #buffer: Buffer | null = null;
  #filled = 0;
  #spare: Buffer[] = [];
  #creating: Promise<string> | null = null;
  #uploadId: string | null = null;
  #sent = 0;
  #bytes = 0;
  readonly #parts: Part[] = [];
  readonly #sending = new Set<Promise<void>>();
  #failure: { error: unknown } | null = null;
  /** From the request on that makes the object visible: it may be there without our knowing. */
  #publishing = false;
  #settled = false;

  constructor(connection: S3Connection, { bucket, key, maxBytes, signal }: S3SinkOptions) {
    this.#connection = connection;
    this.#target = { Bucket: bucket, Key: key };
    this.#name = nameOf({ bucket, key }, connection);
    this.#maxBytes = maxBytes ?? null;
    this.#signal = signal;
  }

  /** Before the first byte is made: the bucket is there, the key is not. */
  async checkTarget(): Promise<void> {
    if ((await this.#head()) !== null) throw this.#exists();
    // HEAD does not say why it is refused or what is missing; this does.
    const { client, sdk } = this.#connection;
    const { Bucket, Key } = this.#target;
    try {
      const ask = new sdk.ListObjectsV2Command({ Bucket, Prefix: Key, MaxKeys: 1 });
      await this.#call((abort) => client.send(ask, abort));
    } catch (error) {
      // Who may only write may not list.
      if (!(error instanceof RbdeltaError && (error.cause as Error | undefined)?.name === 'AccessDenied')) throw error;
    }
  }

  async write(chunks: readonly Uint8Array[]): Promise<void> {
    for (const chunk of chunks) {
      for (let at = 0; at < chunk.length; ) {
        // Only when more is to come is a full part sent: what fits into one is one PUT.
        if (this.#buffer !== null && this.#filled === this.#buffer.length) await this.#sendPart();
        this.#buffer ??= this.#freshBuffer();
        const count = Math.min(this.#buffer.length - this.#filled, chunk.length - at);
        this.#buffer.set(chunk.subarray(at, at + count), this.#filled);
        this.#filled += count;
        at += count;
      }
    }
    if (this.#failure) throw this.#failure.error;
  }

  async finish(): Promise<void> {
    if (this.#uploadId === null) await this.#putWhole();
    else await this.#complete();
    this.#settled = true;
    this.#connection.client.destroy();
  }

  async abort(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    await Promise.allSettled(this.#sending);
    await this.#creating?.then((uploadId) => this.#forget(uploadId)).catch(() => {});
    if (this.#publishing) await this.#unpublish().catch(() => {});
    this.#connection.client.destroy();
  }

  /** A part that was on its way when the upload was aborted can outlive it: look, and abort again. */
  async #forget(uploadId: string): Promise<void> {
    const { client, sdk } = this.#connection;
    const upload = { ...this.#target, UploadId: uploadId };
    const options = { abortSignal: AbortSignal.timeout(abortMs) };
    for (let left = true; left; ) {
      await client.send(new sdk.AbortMultipartUploadCommand(upload), options);
      left = await client.send(new sdk.ListPartsCommand(upload), options).then(
        () => true,
        () => false,
      );
    }
  }

  /** Removes the object, if it is ours. */
  async #unpublish(): Promise<void> {
    const { client, sdk } = this.#connection;
    const options = { abortSignal: AbortSignal.timeout(abortMs) };
    const head = await client.send(new sdk.HeadObjectCommand(this.#target), options);
    if (head.Metadata?.[uploadIdKey] !== this.#ownId) return;
    await client.send(new sdk.DeleteObjectCommand(this.#target), options);
  }

  #freshBuffer(): Buffer {
    const bytes = partBytes(this.#sent, this.#maxBytes);
    const spare = this.#spare.pop();
    if (spare?.length === bytes) return spare;
    this.#spare = [];
    return Buffer.allocUnsafeSlow(bytes);
  }

  async #putWhole(): Promise<void> {
    const body = this.#buffer?.subarray(0, this.#filled) ?? Buffer.alloc(0);
    const { client, sdk } = this.#connection;
    this.#publishing = true;
    try {
      await this.#call((abort) =>
        client.send(
          new sdk.PutObjectCommand({
            ...this.#target,
            Body: body,
            ContentLength: body.length,
            IfNoneMatch: '*',
            Metadata: { [uploadIdKey]: this.#ownId },
          }),
          abort,
        ),
      );
    } catch (error) {
      await this.#unlessPublished(body.length, error);
    }
  }

  async #sendPart(): Promise<void> {
    if (this.#failure) throw this.#failure.error;
    this.#creating ??= this.#create();
    this.#uploadId ??= await this.#creating;
    const buffer = this.#buffer!;
    const sending = this.#upload(buffer, this.#filled, this.#nextNumber()).catch((error: unknown) => {
      this.#failure ??= { error };
    });
    this.#sending.add(sending);
    void sending.then(() => this.#sending.delete(sending));
    this.#buffer = null;
    this.#filled = 0;
    while (this.#sending.size > partsAtOnce(buffer.length)) await Promise.race(this.#sending);
  }

  #nextNumber(): number {
    this.#sent += 1;
    this.#bytes += this.#filled;
    if (this.#sent <= limits.parts && this.#bytes <= limits.objectBytes) return this.#sent;
    throw new RbdeltaError('tooLarge', `cannot write ${this.#name}: it is more than an object in S3 may hold`, {
      hint: 'it was to be at most 5 TiB in 10,000 parts; write it to a file or a pipe',
    });
  }

  async #create(): Promise<string> {
    const { client, sdk } = this.#connection;
    const command = new sdk.CreateMultipartUploadCommand({
      ...this.#target,
      Metadata: { [uploadIdKey]: this.#ownId },
    });
    // An upload whose id we do not learn could not be removed: an interrupt lets this one come to its end.
    const abortSignal = laterThan(this.#signal, abortMs);
    const { UploadId } = await this.#call(() => client.send(command, { abortSignal }));
    if (UploadId === undefined) throw new RbdeltaError('io', `cannot write ${this.#name}: the server names no upload`);
    return UploadId;
  }

  async #upload(buffer: Buffer, length: number, number: number): Promise<void> {
    const { client, sdk } = this.#connection;
    const command = new sdk.UploadPartCommand({
      ...this.#target,
      UploadId: this.#uploadId!,
      PartNumber: number,
      Body: buffer.subarray(0, length),
      ContentLength: length,
    });
    const { ETag } = await this.#call((abort) => client.send(command, abort));
    if (ETag === undefined) throw new RbdeltaError('io', `cannot write ${this.#name}: the server names no part`);
    this.#parts.push({ PartNumber: number, ETag });
    this.#spare.push(buffer);
  }

  async #complete(): Promise<void> {
    if (this.#filled > 0) await this.#sendPart();
    await Promise.all(this.#sending);
    if (this.#failure) throw this.#failure.error;
    // Where the server ignores the condition of Complete, this is what keeps us from overwriting, but for a moment.
    if ((await this.#head()) !== null) throw this.#exists();
    const { client, sdk } = this.#connection;
    const command = new sdk.CompleteMultipartUploadCommand({
      ...this.#target,
      UploadId: this.#uploadId!,
      MultipartUpload: { Parts: this.#parts.sort((a, b) => a.PartNumber - b.PartNumber) },
      IfNoneMatch: '*',
    });
    this.#publishing = true;
    try {
      const { ETag } = await this.#call((abort) => client.send(command, abort));
      if (ETag) return;
    } catch (error) {
      return this.#unlessPublished(this.#bytes, error);
    }
    const found = await this.#head();
    if (found !== null && found.bytes === this.#bytes) return;
    const what = found === null ? 'nothing' : `${found.bytes} bytes`;
    throw new RbdeltaError('io', `cannot write ${this.#name}: ${this.#bytes} bytes were sent, ${what} is there`);
  }

  /** After a failure to publish: the answer may have been lost, not the object. Returns if ours is there. */
  async #unlessPublished(bytes: number, error: unknown): Promise<void> {
    if (this.#signal?.aborted) throw error;
    const found = await this.#head().catch(() => null);
    if (found?.uploadId === this.#ownId && found.bytes === bytes) return;
    throw found === null ? error : this.#exists();
  }

  async #head(): Promise<{ bytes: number; uploadId: string | null } | null> {
    const { client, sdk } = this.#connection;
    try {
      const head = await this.#call((abort) => client.send(new sdk.HeadObjectCommand(this.#target), abort));
      return { bytes: head.ContentLength ?? 0, uploadId: head.Metadata?.[uploadIdKey] ?? null };
    } catch (error) {
      // AWS says 403 of what is not there to one who may not list; if all is forbidden, the first write tells.
      if (error instanceof RbdeltaError && (error.code === 'notFound' || statusOf(error.cause) === 403)) return null;
      throw error;
    }
  }

  async #call<T>(send: (options: { abortSignal?: AbortSignal }) => Promise<T>): Promise<T> {
    const signal = this.#signal;
    if (signal?.aborted) throw interruption(signal);
    try {
      return await send(signal === undefined ? {} : { abortSignal: signal });
    } catch (error) {
      if (signal?.aborted) throw interruption(signal);
      throw await s3Failure(error, `cannot write ${this.#name}`, this.#connection);
    }
  }

  #exists(): RbdeltaError {
    return new RbdeltaError('exists', `cannot write ${this.#name}: it exists already`, {
      hint: 'remove it or choose another key',
    });
  }
}

/** A signal that is aborted so many ms after the other. */
function laterThan(signal: AbortSignal | undefined, ms: number): AbortSignal {
  const later = new AbortController();
  signal?.addEventListener('abort', () => setTimeout(() => later.abort(), ms).unref(), { once: true });
  return later.signal;
}
