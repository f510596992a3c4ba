// What the removal of a snapshot leaves to do: clones that only it needed. Noted in the store, so that it is finished.

import type { Progress } from '../port.ts';
import type { ImageRef } from './header.ts';
import type { OpenImage } from './image.ts';
import { inParallel } from './parallel.ts';
import { withoutSnap } from './snapset.ts';
import { keysIn, type Put, removeRange, type Store, within } from './store.ts';
import { objectsAtOnce, type ObjectWriter } from './writer.ts';

type Owner = Pick<ImageRef, 'dataPoolId' | 'prefix'>;

/** Records that are changed together. */
const batch = 1024;

const trimKey = (image: Owner, snapId: number | null): Buffer =>
  Buffer.from(`trim/${image.dataPoolId}/${image.prefix}/${snapId ?? ''}`);

/** To be called in the transaction that takes the snapshot out of the header. */
export function noteTrim(store: Store, image: Owner, snapId: number): void {
  void store.cluster.put(trimKey(image, snapId), Buffer.alloc(0));
}

/** Finishes what a crash has interrupted. */
export async function resumeTrims(opened: OpenImage, writer: ObjectWriter): Promise<void> {
  for (const snapId of openTrims(opened.store, opened.image)) await trim(opened, writer, snapId);
}

/** Ids of snapshots that are gone, and that objects may still have. */
export function openTrims(store: Store, image: Owner): number[] {
  const prefix = trimKey(image, null);
  return keysIn(store.cluster, within(prefix)).map((key) => Number(key.subarray(prefix.length).toString()));
}

/** In a transaction: forgets the image. */
export function dropTrims(store: Store, image: Owner): void {
  removeRange(store.cluster, within(trimKey(image, null)));
}

/**
 * Takes a snapshot, which is no longer in the header, from all objects. Nothing reads by its id any longer, so it does
 * not matter how far it came when it is interrupted; a file goes after the record that named it.
 */
export async function trim(
  { store, image, objects }: OpenImage,
  writer: ObjectWriter,
  snapId: number,
  onProgress?: Progress,
): Promise<void> {
  const users: number[] = [];
  for (const [objectNo, { clones }] of objects.range(0, Number.MAX_SAFE_INTEGER)) {
    if (clones.some((clone) => clone.snaps.includes(snapId))) users.push(objectNo);
  }
  for (let start = 0; start < users.length; start += batch) {
    const numbers = users.slice(start, start + batch);
    const changes = numbers.flatMap((objectNo) => {
      const before = objects.get(objectNo);
      return before === null ? [] : [{ objectNo, before, after: withoutSnap(before, snapId) }];
    });
    const puts = (): Put[] => changes.map(({ objectNo, after }) => objects.put(objectNo, after));
    await store.commit(puts, 'frees');
    await store.flushed();
    await inParallel(changes, objectsAtOnce, ({ objectNo, before, after }) => writer.drop(objectNo, before, after));
    onProgress?.(start + numbers.length, users.length);
  }
  await store.commit(() => [store.cluster.remove(trimKey(image, snapId))], 'frees');
  if (users.length === 0) onProgress?.(1, 1);
}
