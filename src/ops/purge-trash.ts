// What goes from the trash of a pool: images that have expired; and others, the first to expire first, while it is too full.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Cluster, PoolUsage, Progress, TrashedImage } from '../image/port.ts';
import { usageOf } from './usage.ts';

export interface PurgeOptions {
  /** What has expired by then. */
  beforeMs: number;
  /** The share of the pool that may be full; when it is not fuller than that, nothing goes at all. Null: whatever it is. */
  threshold: number | null;
  signal: AbortSignal;
  onProgress: Progress;
}

/** Resolves to how many images were removed. Throws `notEmpty` when some could not be: they are in use, or have snapshots. */
export async function purgeTrash(
  cluster: Cluster,
  pool: string,
  namespace: string,
  { beforeMs, threshold, signal, onProgress }: PurgeOptions,
): Promise<number> {
  if (threshold !== null && !(threshold >= 0 && threshold <= 1)) {
    throw new RbdeltaError('invalid', `a threshold is from 0 to 1, and this one is ${threshold}`);
  }
  const specOf = ({ id }: TrashedImage) => ({ pool, namespace, image: '', id, snap: null });
  // others are being mirrored, migrated or removed
  const all = (await cluster.trash(pool, namespace)).filter(({ source }) => /^user(?:-parent)?$/u.test(source));
  const early = new Set<TrashedImage>();
  if (threshold !== null) {
    const sized = [];
    for (const trashed of all) {
      signal.throwIfAborted();
      const image = await cluster.open(specOf(trashed));
      try {
        const { dataPool } = await image.info();
        const { usedBytes } = await usageOf(image, { fromSnap: null });
        sized.push({ trashed, usedBytes, pool: dataPool ?? pool });
      } finally {
        await image.close();
      }
    }
    for (const dataPool of new Set(sized.map((one) => one.pool))) {
      const images = sized.filter((one) => one.pool === dataPool);
      for (const { trashed } of firstToGo(images, await cluster.poolUsage(dataPool), threshold)) early.add(trashed);
    }
    if (early.size === 0) return 0;
  }
  const going = all.filter((image) => early.has(image) || image.protectedUntilMs <= beforeMs);
  let left = going;
  // a clone may keep its parent: once it is gone, the parent may go
  for (let before = -1; left.length > 0 && left.length !== before; ) {
    before = left.length;
    const kept: TrashedImage[] = [];
    for (const image of left) {
      signal.throwIfAborted();
      try {
        await cluster.removeFromTrash(specOf(image), true);
      } catch (error) {
        if (!(error instanceof RbdeltaError && ['notEmpty', 'busy'].includes(error.code))) throw error;
        kept.push(image);
      }
    }
    left = kept;
    onProgress(going.length - left.length, going.length);
  }
  if (left.length > 0) {
    const names = left.map(({ name }) => `'${printable(name)}'`).join(', ');
    throw new RbdeltaError('notEmpty', `some images could not be removed from the trash: ${names}`, {
      hint: 'they are in use, or have snapshots: rbdelta snap ls --all --image-id ID',
    });
  }
  return going.length;
}

/** Those whose data is what the pool has too much of, the first to expire first. One without data makes no room. */
export function firstToGo<T extends { trashed: TrashedImage; usedBytes: number }>(
  images: readonly T[],
  { usedBytes, totalBytes }: PoolUsage,
  threshold: number,
): T[] {
  let excessBytes = usedBytes - threshold * totalBytes;
  const going: T[] = [];
  for (const image of images.toSorted((a, b) => a.trashed.protectedUntilMs - b.trashed.protectedUntilMs)) {
    if (excessBytes <= 0) break;
    if (image.usedBytes === 0) continue;
    going.push(image);
    excessBytes -= image.usedBytes;
  }
  return going;
}
