// `forget`, `prune`, `flatten`: points go, and those that build on them get what they need first.

import { isDeepStrictEqual } from 'node:util';
import { mapOrdered } from '../bytes/ordered.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Manifest } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import { readManifest, readPoints } from '../repo/catalog.ts';
import type { Chain } from '../repo/chain.ts';
import { chainIds } from '../repo/find-point.ts';
import { finishIntents, removePoints } from '../repo/finish-intents.ts';
import { clearIntent, writeIntent } from '../repo/intent.ts';
import { type ImageName, textOf } from '../repo/keys.ts';
import { type Lock, takeLock } from '../repo/lock.ts';
import type { Repository } from '../repo/repository.ts';
import { type Policy, type Retained, retain } from '../repo/retention.ts';
import { type ForgetPlan, planForget } from './forget-plan.ts';
import { rebasePoint, type RebasedPoint, type RebaseOptions, withThreads } from './rebase-point.ts';

export interface ForgetOptions extends RebaseOptions {
  waitMs?: number;
  onNotice?: (text: string) => void;
}

export interface Forgotten {
  removed: string[];
  /** What those points took. */
  freedBytes: number;
  rebased: RebasedPoint[];
}

/** All points of an image with what the policy does to them, and what that asks for. Nothing is changed. */
export async function planPrune(
  repository: Repository,
  image: ImageName,
  policy: Policy,
): Promise<Retained<CandidateEntry> & { points: CatalogEntry[]; plan: ForgetPlan }> {
  const points = await readPoints(repository, image);
  const retained = retain(points.map(candidate), policy);
  const ids = new Set(retained.remove.map(({ id }) => id));
  return { ...retained, points, plan: planForget(points, ids) };
}

/** Removes what the policy does not keep: it is asked again under the lock. */
export const prune = (
  repository: Repository,
  image: ImageName,
  policy: Policy,
  options: ForgetOptions,
): Promise<Forgotten> =>
  underLock(repository, image, 'prune', options, async (lock) => {
    const { points, plan } = await planPrune(repository, image, policy);
    return act(repository, image, points, plan, lock, options);
  });

/** What `forget` would do. `notFound` for a point that is not there, `busy` for one that is pinned. */
export async function planToForget(
  repository: Repository,
  image: ImageName,
  ids: ReadonlySet<string>,
): Promise<ForgetPlan> {
  return planOf(await readPoints(repository, image), image, ids);
}

function planOf(points: readonly CatalogEntry[], image: ImageName, ids: ReadonlySet<string>): ForgetPlan {
  for (const id of ids) {
    const point = points.find((one) => one.id === id);
    if (point === undefined) throw new RbdeltaError('notFound', `there is no point ${id} of ${textOf(image)}`);
    if (!point.pinned) continue;
    throw new RbdeltaError('busy', `the point ${id} of ${textOf(image)} is pinned`, {
      hint: `rbdelta repo unpin REPOSITORY ${printable(textOf(image))}@${id}`,
    });
  }
  return planForget(points, ids);
}

export const forget = (
  repository: Repository,
  image: ImageName,
  ids: ReadonlySet<string>,
  options: ForgetOptions,
): Promise<Forgotten> =>
  underLock(repository, image, 'forget', options, async (lock) => {
    const points = await readPoints(repository, image);
    return act(repository, image, points, planOf(points, image, ids), lock, options);
  });

/** The point becomes a full; nothing goes. One that is a full stays as it is: null. */
export const flatten = (
  repository: Repository,
  image: ImageName,
  id: string,
  options: ForgetOptions,
): Promise<RebasedPoint | null> =>
  underLock(repository, image, 'flatten', options, async (lock) => {
    const points = await readPoints(repository, image);
    const point = points.find((one) => one.id === id);
    if (point === undefined) throw new RbdeltaError('notFound', `there is no point ${id} of ${textOf(image)}`);
    if (point.base === null) return null;
    const ids = { point: id, base: null, expected: chainIds(points, id) };
    return withThreads(repository, options.level, (threads) =>
      rebasePoint(repository, image, ids, lock, threads, options),
    );
  });

async function underLock<T>(
  repository: Repository,
  image: ImageName,
  operation: string,
  options: ForgetOptions,
  work: (lock: Lock) => Promise<T>,
): Promise<T> {
  const { waitMs = 0, signal, onNotice } = options;
  const lock = await takeLock(repository, image, { operation, waitMs, signal, onNotice });
  try {
    await finishIntents(repository, image, onNotice);
    return await work(lock);
  } finally {
    await lock.release();
  }
}

async function act(
  repository: Repository,
  image: ImageName,
  points: readonly CatalogEntry[],
  { remove, rebase }: ForgetPlan,
  lock: Lock,
  options: ForgetOptions,
): Promise<Forgotten> {
  const rebased: RebasedPoint[] = [];
  // Nobody else changes one while we have the lock: each is read once.
  const manifests = new Map<string, Manifest>();
  await withThreads(repository, options.level, async (threads) => {
    for (const { point, base } of rebase) {
      const [id, to] = [point.id, base?.id ?? null];
      const ids = { point: id, base: to, expected: chainIds(points, id, to) };
      const onChain = (chain: Chain): void => {
        for (const one of chain.points) if (one.id !== id) manifests.set(one.id, one.manifest);
      };
      rebased.push(await rebasePoint(repository, image, ids, lock, threads, { ...options, onChain }));
    }
  });
  const removed = remove.map(({ id }) => id);
  if (removed.length > 0) {
    options.signal?.throwIfAborted();
    await checkRemovable(repository, image, remove, manifests);
    await lock.assertHeld();
    const about = { nowMs: options.nowMs(), version: options.version };
    await writeIntent(repository, image, { operation: 'delete', points: removed }, about);
    await removePoints(repository, image, removed);
    await clearIntent(repository, image, 'delete');
  }
  return { removed, freedBytes: remove.reduce((sum, { storedBytes }) => sum + storedBytes, 0), rebased };
}

/** Requests under way at once. */
const requests = 32;

/** The catalog is a copy: what cannot be undone goes by the manifests. */
async function checkRemovable(
  repository: Repository,
  image: ImageName,
  points: readonly CatalogEntry[],
  known: ReadonlyMap<string, Manifest>,
): Promise<void> {
  const looked = mapOrdered(points, requests, async (entry) => ({
    entry,
    // One that is damaged tells nothing: it was asked for to go.
    manifest: known.get(entry.id) ?? (await readManifest(repository, image, entry.id).catch(() => null)),
  }));
  for await (const { entry, manifest } of looked) {
    if (manifest === null) continue;
    const isSame = manifest.pinned === entry.pinned && isDeepStrictEqual(manifest.tags, entry.tags);
    if (isSame) continue;
    throw new RbdeltaError(
      'corrupt',
      `the catalog of ${textOf(image)} is not what the point ${entry.id} is: nothing is removed`,
      {
        hint: 'rbdelta repo repair makes it anew',
      },
    );
  }
}

export interface CandidateEntry {
  id: string;
  createdMs: number;
  tags: readonly string[];
  pinned: boolean;
  entry: CatalogEntry;
}

const candidate = (entry: CatalogEntry): CandidateEntry => ({
  id: entry.id,
  createdMs: Date.parse(entry.created),
  tags: entry.tags,
  pinned: entry.pinned,
  entry,
});
