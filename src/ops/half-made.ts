// A new image that has its name only when it is whole: until then, and if this is killed, it has one that says so.

import { randomBytes } from 'node:crypto';
import { interruption, orInterruption } from '../bytes/errno.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Cluster, Progress } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import { attempt, defaultStallMs, withState } from './undo.ts';

/** What names of images that are not whole begin with. */
const halfName = 'rbdelta-copy-';

export interface MakingOptions {
  signal?: AbortSignal | undefined;
  /** Called after a failure, before the image is removed: nothing uses it any longer when this resolves. */
  settle?: () => Promise<void>;
  /** How long removing the image again may stand still, in ms. */
  stallMs?: number | undefined;
}

/**
 * Calls `make` with the name under which to make the image, then gives it its own one. On failure it is removed again,
 * with its snapshots. 'exists' if there is an image of that name already; that one is not touched.
 */
export async function madeWhole<T>(
  cluster: Cluster,
  spec: ImageSpec,
  make: (half: ImageSpec) => Promise<T>,
  options: MakingOptions = {},
): Promise<T> {
  await refuseExisting(cluster, spec);
  const half = { ...spec, image: `${halfName}${randomBytes(4).toString('hex')}` };
  const makeAndName = async (): Promise<T> => {
    const made = await make(half);
    if (options.signal?.aborted) throw interruption(options.signal);
    await cluster.rename(half, spec.image);
    return made;
  };
  return orRemoved(cluster, half, makeAndName, options);
}

/** Removes the image, which is ours, with its snapshots when `make` fails. */
export async function orRemoved<T>(
  cluster: Cluster,
  half: ImageSpec,
  make: () => Promise<T>,
  { signal, settle, stallMs = defaultStallMs }: MakingOptions = {},
): Promise<T> {
  try {
    return await make();
  } catch (cause) {
    const error = orInterruption(cause, signal);
    const failed = await attempt(async (progress) => {
      await settle?.();
      await removeWhole(cluster, half, progress);
    }, stallMs);
    if (failed === null) throw error;
    const label = printable(formatSpec(half));
    throw withState(
      error,
      `the part that was made could not be removed again (${failed}): it is ${label}`,
      `remove it: rbdelta snap purge ${label}, rbdelta rm ${label}`,
    );
  }
}

async function refuseExisting(cluster: Cluster, spec: ImageSpec): Promise<void> {
  try {
    await (await cluster.open(spec)).close();
  } catch (error) {
    // Whatever is missing besides, making the image tells better.
    if (error instanceof RbdeltaError && error.code === 'notFound') return;
    throw error;
  }
  const label = printable(formatSpec(spec));
  throw new RbdeltaError('exists', `there is already an image ${label}`, {
    hint: `rbdelta info ${label} shows it; choose another name, or remove it: rbdelta rm ${label}`,
  });
}

async function removeWhole(cluster: Cluster, spec: ImageSpec, progress: Progress): Promise<void> {
  let image: Awaited<ReturnType<Cluster['openToWrite']>>;
  try {
    image = await cluster.openToWrite(spec);
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'notFound') return;
    throw error;
  }
  try {
    for (const { name, protection } of (await image.info()).snapshots) {
      if (protection !== 'unprotected') await image.unprotectSnapshot(name);
      await image.removeSnapshot(name, progress);
    }
  } finally {
    await image.close();
  }
  await cluster.remove(spec, progress);
}
