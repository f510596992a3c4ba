// A chain: the points from a full to the one that is asked for, each of which builds on the one before.

import PQueue from 'p-queue';
import { mapOrdered } from '../bytes/ordered.ts';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Manifest } from '../format/manifest.ts';
import type { Store } from '../store/port.ts';
import { type ArchiveReader, openArchive, type ReadStore } from './archive-reader.ts';
import { isOfContent, readManifest } from './catalog.ts';
import { type ImageName, pointFolder, textOf } from './keys.ts';
import type { Repository } from './repository.ts';
import { checkHint, startUnpacker, type Unpacker } from './unpack.ts';

export interface ChainPoint {
  id: string;
  manifest: Manifest;
  archive: ArchiveReader;
  /**
   * The smallest size of the image at this point and all later ones of the chain: what the point has shows only below.
   * What a shrink cut off does not come back.
   */
  limit: number;
}

export interface Chain {
  repository: Repository;
  image: ImageName;
  /** Oldest first: a full, then increments. At least one. */
  points: ChainPoint[];
  /** Of the image at the newest point. */
  size: number;
  /** Ends its own threads; what they were doing rejects. */
  close(): Promise<void>;
}

export interface ChainOptions {
  /** Ids that the chain is expected to have, as the catalog tells: their manifests are fetched at the same time. */
  expected?: readonly string[];
  /** Threads that others use as well; they are not ended with the chain. Absent: its own, one for each core. */
  unpacker?: Unpacker;
  /** Only down to this point, for what does not read below it. Absent: to the full. */
  downTo?: string;
}

/** Manifests, indexes and frames of a chain under way at the same time. */
const requests = 32;

/**
 * The chain down from a point. The links are checked: each point is of this repository, and was made from the very state
 * that the point below it has: else `corrupt`, which says which points of the chain that concerns. `notFound` if there is
 * no such point. The caller closes it.
 */
export async function loadChain(
  repository: Repository,
  image: ImageName,
  point: string,
  options: ChainOptions = {},
): Promise<Chain> {
  const manifests = await loadManifests(repository, image, point, options.expected ?? [], options.downTo ?? null);
  const unpacker = options.unpacker ?? startUnpacker();
  const store = atMost(repository.store, requests);
  const points = manifests.map((manifest): ChainPoint => {
    const { point: id } = manifest;
    const archive = blaming(id, openArchive(store, pointFolder(image, id), manifest, unpacker));
    return { id, manifest, archive, limit: 0 };
  });
  let limit = Number.POSITIVE_INFINITY;
  for (const one of points.toReversed()) {
    limit = Math.min(limit, one.manifest.image.size);
    one.limit = limit;
  }
  const size = manifests.at(-1)?.image.size ?? 0;
  const close = async (): Promise<void> => {
    if (options.unpacker === undefined) await unpacker.stop();
  };
  return { repository, image, points, size, close };
}

const damagedPoints = new WeakMap<object, string>();

/** The point whose files a failure to read a chain is about; null for any other failure. */
export const damagedPointOf = (error: unknown): string | null =>
  error instanceof RbdeltaError ? (damagedPoints.get(error) ?? damagedPointOf(error.cause)) : null;

/** Failures tell of which point they are. A file that is not there is damage: the manifest names it. */
function blaming(id: string, archive: ArchiveReader): ArchiveReader {
  const blame = (error: unknown): never => {
    if (!(error instanceof RbdeltaError)) throw error;
    const { code, message, hint = checkHint } = error;
    const failure = code === 'notFound' ? new RbdeltaError('corrupt', message, { hint, cause: error }) : error;
    damagedPoints.set(failure, id);
    throw failure;
  };
  return {
    async index() {
      const index = await archive.index().catch(blame);
      return { ...index, page: (number) => index.page(number).catch(blame) };
    },
    readFrame: (frame, into) => archive.readFrame(frame, into).catch(blame),
  };
}

/** Oldest first. */
async function loadManifests(
  repository: Repository,
  image: ImageName,
  point: string,
  expected: readonly string[],
  downTo: string | null,
): Promise<Manifest[]> {
  const read = (id: string): Promise<Manifest | null> =>
    readManifest(repository, image, id).catch((error: unknown) => {
      if (!isOfContent(error) || error.hint !== undefined) throw error;
      throw new RbdeltaError(error.code, error.message, { hint: checkHint, cause: error });
    });
  const fetched = new Map<string, Manifest>();
  // What the hints name and nothing needs may be missing or damaged.
  const hinted = mapOrdered(new Set(expected), requests, async (id) => [id, await read(id).catch(() => null)] as const);
  for await (const [id, manifest] of hinted) if (manifest !== null) fetched.set(id, manifest);
  const newestFirst: Manifest[] = [];
  const seen = new Set<string>();
  for (let id: string | null = point; id !== null; ) {
    const above = newestFirst.at(-1) ?? null;
    if (seen.has(id)) {
      throw broken(`the point ${id} of ${textOf(image)} builds on itself, by way of ${above?.point}`, newestFirst);
    }
    seen.add(id);
    const manifest: Manifest | null = fetched.get(id) ?? (await read(id));
    if (manifest === null) throw missing(repository, image, id, newestFirst);
    checkLink(repository, image, id, manifest, above, newestFirst);
    newestFirst.push(manifest);
    id = id === downTo ? null : (manifest.base?.point ?? null);
  }
  return newestFirst.toReversed();
}

/** `needing` are the points that need `manifest`, newest first; the last of them, `above`, names it as its base. */
function checkLink(
  repository: Repository,
  image: ImageName,
  id: string,
  manifest: Manifest,
  above: Manifest | null,
  needing: readonly Manifest[],
): void {
  const name = `the point ${id} of ${textOf(image)}`;
  if (manifest.point !== id) throw broken(`${name} has the manifest of ${manifest.point}`, [...needing, manifest]);
  if (manifest.repository !== repository.id) {
    const of = `is of the repository ${manifest.repository}, but lies in ${repository.id}`;
    throw broken(`${name} ${of}, ${repository.store.nameOf('')}`, [...needing, manifest]);
  }
  if (above === null || above.base === null || above.base.fingerprint === manifest.fingerprint) return;
  const states = `has the state ${manifest.fingerprint}, but ${above.point} was made from ${above.base.fingerprint}`;
  throw broken(`${name} ${states}`, needing);
}

function missing(repository: Repository, image: ImageName, id: string, needing: readonly Manifest[]): RbdeltaError {
  const where = `in ${repository.store.nameOf(pointFolder(image, id))}`;
  const message = `there is no point ${id} of ${textOf(image)} ${where}${needing.length === 0 ? '' : affected(needing)}`;
  return needing.length === 0
    ? new RbdeltaError('notFound', message, { hint: 'rbdelta repo list shows what there is' })
    : new RbdeltaError('corrupt', message, { hint: checkHint });
}

const broken = (how: string, needing: readonly Manifest[]): RbdeltaError =>
  new RbdeltaError('corrupt', how + affected(needing), { hint: checkHint });

/** Which points cannot be read for that: newest first, they come oldest last. */
function affected(needing: readonly Manifest[]): string {
  const oldest = needing.at(-1)?.point;
  const newest = needing[0]?.point;
  if (needing.length === 1) return `: ${newest} cannot be read`;
  return `: ${counted(needing.length, 'point')} cannot be read, ${oldest} to ${newest}`;
}

/** The store with a bound on what is read at the same time: a thousand points would ask all at once. */
function atMost(store: Store, count: number): ReadStore {
  const queue = new PQueue({ concurrency: count });
  return {
    nameOf: (key) => store.nameOf(key),
    stat: (key) => queue.add(() => store.stat(key)),
    read: (key, offset, into) => queue.add(() => store.read(key, offset, into)),
  };
}
