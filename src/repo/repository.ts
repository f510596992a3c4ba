// A repository: a store with an rbdelta.json in it. Spec: formats/repository/spec.md

import { randomBytes, randomUUID } from 'node:crypto';
import { RbdeltaError } from '../error.ts';
import { decodeRepositoryFile, encodeRepositoryFile } from '../format/repository.ts';
import type { Store } from '../store/port.ts';

export interface Repository {
  store: Store;
  id: string;
  createdMs: number;
  /** Keys the digests of blocks: 32 bytes. */
  digestKey: Uint8Array;
}

const fileName = 'rbdelta.json';

/** All JSON files of a repository but manifests and catalogs are smaller than this. */
export const smallFileBytes = 1 << 20;

/**
 * Makes a repository in the store, which must be empty or at least hold none: else `exists`. Another one that does the
 * same at the same time is noticed, also where the store does not enforce conditions. With the `digestKey` of another
 * repository, points of the two can be copied as they are.
 */
export async function initRepository(
  store: Store,
  nowMs: number,
  digestKey: Uint8Array = randomBytes(32),
): Promise<Repository> {
  const refuse = (): RbdeltaError =>
    new RbdeltaError('exists', `there is a repository in ${store.nameOf('')} already`, {
      hint: 'use it as it is, or choose another place',
    });
  if ((await store.get(fileName, smallFileBytes)) !== null) throw refuse();
  const id = randomUUID();
  const file = {
    format: 1 as const,
    id,
    created: new Date(nowMs).toISOString(),
    digestKey: Buffer.from(digestKey).toString('hex'),
  };
  try {
    await store.put(fileName, encodeRepositoryFile(file), { create: true });
  } catch (error) {
    throw error instanceof RbdeltaError && error.code === 'exists' ? refuse() : error;
  }
  const repository = await openRepository(store);
  if (repository.id !== id) throw refuse();
  return repository;
}

/** `notFound` where there is none. */
export async function openRepository(store: Store): Promise<Repository> {
  const bytes = await store.get(fileName, smallFileBytes);
  if (bytes === null) {
    throw new RbdeltaError('notFound', `there is no repository in ${store.nameOf('')}: it has no ${fileName}`, {
      hint: 'make one: rbdelta repo init, with the same address',
    });
  }
  const file = decodeRepositoryFile(bytes, store.nameOf(fileName));
  return {
    store,
    id: file.id,
    createdMs: Date.parse(file.created),
    digestKey: Buffer.from(file.digestKey, 'hex'),
  };
}
