// `repo list`: which points there are, by the catalogs.

import { mapOrdered } from '../bytes/ordered.ts';
import type { RbdeltaError } from '../error.ts';
import type { CatalogEntry } from '../format/repository.ts';
import { readPoints } from '../repo/catalog.ts';
import { findImages } from '../repo/find-point.ts';
import type { ImageName } from '../repo/keys.ts';
import { failedPoints } from '../repo/proofs.ts';
import type { Repository } from '../repo/repository.ts';

export interface ListOptions {
  /** `[pool/[namespace/]]image`, perhaps with `*` and `?`; absent: all. */
  name?: string | null;
  /** Only points with one of these tags; absent or empty: all. */
  tags?: readonly string[];
  signal?: AbortSignal;
}

export interface ListedImage {
  image: ImageName;
  /** Oldest first. */
  points: CatalogEntry[];
  /** Points that are there, but cannot be read. */
  damaged: { point: string; error: RbdeltaError }[];
  /** Of all its points those that `repo verify` found damaged when it last looked, and those that build on them. */
  failed: ReadonlySet<string>;
}

/** Images looked at at the same time: each costs a list of its folders, and its catalog. */
const imagesAtOnce = 16;

/** The images in the order of their folders, each as soon as it is known. `notFound` for a name that none has. */
export async function* listPoints(
  repository: Repository,
  options: ListOptions = {},
): AsyncGenerator<ListedImage, void, undefined> {
  const { name = null, tags = [], signal } = options;
  const found = await findImages(repository, name);
  yield* mapOrdered(found, imagesAtOnce, async (image): Promise<ListedImage> => {
    signal?.throwIfAborted();
    const damaged: ListedImage['damaged'] = [];
    const points = await readPoints(repository, image, (point, error) => damaged.push({ point, error }));
    const wanted = tags.length === 0 ? points : points.filter((one) => one.tags.some((tag) => tags.includes(tag)));
    return { image, points: wanted, damaged, failed: failedPoints(points) };
  });
}

/** When something was last proved of the point; null: never. */
export const lastProof = ({ proofs: { audit, scrub, source, rehearse } }: CatalogEntry): string | null =>
  [audit, scrub, source, rehearse]
    .filter((time) => time !== undefined)
    .sort()
    .at(-1) ?? null;
