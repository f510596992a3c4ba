// `deep cp`: a new image with all that another one has: snapshots, metadata, of a clone its parent.

import { interruption } from '../bytes/errno.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Cluster, ClusterImage, Image, ImageInfo } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import { defaultSparseBytes } from './apply.ts';
import { type CopyJob, copyChanges } from './copy-changes.ts';
import { type CopiedImage, type CopyImageOptions, copyMetadata, creationLike } from './copy-image.ts';
import { planDiff } from './diff-plan.ts';
import { madeWhole } from './half-made.ts';

export interface DeepCopyImageOptions extends CopyImageOptions {
  /** The copy of a clone holds all that it shows, and has no parent. */
  flatten?: boolean;
  /** The format of the clone that the copy becomes; absent: 1 where that can be. */
  cloneFormat?: 1 | 2;
}

/**
 * Copies the image that `spec` names with its snapshots, or with those up to the one that `spec` names, as which the
 * copy's head reads then. Inside one Ceph it is librbd that copies. All or nothing.
 */
export async function deepCopyImage(
  from: Cluster,
  spec: ImageSpec,
  to: Cluster,
  dest: ImageSpec,
  options: DeepCopyImageOptions = {},
): Promise<CopiedImage> {
  const { signal, onProgress } = options;
  const info = await infoOf(from, spec);
  const versions = versionsOf(info, options);
  const parent = options.flatten === true ? null : await parentOf(from, spec, versions);
  if (parent !== null && from !== to) {
    throw new RbdeltaError('unsupported', `${printable(formatSpec(spec))} is a clone, and its parent stays behind`, {
      hint: '--flatten makes the copy independent of it',
    });
  }
  const create = creationLike(info, from === to, options);
  // librbd refuses an image of which some versions have a parent and others have none
  const isMixed = parent !== null && versions.some(({ parentOverlap }) => parentOverlap === null);
  const { cloneFormat } = options;
  const fill = async (half: ImageSpec): Promise<CopiedImage> => {
    if (from === to && from.deepCopy !== undefined && !isMixed) {
      const format = cloneFormat === undefined ? {} : { cloneFormat };
      await from.deepCopy(spec, half, { ...create, ...format, flatten: options.flatten ?? false }, onProgress);
      if (signal?.aborted) throw interruption(signal);
      return { size: info.size, snapshots: namesOf(versions), writtenBytes: null };
    }
    if (parent === null) await to.create(half, { ...create, size: versions[0]?.size ?? info.size });
    else await to.clone(parent, half, { ...create, cloneFormat: cloneFormat ?? (await formatFor(from, parent, half)) });
    const target = await to.openToWrite(half);
    try {
      const writtenBytes = await copyVersions(from, spec, versions, target, parent !== null, options);
      await target.flush();
      // a clone begins with its parent's
      for (const key of (await to.metadata(half)).keys()) await to.removeMetadata(half, key);
      await copyMetadata(from, spec, to, half);
      if (signal?.aborted) throw interruption(signal);
      return { size: info.size, snapshots: namesOf(versions), writtenBytes };
    } finally {
      await target.close();
    }
  };
  return madeWhole(to, dest, fill, { signal });
}

interface Version {
  /** null is the head. */
  snap: string | null;
  size: number;
  parentOverlap: number | null;
  isProtected: boolean;
}

const namesOf = (versions: readonly Version[]): string[] => versions.flatMap(({ snap }) => snap ?? []);

/** By rising id; the head, which may stand for the snapshot that was named, comes last. */
function versionsOf(info: ImageInfo, { onNotice }: DeepCopyImageOptions): Version[] {
  const versions: Version[] = [];
  const last = info.snapshot?.id ?? Number.POSITIVE_INFINITY;
  for (const { id, name, namespace, size, protection, parentOverlap } of info.snapshots) {
    if (id > last) break;
    if (namespace === 'user') {
      versions.push({ snap: name, size, parentOverlap, isProtected: protection !== 'unprotected' });
    } else onNotice?.(`the snapshot "${printable(name)}" (${namespace}) has no name of its own: it is left out`);
  }
  const parentOverlap = info.parent?.overlap ?? null;
  return [...versions, { snap: null, size: info.size, parentOverlap, isProtected: false }];
}

/** The snapshot that the oldest version shows: the others show no more of it, and none shows another one. */
async function parentOf(cluster: Cluster, spec: ImageSpec, [oldest]: Version[]): Promise<ImageSpec | null> {
  const { parent } = await infoOf(cluster, { ...spec, snap: oldest?.snap ?? spec.snap });
  if (parent === null) return null;
  const { pool, namespace, image, snap } = parent;
  return { pool, namespace, image, snap };
}

/** Format 1 asks for a protected parent in the same namespace; format 2 takes any that has its name. */
async function formatFor(cluster: Cluster, parent: ImageSpec, copy: ImageSpec): Promise<1 | 2> {
  const { snapshot } = await infoOf(cluster, parent).catch((cause: unknown) => {
    if (!(cause instanceof RbdeltaError && cause.code === 'notFound')) throw cause;
    const message = `the parent, ${printable(formatSpec(parent))}, is in the trash: it gets no more clones`;
    throw new RbdeltaError('unsupported', message, { hint: '--flatten makes the copy independent of it', cause });
  });
  return snapshot?.protection === 'protected' && parent.namespace === copy.namespace ? 1 : 2;
}

async function infoOf(cluster: Cluster, spec: ImageSpec): Promise<ImageInfo> {
  const image = await cluster.open(spec);
  try {
    return await image.info();
  } finally {
    await image.close();
  }
}

async function copyVersions(
  from: Cluster,
  spec: ImageSpec,
  versions: readonly Version[],
  target: ClusterImage,
  isClone: boolean,
  options: DeepCopyImageOptions,
): Promise<number> {
  const { sparseBytes = defaultSparseBytes, signal, onProgress } = options;
  const total = versions.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  let written = 0;
  let before: Version | null = null;
  for (const version of versions) {
    const source: Image = await from.open({ ...spec, snap: version.snap ?? spec.snap });
    try {
      const hasData = before !== null;
      const onReached = (offset: number): void => onProgress?.(done + offset, total);
      const targetReads = isClone ? 'compare' : hasData ? 'anything' : 'zeros';
      const job: CopyJob = { source, target, targetReads, sparseBytes, signal, onReached };
      const kept = await reshape(target, version);
      const planFrom = { ...(signal && { signal }), ...(options.onNotice && { onNotice: options.onNotice }) };
      const plan = await planDiff(source, { fromSnap: before?.snap ?? null, ...planFrom });
      written += await copyChanges(plan, job);
      // what the parent has where the copy's source hides it
      if (isClone && !hasData) {
        written += await copyChanges(await planDiff(target, { fromSnap: null }), { ...job, planned: target });
      }
      if (kept < version.size && hasData) {
        // what was cut off with the parent's end may have come back, by a rollback: nothing tells of it
        const range = { offset: kept, length: version.size - kept };
        written += await copyChanges(await planDiff(source, { fromSnap: null, range, ...planFrom }), job);
      }
    } finally {
      await source.close();
    }
    done += version.size;
    onProgress?.(done, total);
    if (version.snap !== null) {
      await target.createSnapshot(version.snap);
      if (version.isProtected) await target.protectSnapshot(version.snap);
    }
    before = version;
  }
  return written;
}

/** Gives the target the size of the version, and as much of the parent; that cuts off what lies behind the result. */
async function reshape(target: ClusterImage, { size, parentOverlap }: Version): Promise<number> {
  const { parent } = await target.info();
  let kept = Number.POSITIVE_INFINITY;
  if (parent !== null && parentOverlap === null) await target.flatten();
  else if (parent !== null && parentOverlap !== null && parentOverlap < parent.overlap) {
    kept = parentOverlap;
    await target.resize(kept);
  }
  if ((await target.info()).size !== size) await target.resize(size);
  return kept;
}
