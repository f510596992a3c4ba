// The image cache: bases, made of a source once, that volumes are cloned from. What is there, what has to go, and its removal.
//
// A base is an image `image-cache.<digest of what it was made of>` with the protected snapshot `cached`. Without that it is
// being filled, if somebody has it open, or was left behind. Clones are of format 1: a base that is being cloned cannot be
// unprotected, and one that is not protected cannot be cloned, whichever process is first.

import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { closing } from '../bytes/closing.ts';
import { RbdeltaError } from '../error.ts';
import type { Cluster, Image } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';

/** A pool and namespace that hold bases. */
export type CacheSpace = Pick<ImageSpec, 'pool' | 'namespace'>;

/** null: no limit. Bytes are those of the images, whether they are used or not. */
export interface CacheLimits {
  maxCount: number | null;
  maxBytes: number | null;
}

export interface CacheEntry {
  /** The base. */
  image: string;
  id: string;
  /** What it was made of, as a person named it; null while nobody has told. */
  source: string | null;
  state: 'ready' | 'filling' | 'leftover';
  size: number;
  usedMs: number;
  clones: number;
}

export const cachedSnap = 'cached';
export const metadataKeys = { source: 'rbdelta.cache.source', used: 'rbdelta.cache.used' } as const;

const baseNames = /^image-cache\.[0-9a-f]{24}$/u;
const unfinishedNames = /^image-cache\.[0-9a-f]{24}\.[0-9a-f]{8}$/u;

export const baseNameOf = (identity: string): string =>
  `image-cache.${createHash('sha256').update(identity).digest('hex').slice(0, 24)}`;

/** What a volume is called until it is whole. */
export const unfinishedName = (base: string): string => `${base}.${randomBytes(4).toString('hex')}`;

/** How long nobody may have an image open until it counts as left behind: who made it opens it at once. */
const settleMs = 2000;

export const baseSpec = ({ pool, namespace }: CacheSpace, image: string, snap: string | null = null): ImageSpec => ({
  pool,
  namespace,
  image,
  snap,
});

/** null where there is no such image. */
export async function readEntry(cluster: Cluster, space: CacheSpace, image: string): Promise<CacheEntry | null> {
  const spec = baseSpec(space, image);
  return unlessGone(async () => {
    const { info, isOpen } = await closing(await cluster.open(spec), async (opened) => ({
      info: await opened.info(),
      isOpen: await isOpenElsewhere(opened),
    }));
    const isReady = info.snapshots.some(
      ({ name, namespace, protection }) => name === cachedSnap && namespace === 'user' && protection === 'protected',
    );
    const metadata = await cluster.metadata(spec);
    const usedMs = Date.parse(metadata.get(metadataKeys.used) ?? '');
    return {
      image,
      id: info.id,
      source: metadata.get(metadataKeys.source) ?? null,
      state: isReady ? 'ready' : isOpen ? 'filling' : 'leftover',
      size: info.size,
      usedMs: Number.isNaN(usedMs) ? (info.createdMs ?? 0) : usedMs,
      clones: (await cluster.children(spec)).length,
    };
  });
}

/** All bases, the least recently used first. */
export async function readCache(cluster: Cluster, space: CacheSpace): Promise<CacheEntry[]> {
  const entries: CacheEntry[] = [];
  for (const name of await cluster.list(space.pool, space.namespace)) {
    const entry = baseNames.test(name) ? await readEntry(cluster, space, name) : null;
    if (entry !== null) entries.push(entry);
  }
  return entries.sort((a, b) => a.usedMs - b.usedMs || (a.image < b.image ? -1 : 1));
}

/**
 * What has to go so that the limits hold with `incoming` bytes more in a base more (null: with what there is): the least
 * recently used of those without clones. `fits` is false where that is not enough.
 */
export function planRoom(
  entries: readonly CacheEntry[],
  { maxCount, maxBytes }: CacheLimits,
  incoming: number | null,
): { evict: CacheEntry[]; fits: boolean } {
  let count = entries.length + (incoming === null ? 0 : 1);
  let bytes = entries.reduce((sum, { size }) => sum + size, incoming ?? 0);
  const fits = (): boolean => count <= (maxCount ?? Infinity) && bytes <= (maxBytes ?? Infinity);
  const evict: CacheEntry[] = [];
  for (const entry of entries.toSorted((a, b) => a.usedMs - b.usedMs)) {
    if (fits()) break;
    if (entry.state !== 'ready' || entry.clones > 0) continue;
    evict.push(entry);
    count -= 1;
    bytes -= entry.size;
  }
  return { evict, fits: fits() };
}

/** Resolves to whether it is gone; one that somebody uses stays as it is. Killed meanwhile, it is a leftover. */
export async function removeBase(cluster: Cluster, spec: ImageSpec): Promise<boolean> {
  try {
    await closing(await cluster.openToWrite(spec), async (image) => {
      for (const { name, namespace, protection } of (await image.info()).snapshots) {
        if (namespace !== 'user') continue;
        if (protection !== 'unprotected') await image.unprotectSnapshot(name);
        await image.removeSnapshot(name);
      }
    });
    await cluster.remove(spec);
    return true;
  } catch (error) {
    if (!(error instanceof RbdeltaError)) throw error;
    if (error.code === 'notFound') return true;
    // the snapshot has clones, or somebody has the image open
    if (['busy', 'notEmpty'].includes(error.code)) return false;
    throw error;
  }
}

/** Removes what killed processes left behind: bases without their snapshot, volumes without their name. */
export async function sweepCache(cluster: Cluster, space: CacheSpace): Promise<string[]> {
  const abandoned = await leftovers(cluster, space);
  if (abandoned.size === 0) return [];
  await sleep(settleMs);
  const still = await leftovers(cluster, space);
  const removed: string[] = [];
  for (const [image, id] of abandoned)
    if (still.get(image) === id && (await removeBase(cluster, baseSpec(space, image)))) removed.push(image);
  return removed;
}

/** Names, with the ids of the images. */
export async function leftovers(cluster: Cluster, space: CacheSpace): Promise<Map<string, string>> {
  const found = new Map<string, string>();
  for (const name of await cluster.list(space.pool, space.namespace)) {
    if (!baseNames.test(name) && !unfinishedNames.test(name)) continue;
    const entry = await readEntry(cluster, space, name);
    if (entry?.state === 'leftover') found.set(name, entry.id);
  }
  return found;
}

/** Waits until it is certain that nobody is about to open it, and removes it: resolves to false where it stays. */
export async function removeLeftover(cluster: Cluster, space: CacheSpace, { image, id }: CacheEntry): Promise<boolean> {
  await sleep(settleMs);
  const now = await readEntry(cluster, space, image);
  // somebody was faster, or is at it
  if (now === null || now.id !== id || now.state !== 'leftover') return true;
  return removeBase(cluster, baseSpec(space, image));
}

const isOpenElsewhere = async (image: Image): Promise<boolean> => ((await image.watchers?.()) ?? []).length > 0;

/** null where it is gone, at the beginning or in the middle. */
export async function unlessGone<T>(act: () => Promise<T>): Promise<T | null> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'notFound') return null;
    throw error;
  }
}

/** Evicts what the limits do not keep; without any limit, all that have no clones. Sweeps first. */
export async function purgeCache(
  cluster: Cluster,
  space: CacheSpace,
  limits: CacheLimits,
): Promise<{ removed: string[]; entries: CacheEntry[] }> {
  const removed = await sweepCache(cluster, space);
  for (const { image } of planPurge(await readCache(cluster, space), limits))
    if (await removeBase(cluster, baseSpec(space, image))) removed.push(image);
  return { removed, entries: await readCache(cluster, space) };
}

export const planPurge = (entries: readonly CacheEntry[], limits: CacheLimits): CacheEntry[] =>
  limits.maxCount === null && limits.maxBytes === null
    ? entries.filter(({ state, clones }) => state === 'ready' && clones === 0)
    : planRoom(entries, limits, null).evict;
