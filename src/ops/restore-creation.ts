// What a new image is created with, so that it is as the one that was backed up.

import { feature, namesOfFeatures } from '../format/rbd-features.ts';
import type { Manifest } from '../format/manifest.ts';
import type { Cluster, CreateOptions } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { printable } from '../bytes/text.ts';

/** What any cluster can make. Journals and mirrors belong to a place, and others follow from what else is asked for. */
const portable = feature.layering | feature.exclusiveLock | feature.objectMap | feature.fastDiff | feature.deepFlatten;

/** Said when it is left out: the others follow from what the image is. */
const told = feature.journaling;

/** What was asked for, else what the manifest tells, as far as the cluster has it; a notice says what it has not. */
export async function creationOf(
  { image }: Manifest,
  cluster: Cluster,
  asked: Omit<CreateOptions, 'size'>,
  onNotice: (text: string) => void = () => {},
): Promise<CreateOptions> {
  const options: CreateOptions = { size: image.size };
  // A raw file has no properties of its own.
  if (image.id !== '') {
    options.order = image.order;
    options.features = image.features & portable;
    if (asked.features === undefined && (image.features & told) !== 0)
      onNotice(`the new image is made without ${namesOfFeatures(image.features & told).join(', ')}`);
    // An image that is not striped has its objects for stripes: that must not become striping with other objects.
    if (image.stripeCount > 1) [options.stripeUnit, options.stripeCount] = [image.stripeUnit, image.stripeCount];
    if (image.dataPool !== null && asked.dataPool === undefined) {
      if ((await cluster.pools()).includes(image.dataPool)) options.dataPool = image.dataPool;
      else onNotice(`there is no pool "${printable(image.dataPool)}", where the image had its data: it goes beside it`);
    }
  }
  return { ...options, ...asked };
}

/** `rbd image-meta`, as it was. */
export async function restoreMetadata({ image }: Manifest, cluster: Cluster, spec: ImageSpec): Promise<void> {
  for (const [key, value] of Object.entries(image.metadata)) await cluster.setMetadata(spec, key, value);
}
