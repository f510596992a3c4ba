// `image-cache clone`: a volume out of a source, as a clone of the base that the cache has of it, or gets of it now.

import { setTimeout as sleep } from 'node:timers/promises';
import { closing } from '../bytes/closing.ts';
import { interruption } from '../bytes/errno.ts';
import type { ByteSource } from '../bytes/source.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { feature } from '../format/rbd-features.ts';
import type { Cluster, CreateOptions, WritableImage } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import {
  baseNameOf,
  baseSpec,
  cachedSnap,
  type CacheEntry,
  type CacheLimits,
  type CacheSpace,
  metadataKeys,
  planRoom,
  readCache,
  readEntry,
  removeBase,
  removeLeftover,
  sweepCache,
  unfinishedName,
  unlessGone,
} from './image-cache.ts';
import { importRaw } from './import.ts';
import { attempt, defaultStallMs, withState } from './undo.ts';

/** What a volume is made of: raw bytes. */
export interface CacheSource {
  /** Tells it from any other, and from itself once it has changed: what has the same is the same. */
  identity: string;
  /** As a person knows it. */
  label: string;
  /** Bytes, null where nobody knows before the end. */
  size: number | null;
  open(): Promise<ByteSource>;
  /** Fails if it is not what it was when its identity was told. */
  check(): Promise<void>;
}

export interface CacheCloneOptions extends CacheLimits {
  /** Where bases are; the volume's own pool and namespace if absent. */
  space?: CacheSpace;
  /** Of the volume, at least that of the source; absent: that. */
  size?: number;
  create?: Omit<CreateOptions, 'size'>;
  /** How long to wait while another process fills the base. */
  waitMs: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of the source that were read. */
  onProgress?: (bytes: number) => void;
}

export interface CacheCloned {
  /** `hit`: the base was there. `filled`: it was made. `uncached`: there was no room for it, the volume has its own data. */
  outcome: 'hit' | 'filled' | 'uncached';
  /** null: the volume is no clone. */
  base: string | null;
  size: number;
  evicted: string[];
}

/** What `cloneFromCache` would do now. */
export async function planCacheClone(
  cluster: Cluster,
  source: CacheSource,
  target: ImageSpec,
  options: CacheCloneOptions,
): Promise<Omit<CacheCloned, 'size'>> {
  const space = options.space ?? target;
  await checkFree(cluster, target);
  const base = baseNameOf(source.identity);
  const entries = await readCache(cluster, space);
  const found = entries.find(({ image }) => image === base);
  if (found?.state === 'ready' || found?.state === 'filling') return { outcome: 'hit', base, evicted: [] };
  const others = entries.filter(({ state }) => state !== 'leftover');
  const { evict, fits } = planRoom(others, options, source.size ?? 0);
  if (!fits) return { outcome: 'uncached', base: null, evicted: [] };
  return { outcome: 'filled', base, evicted: evict.map(({ image }) => image) };
}

/**
 * Makes the volume: it is there under its name when it is whole, and not before. `exists` where the name is taken; `busy`
 * when another process fills the base for longer than `waitMs`. Killed at any moment, it leaves nothing but images that
 * `sweepCache` recognises, which the next call does.
 */
export async function cloneFromCache(
  cluster: Cluster,
  source: CacheSource,
  target: ImageSpec,
  options: CacheCloneOptions,
): Promise<CacheCloned> {
  const job: Job = {
    cluster,
    source,
    target,
    options,
    space: options.space ?? { pool: target.pool, namespace: target.namespace },
    base: baseNameOf(source.identity),
    evicted: [],
  };
  await checkFree(cluster, target);
  if (source.size !== null && options.size !== undefined && options.size < source.size)
    throw tooSmall(options.size, source.size);
  const untilMs = Date.now() + options.waitMs;
  for (let filled = false, told = false, tries = 0; ; ) {
    if (options.signal?.aborted) throw interruption(options.signal);
    const entry = await readEntry(cluster, job.space, job.base);
    if (entry?.state === 'ready') {
      const unfinished = await cloneBase(job, entry, ++tries);
      if (unfinished === null) continue;
      const kept = await finishVolume(job, entry, unfinished, filled);
      return { ...kept, evicted: job.evicted };
    }
    if (entry?.state === 'filling') {
      if (Date.now() >= untilMs) throw stillFilling(job);
      if (!told) options.onNotice?.(`waiting for another process, which fills ${printable(job.base)}`);
      told = true;
      await sleep(pollMs);
      continue;
    }
    const inTheWay = entry !== null && !(await removeLeftover(cluster, job.space, entry));
    if (inTheWay || !(await makeRoom(job, source.size ?? 0, null))) return uncached(job);
    filled = (await fillBase(job)) || filled;
    tries = 0;
  }
}

const pollMs = 500;
const cloneTries = 5;

interface Job {
  cluster: Cluster;
  source: CacheSource;
  target: ImageSpec;
  options: CacheCloneOptions;
  space: CacheSpace;
  base: string;
  /** Names of bases that had to go. */
  evicted: string[];
}

const stillFilling = ({ base, space, options }: Job): RbdeltaError =>
  new RbdeltaError(
    'busy',
    `another process has been filling ${printable(formatSpec(baseSpec(space, base)))} for ${Math.round(options.waitMs / 1000)} s`,
    { hint: 'wait longer (--wait), or look what that process is at: rbdelta status' },
  );

async function checkFree(cluster: Cluster, target: ImageSpec): Promise<void> {
  const there = await unlessGone(() => cluster.open(target));
  if (there === null) return;
  await there.close();
  throw new RbdeltaError('exists', `there is already an image ${printable(formatSpec(target))}`, {
    hint: 'choose another name',
  });
}

/**
 * Evicts until the limits hold: with a base of `bytes` more, or with what there is when `own`, which stays, is among it. false, and
 * nothing is changed, where that cannot be.
 */
async function makeRoom(
  { cluster, options, space, base, target, evicted }: Job,
  bytes: number,
  own: string | null,
): Promise<boolean> {
  for (const swept of new Map([space, target].map((one) => [`${one.pool}/${one.namespace}`, one])).values())
    await sweepCache(cluster, swept);
  if (options.maxBytes === null && options.maxCount === null) return true;
  const staying = new Set(own === null ? [] : [own]);
  for (;;) {
    const entries = (await readCache(cluster, space)).map((entry) =>
      staying.has(entry.image) ? { ...entry, state: 'filling' as const } : entry,
    );
    // somebody else has begun it meanwhile
    if (own === null && entries.some(({ image }) => image === base)) return true;
    const { evict, fits } = planRoom(entries, options, own === null ? bytes : null);
    if (!fits) return false;
    if (evict.length === 0) return true;
    for (const { image } of evict) {
      // one that somebody uses by now stays
      if (await removeBase(cluster, baseSpec(space, image))) evicted.push(image);
      else staying.add(image);
    }
  }
}

/** Resolves to false where another process was faster. */
async function fillBase({ cluster, source, options, space, base }: Job): Promise<boolean> {
  const { create, signal, onNotice, onProgress } = options;
  const spec = baseSpec(space, base);
  try {
    await importing(source, (opened) =>
      importRaw(cluster, spec, opened, source.size, {
        namedFirst: true,
        create: withLayering(create),
        ...(signal && { signal }),
        ...(onNotice && { onNotice }),
        ...(onProgress && { onProgress }),
        async seal(image) {
          await source.check();
          await cluster.setMetadata(spec, metadataKeys.source, source.label);
          await cluster.setMetadata(spec, metadataKeys.used, new Date().toISOString());
          await image.createSnapshot(cachedSnap);
          await image.protectSnapshot(cachedSnap);
        },
      }),
    );
    return true;
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'exists') return false;
    throw error;
  }
}

const withLayering = (create: CacheCloneOptions['create'] = {}): Omit<CreateOptions, 'size'> =>
  create.features === undefined ? create : { ...create, features: create.features | feature.layering };

const importing = async <T>(source: CacheSource, use: (opened: ByteSource) => Promise<T>): Promise<T> =>
  closing(await source.open(), use);

/** The clone, under a name of its own; null where the base is going away. */
async function cloneBase(job: Job, entry: CacheEntry, tries: number): Promise<ImageSpec | null> {
  const { cluster, target, options, space, base } = job;
  if (options.size !== undefined && options.size < entry.size) throw tooSmall(options.size, entry.size);
  const unfinished = { ...target, image: unfinishedName(base) };
  try {
    await cluster.setMetadata(baseSpec(space, base), metadataKeys.used, new Date().toISOString());
    const create = withLayering(options.create);
    await cluster.clone(baseSpec(space, base, cachedSnap), unfinished, { ...create, cloneFormat: 1 });
    return unfinished;
  } catch (error) {
    const now = await readEntry(cluster, space, base);
    if (now?.state !== 'ready' || now.id !== entry.id) return null;
    // somebody who tries to remove it takes its protection for a moment, until its clones are seen
    if (!(error instanceof RbdeltaError) || !['invalid', 'busy', 'notFound'].includes(error.code)) throw error;
    if (tries >= cloneTries) throw error;
    await sleep(pollMs);
    return null;
  }
}

const tooSmall = (size: number, least: number): RbdeltaError =>
  new RbdeltaError('invalid', `a volume of ${size} bytes is too small for a source of ${least}`, {
    hint: '--size takes what is at least the size of the source',
  });

/** Gives the clone its size and its name; one whose base has no room in the cache gets data of its own. */
async function finishVolume(
  job: Job,
  entry: CacheEntry,
  unfinished: ImageSpec,
  filled: boolean,
): Promise<Omit<CacheCloned, 'evicted'>> {
  const { cluster, target, options, space, base } = job;
  const size = options.size ?? entry.size;
  return orRemove(job, unfinished, async () => {
    // others may have filled bases at the same time, and how large this one would be may not have been known
    const fits = await closing(await cluster.openToWrite(unfinished), async (image) => {
      for (const key of Object.values(metadataKeys)) await unlessGone(() => cluster.removeMetadata(unfinished, key));
      if (size > entry.size) await image.resize(size);
      const fits = !filled || (await makeRoom(job, 0, base));
      if (!fits) await image.flatten();
      await cluster.rename(unfinished, target.image);
      return fits;
    });
    if (fits) return { outcome: filled ? 'filled' : 'hit', base, size };
    noRoom(job);
    await removeBase(cluster, baseSpec(space, base));
    return { outcome: 'uncached', base: null, size };
  });
}

/** The volume as an image of its own. */
async function uncached(job: Job): Promise<CacheCloned> {
  const { cluster, source, target, options, base } = job;
  noRoom(job);
  const unfinished = { ...target, image: unfinishedName(base) };
  let size = 0;
  await importing(source, (opened) =>
    importRaw(cluster, unfinished, opened, source.size, {
      namedFirst: true,
      ...(options.create && { create: options.create }),
      ...(options.signal && { signal: options.signal }),
      ...(options.onProgress && { onProgress: options.onProgress }),
      async seal(image) {
        await source.check();
        size = await grown(image, options.size);
      },
    }),
  );
  await orRemove(job, unfinished, () => cluster.rename(unfinished, target.image));
  return { outcome: 'uncached', base: null, size, evicted: job.evicted };
}

const noRoom = ({ options, space }: Job): void =>
  options.onNotice?.(
    `the cache in ${printable([space.pool, space.namespace].filter(Boolean).join('/'))} has no room: the volume gets data of its own`,
  );

async function grown(image: WritableImage, size: number | undefined): Promise<number> {
  const { size: least } = await image.info();
  if (size === undefined || size === least) return least;
  if (size < least) throw tooSmall(size, least);
  await image.resize(size);
  return size;
}

async function orRemove<T>({ cluster }: Job, unfinished: ImageSpec, act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    const remove = async () => void (await unlessGone(() => cluster.remove(unfinished)));
    const failed = await attempt(remove, defaultStallMs);
    if (failed === null) throw error;
    throw withState(error, `"${printable(formatSpec(unfinished))}" could not be removed again (${failed})`);
  }
}
