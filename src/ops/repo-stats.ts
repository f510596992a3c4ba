// `repo stats`: what the points of each image take, by the lists of the store and by the catalogs.

import { mapOrdered } from '../bytes/ordered.ts';
import { readPoints } from '../repo/catalog.ts';
import { findImages } from '../repo/find-point.ts';
import { type ImageName, imageFolder, isPointId } from '../repo/keys.ts';
import type { Repository } from '../repo/repository.ts';

export interface Stats {
  points: number;
  fulls: number;
  segments: number;
  /** Of the image at its newest point. */
  logicalBytes: number;
  /** Of data that the points tell of, decompressed. */
  dataBytes: number;
  /** Of segments, and of all files. */
  segmentBytes: number;
  storedBytes: number;
}

export interface ImageStats extends Stats {
  image: ImageName;
}

const imagesAtOnce = 8;

/** Costs a request for each page of the lists, and one for each catalog. */
export async function repositoryStats(
  repository: Repository,
  options: { name?: string | null; signal?: AbortSignal } = {},
): Promise<{ images: ImageStats[]; total: Stats }> {
  const found = await findImages(repository, options.name ?? null);
  const images: ImageStats[] = [];
  const total = empty();
  const counted = mapOrdered(found, imagesAtOnce, async (image) => {
    options.signal?.throwIfAborted();
    return statsOf(repository, image);
  });
  for await (const stats of counted) {
    if (stats === null) continue;
    images.push(stats);
    for (const field of Object.keys(total) as (keyof Stats)[]) total[field] += stats[field];
  }
  return { images, total };
}

const empty = (): Stats => ({
  points: 0,
  fulls: 0,
  segments: 0,
  logicalBytes: 0,
  dataBytes: 0,
  segmentBytes: 0,
  storedBytes: 0,
});

/** null for folders that are none of ours. */
async function statsOf(repository: Repository, image: ImageName): Promise<ImageStats | null> {
  const stats: ImageStats = { image, ...empty() };
  // Points that cannot be read are `repo check`'s to tell of; what they take counts.
  for (const { base, size, dataBytes } of await readPoints(repository, image, () => {})) {
    stats.points += 1;
    if (base === null) stats.fulls += 1;
    stats.logicalBytes = size;
    stats.dataBytes += dataBytes;
  }
  const root = imageFolder(image);
  let isOurs = false;
  for await (const { key, bytes } of repository.store.list(root)) {
    const [part = ''] = key.slice(root.length).split('/');
    isOurs ||= isPointId(part) || ['catalog.json', 'intent', 'lock'].includes(part);
    stats.storedBytes += bytes;
    if (!key.endsWith('.rbdiff.zst')) continue;
    stats.segments += 1;
    stats.segmentBytes += bytes;
  }
  return isOurs ? stats : null;
}
