// A new object in S3 as a sink: written front to back, visible when it is whole.

import type { ByteSink } from '../bytes/sink.ts';
import { connectS3, type S3Location, type S3Options } from './s3-client.ts';
import { Upload } from './s3-upload.ts';

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
  const upload = new Upload(connection, options, {
    maxBytes: options.maxBytes ?? null,
    create: true,
    signal: options.signal,
  });
  try {
    await upload.checkTarget();
  } catch (error) {
    connection.client.destroy();
    throw error;
  }
  return {
    async write(chunks) {
      for (const chunk of chunks) await upload.write(chunk);
    },
    async finish() {
      await upload.finish();
      connection.client.destroy();
    },
    async abort() {
      await upload.abort();
      connection.client.destroy();
    },
  };
}
