// A store in S3: a key is a key below a prefix of a bucket.

import { randomUUID } from 'node:crypto';
import type {
  _Error,
  ListMultipartUploadsCommandOutput,
  ListObjectsV2CommandOutput,
  ListPartsCommandOutput,
} from '@aws-sdk/client-s3';
import { mapOrdered } from '../bytes/ordered.ts';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { existsAlready, tooLarge } from './failures.ts';
import { checkKey, checkPrefix, isKey } from './key.ts';
import { watchedPieces } from './pieces.ts';
import type { Leftover, Store, StoredObject } from './port.ts';
import {
  connectS3,
  dateMsOf,
  nameOf as nameOfLocation,
  parseS3Prefix,
  s3Failure,
  type S3Connection,
  type S3Location,
  type S3Options,
  statusOf,
} from './s3-client.ts';
import { forgetUpload } from './s3-forget.ts';
import { brokenBody, pause, readRange } from './s3-range.ts';
import { Upload } from './s3-upload.ts';

/** What one request removes, and how many of these are under way: a server takes a second for each. */
const keysAtOnce = 1000;
const removalsAtOnce = 4;

/** How often what the SDK does not try again is tried. */
const attempts = 5;

/**
 * `url` is `s3://bucket` or `s3://bucket/prefix`. Asks once whether the bucket is there and may be listed. Objects that
 * cannot be read at once are refused: a backup reads what the one before it wrote.
 */
export async function openS3Store(url: string, options: S3Options = {}): Promise<Store> {
  const { bucket, key: root } = parseS3Prefix(url);
  if (/^(GLACIER|DEEP_ARCHIVE)$/.test(options.storageClass ?? '')) {
    const hint = 'GLACIER_IR and STANDARD_IA can be read at once';
    throw new RbdeltaError('unsupported', `the storage class ${options.storageClass} cannot hold a repository`, {
      hint,
    });
  }
  const connection = await connectS3(options);
  try {
    const store = storeAt(connection, bucket, root);
    const ask = new connection.sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: root, MaxKeys: 1 });
    await connection.client.send(ask).catch(async (error: unknown) => {
      throw await s3Failure(error, `cannot open ${store.nameOf('')}`, connection);
    });
    return store;
  } catch (error) {
    connection.client.destroy();
    throw error;
  }
}

function storeAt(connection: S3Connection, bucket: string, root: string): Store {
  const { client, sdk } = connection;
  const at = (key: string): S3Location => ({ bucket, key: root + key });
  const nameOf = (key: string): string => nameOfLocation(at(key), connection);
  const targetOf = (key: string): { Bucket: string; Key: string } => {
    checkKey(key);
    return { Bucket: bucket, Key: root + key };
  };
  const failing =
    (task: 'list' | 'read' | 'remove' | 'write', key: string) =>
    async (error: unknown): Promise<never> => {
      throw await s3Failure(error, `cannot ${task} ${nameOf(key)}`, connection);
    };

  async function head(key: string): Promise<(StoredObject & { putId: string | null }) | null> {
    const target = targetOf(key);
    try {
      const { ContentLength = 0, LastModified, Metadata } = await client.send(new sdk.HeadObjectCommand(target));
      return {
        key,
        bytes: ContentLength,
        modifiedMs: LastModified?.getTime() ?? 0,
        putId: Metadata?.[putIdKey] ?? null,
      };
    } catch (error) {
      return statusOf(error) === 404 ? null : failing('read', key)(error);
    }
  }

  async function get(key: string, maxBytes: number): Promise<Buffer | null> {
    const target = targetOf(key);
    for (let attempt = 1; ; attempt++) {
      const answer = await client.send(new sdk.GetObjectCommand(target)).catch((error: Error) => {
        // "NoSuchBucket" is 404 as well.
        return error.name === 'NoSuchKey' ? null : failing('read', key)(error);
      });
      if (answer === null) return null;
      const body = answer.Body as NodeJS.ReadableStream & AsyncIterable<Uint8Array> & { destroy(): void };
      const length = answer.ContentLength ?? 0;
      if (length > maxBytes) {
        body.destroy();
        throw tooLarge(nameOf(key), length, maxBytes);
      }
      const bytes = Buffer.allocUnsafeSlow(length);
      let filled = 0;
      try {
        for await (const chunk of body) {
          bytes.set(chunk, filled);
          filled += chunk.length;
        }
        if (filled === length) return bytes;
      } catch (error) {
        if (attempt === attempts) throw brokenBody(error, nameOf(key), filled);
      }
      if (attempt === attempts) throw brokenBody(null, nameOf(key), filled);
      await pause(attempt);
    }
  }

  /**
   * One PUT. With `onlyNew` a key that exists is refused as `exists`, where the server looks; `unsupported` by one that
   * knows no such requests.
   */
  async function put(key: string, bytes: Uint8Array, onlyNew: boolean): Promise<void> {
    const target = targetOf(key);
    const putId = randomUUID();
    const command = (): InstanceType<typeof sdk.PutObjectCommand> =>
      new sdk.PutObjectCommand({
        ...target,
        Body: bytes,
        ContentLength: bytes.length,
        ...connection.written,
        ...(onlyNew ? { IfNoneMatch: '*', Metadata: { [putIdKey]: putId } } : {}),
      });
    for (let attempt = 1; ; attempt++) {
      try {
        await client.send(command());
        return;
      } catch (error) {
        if (!onlyNew) return failing('write', key)(error);
        if (statusOf(error) === 501) throw new RbdeltaError('unsupported', 'no conditions', { cause: error });
        // The answer may have been lost, and the SDK may have tried again what was done: see what is there.
        const found = await head(key);
        if (found?.putId === putId) return;
        if (found !== null) throw existsAlready(nameOf(key), { cause: error });
        // 409: another one was about to create it, too, and has not.
        if (statusOf(error) !== 409 || attempt === attempts) return failing('write', key)(error);
        await pause(attempt);
      }
    }
  }

  async function* pages(prefix: string, delimiter?: string) {
    checkPrefix(prefix);
    const ask = { Bucket: bucket, Prefix: root + prefix, ...(delimiter === undefined ? {} : { Delimiter: delimiter }) };
    for (let from: { ContinuationToken?: string } | null = {}; from !== null; ) {
      const page: ListObjectsV2CommandOutput = await client
        .send(new sdk.ListObjectsV2Command({ ...ask, ...from }))
        .catch(failing('list', prefix));
      yield page;
      from = page.IsTruncated && page.NextContinuationToken ? { ContinuationToken: page.NextContinuationToken } : null;
    }
  }

  /** What of these keys could not be removed. */
  async function removeOnce(keys: string[]): Promise<_Error[]> {
    const Objects = keys.map((key) => ({ Key: root + key }));
    const command = new sdk.DeleteObjectsCommand({ Bucket: bucket, Delete: { Objects, Quiet: true } });
    const { Errors = [] } = await client.send(command).catch(failing('remove', keys[0] ?? ''));
    return Errors.filter(({ Code }) => Code !== 'NoSuchKey');
  }

  async function removeAll(keys: string[]): Promise<void> {
    let left = keys;
    for (let attempt = 1; left.length > 0; attempt++) {
      const errors = await removeOnce(left);
      const lasting = errors.some(({ Code }) => !/^(InternalError|SlowDown|ServiceUnavailable)$/.test(Code ?? ''));
      if (errors.length > 0 && (lasting || attempt === attempts)) throw notRemoved(errors);
      left = errors.map(({ Key = '' }) => Key.slice(root.length));
      if (left.length > 0) await pause(attempt);
    }
  }

  function notRemoved(errors: _Error[]): RbdeltaError {
    const { Key = '', Code = 'no reason', Message = '' } = errors[0] ?? {};
    const more = errors.length > 1 ? `, nor ${counted(errors.length - 1, 'other object')}` : '';
    const reason =
      Code === 'AccessDenied' ? 'access denied' : `the server answers ${Code}${Message && ` (${Message})`}`;
    const code = Code === 'AccessDenied' ? 'permission' : 'io';
    return new RbdeltaError(code, `cannot remove ${nameOf(Key.slice(root.length))}${more}: ${reason}`);
  }

  async function bytesOfUpload(upload: { Bucket: string; Key: string; UploadId: string }): Promise<number> {
    let bytes = 0;
    for (let from: { PartNumberMarker?: string } | null = {}; from !== null; ) {
      const page: ListPartsCommandOutput = await client.send(new sdk.ListPartsCommand({ ...upload, ...from }));
      for (const { Size = 0 } of page.Parts ?? []) bytes += Size;
      // radosgw names a next one at the end as well.
      from = page.IsTruncated && page.NextPartNumberMarker ? { PartNumberMarker: page.NextPartNumberMarker } : null;
    }
    return bytes;
  }

  async function* leftovers(prefix: string): AsyncGenerator<Leftover> {
    const ask = { Bucket: bucket, Prefix: root + prefix };
    for (let from: { KeyMarker?: string; UploadIdMarker?: string } | null = {}; from !== null; ) {
      const page: ListMultipartUploadsCommandOutput = await client
        .send(new sdk.ListMultipartUploadsCommand({ ...ask, ...from }))
        .catch(failing('list', prefix));
      for (const { Key = '', UploadId = '', Initiated } of page.Uploads ?? []) {
        const key = Key.slice(root.length);
        if (!Key.startsWith(root) || !isKey(key)) continue;
        // It may be completed or aborted meanwhile.
        const bytes = await bytesOfUpload({ Bucket: bucket, Key, UploadId }).catch((error: Error) =>
          error.name === 'NoSuchUpload' ? null : failing('list', key)(error),
        );
        if (bytes !== null) yield { id: UploadId, key, bytes, modifiedMs: Initiated?.getTime() ?? 0 };
      }
      const { NextKeyMarker, NextUploadIdMarker } = page;
      from =
        page.IsTruncated && NextKeyMarker
          ? { KeyMarker: NextKeyMarker, ...(NextUploadIdMarker ? { UploadIdMarker: NextUploadIdMarker } : {}) }
          : null;
    }
  }

  return {
    kind: 's3',
    nameOf,
    get,
    async read(key, offset, into) {
      checkKey(key);
      await readRange(connection, at(key), offset, into);
    },
    async stat(key) {
      const found = await head(key);
      return found === null ? null : { key, bytes: found.bytes, modifiedMs: found.modifiedMs };
    },
    async put(key, bytes, { create = false } = {}) {
      // Not every server keeps the condition of the request, radosgw does not in a versioned bucket: ask as well.
      if (create && (await head(key)) !== null) throw existsAlready(nameOf(key));
      await put(key, bytes, create).catch((error: unknown) => {
        if (create && isUnsupported(error)) return put(key, bytes, false);
        throw error;
      });
    },
    async write(key, pieces, { maxBytes, signal }) {
      checkKey(key);
      const upload = new Upload(connection, at(key), { maxBytes, create: false, signal });
      try {
        for await (const piece of watchedPieces(pieces, { maxBytes, signal }, `cannot write ${nameOf(key)}`)) {
          if (piece instanceof Uint8Array) {
            await upload.write(piece);
          } else {
            checkKey(piece.key);
            await upload.copy({ source: at(piece.key), offset: piece.offset, length: piece.length });
          }
        }
        return { key, ...(await upload.finish()) };
      } catch (error) {
        await upload.abort();
        throw error;
      }
    },
    async *list(prefix) {
      for await (const { Contents = [] } of pages(prefix)) {
        for (const { Key = '', Size = 0, LastModified } of Contents) {
          const key = Key.slice(root.length);
          if (isKey(key)) yield { key, bytes: Size, modifiedMs: LastModified?.getTime() ?? 0 };
        }
      }
    },
    async *folders(folder) {
      for await (const { CommonPrefixes = [] } of pages(folder, '/')) {
        for (const { Prefix = '' } of CommonPrefixes) {
          const name = Prefix.slice(root.length + folder.length, -1);
          if (isKey(name)) yield name;
        }
      }
    },
    async remove(keys) {
      let count = 0;
      const removed = mapOrdered(batches(keys), removalsAtOnce, async (batch) => {
        await removeAll(batch);
        return batch.length;
      });
      for await (const some of removed) count += some;
      return count;
    },
    leftovers(prefix) {
      checkPrefix(prefix);
      return leftovers(prefix);
    },
    async removeLeftover({ id, key }) {
      await forgetUpload(connection, { ...targetOf(key), UploadId: id }).catch(async (error: Error) => {
        if (error.name !== 'NoSuchUpload') await failing('remove', key)(error);
      });
    },
    async nowMs() {
      const told = connection.clock.nowMs();
      if (told !== null) return told;
      const ask = new sdk.ListObjectsV2Command({ Bucket: bucket, Prefix: root, MaxKeys: 1 });
      const dateMs = dateMsOf(await client.send(ask).catch(failing('list', '')));
      if (dateMs === 0) throw new RbdeltaError('unsupported', `${connection.endpoint} does not say what time it is`);
      return dateMs;
    },
    async enforcesCreate(prefix) {
      checkPrefix(prefix);
      const key = `${prefix}probe-${randomUUID()}`;
      const bytes = Buffer.from('Whether the server refuses to write this twice.\n');
      try {
        await put(key, bytes, true);
        return await put(key, bytes, true).then(
          () => false,
          (error: unknown) => {
            if (error instanceof RbdeltaError && error.code === 'exists') return true;
            throw error;
          },
        );
      } catch (error) {
        if (isUnsupported(error)) return false;
        throw error;
      } finally {
        await removeAll([key]).catch(() => {});
      }
    },
    async close() {
      client.destroy();
    },
  };
}

async function* batches(keys: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string[], void, undefined> {
  let batch: string[] = [];
  for await (const key of keys) {
    checkKey(key);
    batch.push(key);
    if (batch.length < keysAtOnce) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

const isUnsupported = (error: unknown): boolean => error instanceof RbdeltaError && error.code === 'unsupported';

/** Kept with an object that was to be new: whose it is. */
const putIdKey = 'rbdelta-put';
