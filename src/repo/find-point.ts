// Images and points as a person names them, looked up in a repository.

import { globMatches } from '../bytes/glob.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { manifestName } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import { images, type OnDamaged, readPoints } from './catalog.ts';
import { rawFile, type ImageName, pointFolder, textOf } from './keys.ts';
import { parsePointSpec, pointAt, type PointSpec, theImage } from './point-spec.ts';
import type { Repository } from './repository.ts';

export interface FoundPoint {
  image: ImageName;
  entry: CatalogEntry;
  /** All of the image, oldest first. */
  points: CatalogEntry[];
}

export interface FindOptions {
  nowMs: number;
  /** Told of points that cannot be read, and are passed over. Absent: the first one fails it. */
  onDamaged?: OnDamaged;
}

/** Images looked at at the same time. */
const imagesAtOnce = 8;

/** See point-spec.ts for what `text` may be. `notFound` with what there is instead. */
export async function findPoint(repository: Repository, text: string, options: FindOptions): Promise<FoundPoint> {
  const spec = parsePointSpec(text);
  const all = await listImages(repository);
  const image = isOfImage(spec) ? theImage(spec, all, placeOf(repository)) : await holderOf(repository, spec.when, all);
  const points = await readPoints(repository, image, options.onDamaged);
  return { image, entry: entryAt(points, spec.when, image, options.nowMs), points };
}

/** The point of one image that `when` names: an id, `latest`, a day or time, an age, a snapshot. */
export function entryAt(points: readonly CatalogEntry[], when: string, image: ImageName, nowMs: number): CatalogEntry {
  const timed = points.map((entry) => ({
    id: entry.id,
    snapshot: entry.snapshot,
    createdMs: Date.parse(entry.created),
    entry,
  }));
  return pointAt(timed, when, nowMs, printable(textOf(image))).entry;
}

/**
 * The images that `[pool/[namespace/]]image` means: without a pool those of any. `*` stands for any characters of a name,
 * `?` for one. null means all of them; a name that none has is `notFound`.
 */
export async function findImages(repository: Repository, name: string | null): Promise<ImageName[]> {
  const all = await listImages(repository);
  if (name === null) return all;
  const file = rawFile(name);
  const parts = file === null ? name.split('/') : [file.pool, file.image];
  const image = parts.at(-1) ?? '';
  const [pool = null, namespace = ''] = parts.slice(0, -1);
  const found = all.filter(
    (one) =>
      globMatches(image, one.image) &&
      (pool === null || (globMatches(pool, one.pool) && globMatches(namespace, one.namespace))),
  );
  if (found.length > 0 && parts.length <= 3) return found;
  throw new RbdeltaError('notFound', `there is no backup of "${printable(name)}" in ${placeOf(repository)}`, {
    hint: 'rbdelta repo list --images shows what there is',
  });
}

async function listImages(repository: Repository): Promise<ImageName[]> {
  const all: ImageName[] = [];
  for await (const image of images(repository)) all.push(image);
  return all;
}

const isOfImage = (spec: PointSpec): spec is PointSpec & { image: object } => spec.image !== null;

const placeOf = ({ store }: Repository): string => store.nameOf('');

/** The image that has a point of this id. */
async function holderOf(repository: Repository, id: string, all: readonly ImageName[]): Promise<ImageName> {
  const { store } = repository;
  const looked = mapOrdered(all, imagesAtOnce, async (image) => ({
    image,
    object: await store.stat(`${pointFolder(image, id)}${manifestName}`),
  }));
  for await (const { image, object } of looked) if (object !== null) return image;
  throw new RbdeltaError('notFound', `there is no point ${id} in ${placeOf(repository)}`, {
    hint: 'rbdelta repo list shows what there is',
  });
}

/** The ids of a chain from a point down, as the catalog tells them; no further than to `downTo`. */
export function chainIds(points: readonly CatalogEntry[], newest: string, downTo: string | null = null): string[] {
  const byId = new Map(points.map((one) => [one.id, one]));
  const ids: string[] = [];
  for (let one = byId.get(newest); one !== undefined && ids.length < points.length; one = byId.get(one.base ?? '')) {
    ids.push(one.id);
    if (one.id === downTo) break;
  }
  return ids;
}
