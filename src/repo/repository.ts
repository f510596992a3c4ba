// A repository: a store with an rbdelta.json in it. Spec: formats/repository/spec.md

import { randomBytes, randomUUID } from 'node:crypto';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { decodeRepositoryFile, encodeRepositoryFile, type RepositoryFile } from '../format/repository.ts';
import type { Store } from '../store/port.ts';
import { imageOfFolders, isPointId, textOf } from './keys.ts';

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
 * Makes a repository in the store, which must be empty or at least hold none, nor points of one that lost its file: else
 * `exists`. Another one that does the same at the same time is noticed, also where the store does not enforce conditions.
 * With the `digestKey` of another repository, points of the two can be copied as they are.
 */
export async function initRepository(
  store: Store,
  nowMs: number,
  digestKey: Uint8Array = randomBytes(32),
): Promise<Repository> {
  await expectNoRepository(store);
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
    throw error instanceof RbdeltaError && error.code === 'exists' ? taken(store) : error;
  }
  const repository = await openRepository(store);
  if (repository.id !== id) throw taken(store);
  return repository;
}

/** `exists` where `initRepository` would refuse to make one. */
export async function expectNoRepository(store: Store): Promise<void> {
  if ((await store.get(fileName, smallFileBytes)) !== null) throw taken(store);
  const point = await firstPoint(store);
  if (point !== null) {
    const message = `there are points in ${store.nameOf('')} already, as ${point}, of a repository that lost its ${fileName}`;
    throw new RbdeltaError('exists', message, { hint: restoreFile });
  }
}

const taken = (store: Store): RbdeltaError =>
  new RbdeltaError('exists', `there is a repository in ${store.nameOf('')} already`, {
    hint: 'use it as it is, or choose another place',
  });

/** `notFound` where there is none. */
export async function openRepository(store: Store): Promise<Repository> {
  const bytes = await store.get(fileName, smallFileBytes);
  if (bytes === null) throw await absent(store);
  const file = decoded(bytes, store.nameOf(fileName));
  return {
    store,
    id: file.id,
    createdMs: Date.parse(file.created),
    digestKey: Buffer.from(file.digestKey, 'hex'),
  };
}

/** What can be done without the file: a new one would have another key, and fit no point that is there. */
const restoreFile =
  `put a copy of its ${fileName} back; without one, examples/restore-without-rbdelta.sh still restores its points, ` +
  'and backups go to another place';

async function absent(store: Store): Promise<RbdeltaError> {
  const point = await firstPoint(store);
  const place = store.nameOf('');
  return point === null
    ? new RbdeltaError('notFound', `there is no repository in ${place}: it has no ${fileName}`, {
        hint: 'make one: rbdelta repo init, with the same address',
      })
    : new RbdeltaError(
        'notFound',
        `the repository in ${place} lost its ${fileName}; its points are there, as ${point}`,
        {
          hint: restoreFile,
        },
      );
}

function decoded(bytes: Uint8Array, name: string): RepositoryFile {
  try {
    return decodeRepositoryFile(bytes, name);
  } catch (error) {
    if (!(error instanceof RbdeltaError) || error.code !== 'corrupt') throw error;
    throw new RbdeltaError(error.code, error.message, { hint: restoreFile, cause: error });
  }
}

/** Any point, or what was to become one, of any image; null where there is none. */
async function firstPoint(store: Store): Promise<string | null> {
  for await (const pool of store.folders(''))
    for await (const image of store.folders(`${pool}/`))
      for await (const point of store.folders(`${pool}/${image}/`))
        if (isPointId(point)) return `${printable(textOf(imageOfFolders(pool, image)))}@${point}`;
  return null;
}
