// The parent of a clone, so that it can be told from others elsewhere: names, size, and a digest of samples of its bytes.

import { closing } from '../bytes/closing.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { opFeature } from '../format/rbd-features.ts';
import { type ParentNote, sampleBytes, sampleOffsets, samplesDigest } from '../format/rbd-image-parent.ts';
import type { Image } from '../image/port.ts';

const readsInFlight = 16;

/** null where the head, or the first of the versions that are exported, shows no parent. */
export async function parentNote(
  openAt: (snap: string | null) => Promise<Image>,
  firstSnap: string | null,
): Promise<ParentNote | null> {
  const head = await closing(await openAt(null), (image) => image.info());
  if (head.parent === null) return null;
  return closing(await openAt(firstSnap), async (first) => {
    const { parent: shown, opFeatures } = await first.info();
    const parent = shown && (await first.parent());
    if (shown === null || parent === null) return null;
    const { pool, namespace, image, snap, overlap } = shown;
    return closing(parent, async () => ({
      pool,
      namespace,
      image,
      snap,
      size: (await parent.info()).size,
      overlap,
      cloneFormat: (opFeatures & opFeature.cloneChild) === 0 ? 1 : 2,
      samples: await samplesOf(parent),
    }));
  });
}

/** 256 places of the version are read, 4 MiB at most: enough to tell images apart, not to prove that they are equal. */
export async function samplesOf(image: Image): Promise<string> {
  const { size } = await image.info();
  const digest = samplesDigest();
  const reads = mapOrdered(sampleOffsets(size), readsInFlight, async (offset) => {
    const sample = Buffer.alloc(Math.min(sampleBytes, size - offset));
    await image.read(offset, sample);
    return sample;
  });
  for await (const sample of reads) digest.add(sample);
  return digest.hex();
}
