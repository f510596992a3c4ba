// A store by where it is: `s3://bucket/prefix`, or a directory.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { openDirectoryStore } from './directory.ts';
import { rateLimitedStore } from './limited.ts';
import type { Store } from './port.ts';
import type { S3Options } from './s3-client.ts';

export interface OpenStoreOptions {
  /** A directory that does not exist is made. A bucket is not. */
  create?: boolean;
  s3?: S3Options;
  /** Of payload, both ways together. */
  bytesPerSecond?: number;
  /** Ends what waits for that. */
  signal?: AbortSignal;
}

/** Another scheme than `s3://` is refused as `usage`. */
export async function openStore(where: string, options: OpenStoreOptions = {}): Promise<Store> {
  const store = await openUnlimited(where, options);
  const { bytesPerSecond, signal } = options;
  return bytesPerSecond === undefined ? store : rateLimitedStore(store, bytesPerSecond, { signal });
}

async function openUnlimited(where: string, { create = false, s3 = {} }: OpenStoreOptions): Promise<Store> {
  // When it is needed: the SDK loads slowly.
  if (where.startsWith('s3://')) return (await import('./s3-store.ts')).openS3Store(where, s3);
  if (/^[a-z][a-z0-9+.-]*:\/\//i.test(where)) {
    throw new RbdeltaError('usage', `"${printable(where)}" is no place that is known here`, {
      hint: 'a repository is in a directory or at s3://bucket/prefix',
    });
  }
  return openDirectoryStore(where, { create });
}
