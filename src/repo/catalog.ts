// What images and points there are. The manifests tell; a catalog per image saves reading all of them.

import { mapOrdered } from '../bytes/ordered.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { decodeManifest, type Manifest, limits as manifestLimits, manifestName } from '../format/manifest.ts';
import {
  type CatalogEntry,
  decodeCatalog,
  decodeProofs,
  encodeCatalog,
  limits as fileLimits,
  type Proof,
} from '../format/repository.ts';
import { type ImageName, imageFolder, imageOfFolders, isPointId, pointFolder, textOf } from './keys.ts';
import type { Repository } from './repository.ts';

/** Requests under way at once. */
const requests = 16;

export type OnDamaged = (point: string, error: RbdeltaError) => void;

/** The images that have a folder, sorted by their folders. */
export async function* images({ store }: Repository): AsyncGenerator<ImageName, void, undefined> {
  for await (const pool of store.folders(''))
    for await (const image of store.folders(`${pool}/`)) yield imageOfFolders(pool, image);
}

/** The manifest of a point; null where there is none. `corrupt` for that of another point. */
export async function readManifest({ store }: Repository, image: ImageName, point: string): Promise<Manifest | null> {
  const key = `${pointFolder(image, point)}${manifestName}`;
  const bytes = await store.get(key, manifestLimits.manifestBytes);
  if (bytes === null) return null;
  const manifest = decodeManifest(bytes, store.nameOf(key));
  const { pool, namespace, name } = manifest.image;
  const told = `${textOf({ pool, namespace, image: name })}@${manifest.point}`;
  if (told === `${textOf(image)}@${point}`) return manifest;
  const message = `the manifest ${store.nameOf(key)} is that of ${printable(told)}: it lies in the folder of another point`;
  throw new RbdeltaError('corrupt', message, { hint: 'put it back where it belongs, or the right one here' });
}

/**
 * The points of an image, oldest first: those in the catalog that have a folder, and those in no catalog that have a
 * manifest. Costs a request for each page of the list of folders, one for the catalog, one for each point not in it.
 * A manifest that cannot be read fails it, or is passed over if there is `onDamaged` to tell.
 */
export async function readPoints(
  repository: Repository,
  image: ImageName,
  onDamaged?: OnDamaged,
): Promise<CatalogEntry[]> {
  const [catalog, folders] = await Promise.all([readCatalog(repository, image), pointFolders(repository, image)]);
  const known = new Map(catalog.map((entry) => [entry.id, entry]));
  const found = folders.flatMap((id) => known.get(id) ?? []);
  const unknown = folders.filter((id) => !known.has(id));
  const lookedUp = mapOrdered(unknown, requests, async (id) => {
    try {
      const manifest = await readManifest(repository, image, id);
      return manifest === null ? null : entryOf(manifest);
    } catch (error) {
      if (onDamaged === undefined || !isOfContent(error)) throw error;
      onDamaged(id, error);
      return null;
    }
  });
  for await (const entry of lookedUp) if (entry !== null) found.push(entry);
  return found.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Of points, and of what were to become some. */
async function pointFolders({ store }: Repository, image: ImageName): Promise<string[]> {
  const found: string[] = [];
  for await (const folder of store.folders(imageFolder(image))) if (isPointId(folder)) found.push(folder);
  return found;
}

/** What is wrong is the file, not the way to it. */
export const isOfContent = (error: unknown): error is RbdeltaError =>
  error instanceof RbdeltaError && ['corrupt', 'unsupported', 'tooLarge'].includes(error.code);

/**
 * What is written; empty where there is none, or one that is damaged: the manifests tell then. `unsupported` for that of a
 * newer rbdelta, which may mean another thing by its points.
 */
export const readCatalog = async (repository: Repository, image: ImageName): Promise<CatalogEntry[]> =>
  (await writtenCatalog(repository, image)) ?? [];

async function writtenCatalog({ store }: Repository, image: ImageName): Promise<CatalogEntry[] | null> {
  const key = catalogKey(image);
  try {
    const bytes = await store.get(key, fileLimits.catalogBytes);
    return bytes === null ? null : decodeCatalog(bytes, store.nameOf(key)).points;
  } catch (error) {
    if (!isOfContent(error) || error.code === 'unsupported') throw error;
    return null;
  }
}

/**
 * Replaces the catalog by what `change` makes of it, or of what the manifests tell where it is not there or damaged. Only
 * under the image's lock.
 */
export async function updateCatalog(
  repository: Repository,
  image: ImageName,
  change: (points: CatalogEntry[]) => CatalogEntry[],
): Promise<void> {
  const written = (await writtenCatalog(repository, image)) ?? (await entriesOfManifests(repository, image));
  const points = change(written).sort((a, b) => (a.id < b.id ? -1 : 1));
  await repository.store.put(catalogKey(image), encodeCatalog({ format: 1, points }));
}

/** Points whose manifests cannot be read are not among them: readers look into folders that no catalog tells of. */
async function entriesOfManifests(repository: Repository, image: ImageName): Promise<CatalogEntry[]> {
  const points = await readPoints(repository, image, () => {});
  const found: CatalogEntry[] = [];
  const proved = mapOrdered(points, requests, async (entry) => ({
    ...entry,
    proofs: await provedOf(repository, image, entry.id),
  }));
  for await (const entry of proved) found.push(entry);
  return found;
}

async function provedOf({ store }: Repository, image: ImageName, point: string): Promise<CatalogEntry['proofs']> {
  const key = `${pointFolder(image, point)}proofs.json`;
  try {
    const bytes = await store.get(key, fileLimits.proofsBytes);
    return bytes === null ? {} : proofTimes(decodeProofs(bytes, store.nameOf(key)).proofs);
  } catch (error) {
    if (!isOfContent(error)) throw error;
    return {};
  }
}

/** What the catalog has of proofs: those that succeeded, of the whole, and those that failed. */
export function proofTimes(proofs: readonly Proof[]): CatalogEntry['proofs'] {
  const good = proofs.filter(({ ok, percent }) => ok && percent === 100);
  const failed = proofs.filter(({ ok }) => !ok).map(({ level }) => level);
  const times = Object.fromEntries(good.map(({ level, finished }) => [level, finished]));
  return { ...times, ...(failed.length > 0 && { failed }) };
}

/** The catalog with this entry in place of the one with its id, if there is one. */
export const withEntry =
  (entry: CatalogEntry) =>
  (points: CatalogEntry[]): CatalogEntry[] => [...points.filter(({ id }) => id !== entry.id), entry];

export const catalogKey = (image: ImageName): string => `${imageFolder(image)}catalog.json`;

/** What the catalog says of a point. `proofs` are not in the manifest. */
export function entryOf(manifest: Manifest, proofs: CatalogEntry['proofs'] = {}): CatalogEntry {
  const { image, snapshot, base, stream, segments, index, writer } = manifest;
  return {
    id: manifest.point,
    pool: image.pool,
    namespace: image.namespace,
    image: image.name,
    imageId: image.id,
    snapshot: snapshot.name,
    created: manifest.created,
    base: base?.point ?? null,
    size: image.size,
    fingerprint: manifest.fingerprint,
    dataBytes: stream.dataBytes,
    storedBytes: segments.reduce((sum, { bytes }) => sum + bytes, 0) + index.bytes,
    tags: manifest.tags,
    pinned: manifest.pinned,
    seconds: writer.seconds,
    proofs,
  };
}
