// `clone` with a limit on depth: reads of a clone go through all of its parents, so one that has too many is flattened.

import { closing } from '../bytes/closing.ts';
import { printable } from '../bytes/text.ts';
import type { CloneOptions, Cluster, Image, Progress } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import { attempt, defaultStallMs, withState } from './undo.ts';

/** How many parents are behind the version: 0 for one that was not cloned. */
export async function depthOf(image: Image): Promise<number> {
  const parent = await image.parent();
  return parent === null ? 0 : 1 + (await closing(parent, depthOf));
}

/**
 * Clones, and flattens the clone when it would have more than `maxDepth` parents; resolves to whether it did. If that
 * fails the clone is removed again; a process that is killed meanwhile leaves a clone that reads as it must.
 */
export async function cloneWithin(
  cluster: Cluster,
  parent: ImageSpec,
  child: ImageSpec,
  maxDepth: number,
  options: CloneOptions,
  onProgress?: Progress,
): Promise<boolean> {
  const depth = await closing(await cluster.open(parent), depthOf);
  await cluster.clone(parent, child, options);
  if (depth + 1 <= maxDepth) return false;
  try {
    await closing(await cluster.openToWrite(child), (image) => image.flatten(onProgress));
    return true;
  } catch (error) {
    const failed = await attempt((progress) => cluster.remove(child, progress), defaultStallMs);
    if (failed === null) throw error;
    throw withState(error, `the clone "${printable(formatSpec(child))}" could not be removed again (${failed})`);
  }
}
