// `cp`: a new image with what one version of another one reads as, in the same cluster or in another one.

import { interruption } from '../bytes/errno.ts';
import { feature, namesOfFeatures } from '../format/rbd-features.ts';
import type { Cluster, CreateOptions, ImageInfo } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { defaultSparseBytes } from './apply.ts';
import { copyChanges } from './copy-changes.ts';
import { planDiff } from './diff-plan.ts';
import { madeWhole } from './half-made.ts';

export interface CopyImageOptions {
  /** What the copy is to have of its own; else it is as its source. The data goes beside it, unless told otherwise. */
  create?: Omit<CreateOptions, 'size'>;
  /** Runs of zeros in blocks of this many bytes are not written (rbd's --sparse-size); 0: they are. */
  sparseBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of the image, or of all its versions, that are behind us. */
  onProgress?: (done: number, total: number) => void;
}

export interface CopiedImage {
  size: number;
  /** Names of the snapshots that were copied as well. */
  snapshots: string[];
  /** null: nobody counted (librbd). */
  writtenBytes: number | null;
}

/** Copies the head or the snapshot that `spec` names, with the image's metadata. All or nothing. */
export async function copyImage(
  from: Cluster,
  spec: ImageSpec,
  to: Cluster,
  dest: ImageSpec,
  options: CopyImageOptions = {},
): Promise<CopiedImage> {
  const { signal, onNotice, onProgress, sparseBytes = defaultSparseBytes } = options;
  const source = await from.open(spec);
  try {
    const plan = await planDiff(source, {
      fromSnap: null,
      wholeObject: true,
      ...(signal && { signal }),
      ...(onNotice && { onNotice }),
    });
    const { size } = plan.info;
    const fill = async (half: ImageSpec): Promise<CopiedImage> => {
      await to.create(half, { ...creationLike(plan.info, from === to, options), size });
      const target = await to.openToWrite(half);
      try {
        const onReached = (offset: number): void => onProgress?.(offset, size);
        const writtenBytes = await copyChanges(plan, {
          source,
          target,
          targetReads: 'zeros',
          sparseBytes,
          signal,
          onReached,
        });
        await target.flush();
        await copyMetadata(from, spec, to, half);
        if (signal?.aborted) throw interruption(signal);
        onProgress?.(size, size);
        return { size, snapshots: [], writtenBytes };
      } finally {
        await target.close();
      }
    };
    return await madeWhole(to, dest, fill, { signal });
  } finally {
    await source.close();
  }
}

export async function copyMetadata(from: Cluster, spec: ImageSpec, to: Cluster, dest: ImageSpec): Promise<void> {
  for (const [key, value] of await from.metadata({ ...spec, snap: null })) await to.setMetadata(dest, key, value);
}

/** What any cluster can make. */
const portable = feature.layering | feature.exclusiveLock | feature.objectMap | feature.fastDiff | feature.deepFlatten;

/** What the copy is created with. In another cluster it does without what belongs to the place: a journal. */
export function creationLike(
  info: ImageInfo,
  sameCluster: boolean,
  { create = {}, onNotice }: CopyImageOptions,
): Omit<CreateOptions, 'size'> {
  const journaled = create.features === undefined ? info.features & feature.journaling : 0;
  if (journaled !== 0 && !sameCluster) onNotice?.(`the copy is made without ${namesOfFeatures(journaled).join(', ')}`);
  const order = create.order ?? info.order;
  const striped = info.stripeCount > 1 || info.stripeUnit !== 2 ** info.order;
  return {
    features: info.features & (sameCluster ? portable | feature.journaling : portable),
    // An image that is not striped has its objects for stripes: that must not become striping with other objects.
    stripeUnit: striped ? info.stripeUnit : 2 ** order,
    stripeCount: striped ? info.stripeCount : 1,
    ...create,
    order,
  };
}
