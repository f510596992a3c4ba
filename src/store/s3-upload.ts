// A new object in S3 from what comes front to back: one PUT if it is small, else parts, a few of them on their way at a
// time. Ranges of other objects become parts by a copy inside the server.

import { randomUUID } from 'node:crypto';
import { interruption } from '../bytes/errno.ts';
import { RbdeltaError } from '../error.ts';
import { existsAlready, tooShort } from './failures.ts';
import { dateMsOf, nameOf, s3Failure, type S3Connection, type S3Location, statusOf } from './s3-client.ts';
import { copyBytes, limits, partBytes, partsAtOnce, smallestCopyBytes } from './s3-parts.ts';
import { abortMs, forgetUpload } from './s3-forget.ts';
import { lengthOf, readRange } from './s3-range.ts';

export interface UploadOptions {
  /** Bytes that will not be exceeded. null: parts grow as the object does. */
  maxBytes: number | null;
  /** A key that exists is refused, as well as the server can; otherwise it is replaced. */
  create: boolean;
  signal?: AbortSignal | undefined;
}

interface Part {
  PartNumber: number;
  ETag: string;
}

interface SourceRange {
  source: S3Location;
  offset: number;
  length: number;
}

/** Kept with the object, so that after a lost answer we can tell whether the object that is there is ours. */
const uploadIdKey = 'rbdelta-upload';

/** Copies on their way at a time: they take none of our memory. */
const copiesAtOnce = 4;

/** Nothing is visible before `finish`; after a failure of anything, `abort` leaves nothing behind. Calls never overlap. */
export class Upload {
  readonly #connection: S3Connection;
  readonly #target: { Bucket: string; Key: string };
  readonly #name: string;
  readonly #maxBytes: number | null;
  readonly #create: boolean;
  readonly #signal: AbortSignal | undefined;
  readonly #ownId = randomUUID();
  /** The part that is being filled. */
  #buffer: Buffer | null = null;
  #filled = 0;
  /** A range that came first: it may be a whole object, and all. */
  #first: SourceRange | null = null;
  #creating: Promise<string> | null = null;
  #uploadId: string | null = null;
  #sent = 0;
  #bytes = 0;
  readonly #parts: Part[] = [];
  readonly #sending = new Set<Promise<void>>();
  /** Those of them that the server copies. */
  readonly #copying = new Set<Promise<void>>();
  #failure: { error: unknown } | null = null;
  /** From the request on that makes the object visible: it may be there without our knowing. */
  #publishing = false;
  #settled = false;

  constructor(connection: S3Connection, { bucket, key }: S3Location, { maxBytes, create, signal }: UploadOptions) {
    this.#connection = connection;
    this.#target = { Bucket: bucket, Key: key };
    this.#name = nameOf({ bucket, key }, connection);
    this.#maxBytes = maxBytes;
    this.#create = create;
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

  /** The memory may be used again when it resolves. */
  async write(bytes: Uint8Array): Promise<void> {
    await this.#appendFirst();
    for (let at = 0; at < bytes.length; ) {
      const room = await this.#room(bytes.length - at);
      room.set(bytes.subarray(at, at + room.length));
      at += room.length;
    }
    if (this.#failure) throw this.#failure.error;
  }

  /** What `length` bytes from `offset` of an object in the same server hold comes next. */
  async copy(range: SourceRange): Promise<void> {
    await this.#appendFirst();
    if (this.#sent === 0 && this.#filled === 0) this.#first = range;
    else await this.#append(range);
    if (this.#failure) throw this.#failure.error;
  }

  async finish(): Promise<{ bytes: number; modifiedMs: number }> {
    let modifiedMs = await this.#copyWhole();
    if (modifiedMs === null) {
      await this.#appendFirst();
      modifiedMs = this.#creating === null ? await this.#putWhole() : await this.#complete();
    }
    this.#settled = true;
    return { bytes: this.#bytes, modifiedMs };
  }

  /** Never fails; nothing after `finish`. */
  async abort(): Promise<void> {
    if (this.#settled) return;
    this.#settled = true;
    await Promise.allSettled(this.#sending);
    await this.#creating
      ?.then((uploadId) => forgetUpload(this.#connection, { ...this.#target, UploadId: uploadId }))
      .catch(() => {});
    if (this.#publishing) await this.#unpublish().catch(() => {});
  }

  /** Removes the object, if it is ours. */
  async #unpublish(): Promise<void> {
    const { client, sdk } = this.#connection;
    const options = { abortSignal: AbortSignal.timeout(abortMs) };
    const head = await client.send(new sdk.HeadObjectCommand(this.#target), options);
    if (head.Metadata?.[uploadIdKey] !== this.#ownId) return;
    await client.send(new sdk.DeleteObjectCommand(this.#target), options);
  }

  /** Where the next bytes go, at most so many. Only when more is to come is a full part sent: one part is one PUT. */
  async #room(length: number): Promise<Buffer> {
    if (this.#buffer !== null && this.#filled === this.#buffer.length) await this.#sendPart();
    this.#buffer ??= this.#connection.buffers.take(partBytes(this.#sent, this.#maxBytes));
    const room = this.#buffer.subarray(this.#filled, this.#filled + length);
    this.#filled += room.length;
    return room;
  }

  async #appendFirst(): Promise<void> {
    const range = this.#first;
    this.#first = null;
    if (range !== null) await this.#append(range);
  }

  /** No part but the last may be too small: what would make one is read, and goes with its neighbours. */
  async #append({ source, offset, length }: SourceRange): Promise<void> {
    const smallest = smallestCopyBytes(this.#maxBytes);
    const missing = this.#filled > 0 ? Math.max(0, smallest - this.#filled) : 0;
    const copied = length - missing >= smallest ? length - missing : 0;
    for (let at = 0; at < length - copied; ) {
      const room = await this.#room(length - copied - at);
      await this.#call(() => readRange(this.#connection, source, offset + at, room, { signal: this.#signal }));
      at += room.length;
    }
    if (copied === 0) return;
    if (this.#filled > 0) await this.#sendPart();
    // Cut evenly, so that none is too small.
    const count = Math.ceil(copied / copyBytes);
    for (let i = 0; i < count; i++) {
      const start = offset + (length - copied) + Math.floor((copied * i) / count);
      const end = offset + (length - copied) + Math.floor((copied * (i + 1)) / count);
      await this.#copyPart(source, start, end);
    }
  }

  /** When all there is, is the whole of one object; null otherwise. */
  async #copyWhole(): Promise<number | null> {
    const range = this.#first;
    if (range === null || range.offset > 0 || range.length > limits.copyBytes) return null;
    const { client, sdk, written, writtenLarge } = this.#connection;
    const { bucket, key } = range.source;
    const task = `cannot read ${nameOf(range.source, this.#connection)}`;
    const look = new sdk.HeadObjectCommand({ Bucket: bucket, Key: key });
    const { ContentLength } = await this.#call((abort) => client.send(look, abort), task);
    if (ContentLength !== range.length) return null;
    this.#publishing = true;
    const command = new sdk.CopyObjectCommand({
      ...this.#target,
      CopySource: copySource(range.source),
      Metadata: { [uploadIdKey]: this.#ownId },
      MetadataDirective: 'REPLACE',
      ...written,
      ...writtenLarge,
    });
    const answer = await this.#call((abort) => client.send(command, abort));
    this.#bytes = range.length;
    return answer.CopyObjectResult?.LastModified?.getTime() ?? dateMsOf(answer);
  }

  async #putWhole(): Promise<number> {
    const body = this.#buffer?.subarray(0, this.#filled) ?? Buffer.alloc(0);
    const { client, sdk, written, writtenLarge } = this.#connection;
    const command = new sdk.PutObjectCommand({
      ...this.#target,
      Body: body,
      ContentLength: body.length,
      Metadata: { [uploadIdKey]: this.#ownId },
      ...written,
      ...writtenLarge,
      ...(this.#create ? { IfNoneMatch: '*' } : {}),
    });
    this.#publishing = true;
    this.#bytes = body.length;
    try {
      const answer = await this.#call((abort) => client.send(command, abort));
      if (this.#buffer !== null) this.#connection.buffers.give(this.#buffer);
      return dateMsOf(answer);
    } catch (error) {
      return this.#unlessPublished(error);
    }
  }

  async #sendPart(): Promise<void> {
    const buffer = this.#buffer!;
    const length = this.#filled;
    this.#buffer = null;
    this.#filled = 0;
    const { buffers } = this.#connection;
    await this.#send(length, buffers.sending, partsAtOnce(buffer.length), async (upload) => {
      const { client, sdk } = this.#connection;
      const body = { Body: buffer.subarray(0, length), ContentLength: length };
      const command = new sdk.UploadPartCommand({ ...upload, ...body });
      const { ETag } = await this.#call((abort) => client.send(command, abort));
      buffers.give(buffer);
      return ETag;
    });
  }

  async #copyPart(source: S3Location, start: number, end: number): Promise<void> {
    await this.#send(end - start, this.#copying, copiesAtOnce, async (upload) => {
      const { client, sdk } = this.#connection;
      const range = { CopySource: copySource(source), CopySourceRange: `bytes=${start}-${end - 1}` };
      const command = new sdk.UploadPartCopyCommand({ ...upload, ...range });
      const task = `cannot copy from ${nameOf(source, this.#connection)}`;
      const copied = await this.#call((abort) => client.send(command, abort), task).catch(async (error: unknown) => {
        // Servers have many words for a range that ends behind the object.
        const bytes = await lengthOf(this.#connection, source);
        throw bytes !== null && bytes < end ? tooShort(nameOf(source, this.#connection), bytes, end) : error;
      });
      return copied.CopyPartResult?.ETag;
    });
  }

  /** Starts a part of so many bytes, one `among` others; waits until no more than `atOnce` of them are on their way. */
  async #send(
    length: number,
    among: Set<Promise<void>>,
    atOnce: number,
    start: (upload: {
      Bucket: string;
      Key: string;
      UploadId: string;
      PartNumber: number;
    }) => Promise<string | undefined>,
  ): Promise<void> {
    if (this.#failure) throw this.#failure.error;
    this.#creating ??= this.#createUpload();
    this.#uploadId ??= await this.#creating;
    this.#sent += 1;
    this.#bytes += length;
    if (this.#sent > limits.parts || this.#bytes > limits.objectBytes) {
      throw new RbdeltaError('tooLarge', `cannot write ${this.#name}: it is more than an object in S3 may hold`, {
        hint: 'it was to be at most 5 TiB in 10,000 parts; write it to a file or a pipe',
      });
    }
    const PartNumber = this.#sent;
    const sending = start({ ...this.#target, UploadId: this.#uploadId, PartNumber }).then(
      (ETag) => {
        if (ETag !== undefined) this.#parts.push({ PartNumber, ETag });
        else this.#failure ??= { error: this.#unnamed('part') };
      },
      (error: unknown) => {
        this.#failure ??= { error };
      },
    );
    this.#sending.add(sending);
    among.add(sending);
    void sending.then(() => {
      this.#sending.delete(sending);
      among.delete(sending);
    });
    while (among.size > atOnce) await Promise.race(among);
  }

  async #createUpload(): Promise<string> {
    const { client, sdk, written, writtenLarge } = this.#connection;
    const command = new sdk.CreateMultipartUploadCommand({
      ...this.#target,
      Metadata: { [uploadIdKey]: this.#ownId },
      ...written,
      ...writtenLarge,
    });
    // An upload whose id we do not learn could not be removed: an interrupt lets this one come to its end.
    const abortSignal = laterThan(this.#signal, abortMs);
    const { UploadId } = await this.#call(() => client.send(command, { abortSignal }));
    if (UploadId === undefined) throw this.#unnamed('upload');
    return UploadId;
  }

  async #complete(): Promise<number> {
    if (this.#filled > 0) await this.#sendPart();
    await Promise.all(this.#sending);
    if (this.#failure) throw this.#failure.error;
    // Where the server ignores the condition of Complete, this is what keeps us from overwriting, but for a moment.
    if (this.#create && (await this.#head()) !== null) throw this.#exists();
    const { client, sdk } = this.#connection;
    const command = new sdk.CompleteMultipartUploadCommand({
      ...this.#target,
      UploadId: this.#uploadId!,
      MultipartUpload: { Parts: this.#parts.sort((a, b) => a.PartNumber - b.PartNumber) },
      ...(this.#create ? { IfNoneMatch: '*' } : {}),
    });
    this.#publishing = true;
    try {
      const answer = await this.#call((abort) => client.send(command, abort));
      // Who may only write may not look; an object that others rely on is looked at in any case.
      if (this.#create && answer.ETag) return dateMsOf(answer);
    } catch (error) {
      return this.#unlessPublished(error);
    }
    const found = await this.#head();
    if (found !== null && found.bytes === this.#bytes) return found.modifiedMs;
    const what = found === null ? 'nothing' : `${found.bytes} bytes`;
    throw new RbdeltaError('io', `cannot write ${this.#name}: ${this.#bytes} bytes were sent, ${what} is there`);
  }

  /** After a failure to publish: the answer may have been lost, not the object. Returns if ours is there. */
  async #unlessPublished(error: unknown): Promise<number> {
    if (this.#signal?.aborted) throw error;
    const found = await this.#head().catch(() => null);
    if (found?.uploadId === this.#ownId && found.bytes === this.#bytes) return found.modifiedMs;
    throw found === null || !this.#create ? error : this.#exists();
  }

  async #head(): Promise<{ bytes: number; modifiedMs: number; uploadId: string | null } | null> {
    const { client, sdk } = this.#connection;
    try {
      const head = await this.#call((abort) => client.send(new sdk.HeadObjectCommand(this.#target), abort));
      const modifiedMs = head.LastModified?.getTime() ?? 0;
      return { bytes: head.ContentLength ?? 0, modifiedMs, uploadId: head.Metadata?.[uploadIdKey] ?? null };
    } catch (error) {
      // AWS says 403 of what is not there to one who may not list; if all is forbidden, the first write tells.
      if (error instanceof RbdeltaError && (error.code === 'notFound' || statusOf(error.cause) === 403)) return null;
      throw error;
    }
  }

  async #call<T>(
    send: (options: { abortSignal?: AbortSignal }) => Promise<T>,
    task = `cannot write ${this.#name}`,
  ): Promise<T> {
    const signal = this.#signal;
    if (signal?.aborted) throw interruption(signal);
    try {
      return await send(signal === undefined ? {} : { abortSignal: signal });
    } catch (error) {
      if (signal?.aborted) throw interruption(signal);
      throw await s3Failure(error, task, this.#connection);
    }
  }

  #unnamed(what: 'part' | 'upload'): RbdeltaError {
    return new RbdeltaError('io', `cannot write ${this.#name}: the server names no ${what}`);
  }

  #exists(): RbdeltaError {
    return existsAlready(this.#name, { hint: 'remove it or choose another key' });
  }
}

/** As the header wants it: encoded, but for the slashes. */
const copySource = ({ bucket, key }: S3Location): string =>
  `${bucket}/${key.split('/').map(encodeURIComponent).join('/')}`;

/** A signal that is aborted so many ms after the other. */
function laterThan(signal: AbortSignal | undefined, ms: number): AbortSignal {
  const later = new AbortController();
  signal?.addEventListener('abort', () => setTimeout(() => later.abort(), ms).unref(), { once: true });
  return later.signal;
}
