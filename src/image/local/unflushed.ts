// New files of objects that no flush has made durable: a power loss may keep their records and lose them. Noted in the store.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { ImageRef } from './header.ts';
import type { OpenImage } from './image.ts';
import { inParallel } from './parallel.ts';
import { type DataObject, filesOf } from './snapset.ts';
import { keysIn, type Put, removeRange, type Store, within } from './store.ts';

type Owner = Pick<ImageRef, 'dataPoolId' | 'prefix'>;

/** How many files are looked at at once. */
const filesAtOnce = 32;

const imageKey = (image: Owner): Buffer => Buffer.from(`unflushed/${image.dataPoolId}/${image.prefix}/`);

const noteKey = (image: Owner, objectNo: number, file: string): Buffer =>
  Buffer.concat([imageKey(image), Buffer.from(`${objectNo}/${file}`)]);

/** To be put together with the record that names the file. */
export const noteUnflushed = (store: Store, image: Owner, objectNo: number, file: string): Put =>
  store.cluster.put(noteKey(image, objectNo, file), Buffer.alloc(0));

/** Once the file is durable, with its name. */
export const forgetUnflushed = (store: Store, image: Owner, objectNo: number, file: string): Put =>
  store.cluster.remove(noteKey(image, objectNo, file));

/** Whether the file may be missing: then it had nothing that was flushed. */
export const isUnflushed = (store: Store, image: Owner, objectNo: number, file: string): boolean =>
  store.cluster.doesExist(noteKey(image, objectNo, file));

/** In a transaction: forgets the image. */
export function dropUnflushed(store: Store, image: Owner): void {
  removeRange(store.cluster, within(imageKey(image)));
}

/** Makes durable what a writer that was interrupted has left, before anything builds on it; a file that was lost is made anew. */
export async function settleUnflushed({ store, image, objects, files }: OpenImage): Promise<void> {
  const prefix = imageKey(image);
  const notes = keysIn(store.cluster, within(prefix));
  if (notes.length === 0) return;
  await inParallel(notes, filesAtOnce, async (key) => {
    const [objectNo, file] = key.subarray(prefix.length).toString().split('/');
    const isNamed = filesOf(objects.get(Number(objectNo))).has(file!);
    if (isNamed) await files.keep(files.path(Number(objectNo), file!));
  });
  await files.syncAll();
  await store.commit(() => notes.map((key) => store.cluster.remove(key)), 'frees');
}

/** Bytes of the object's head, 0 where it is none; throws `corrupt` where its file is lost. */
export async function headBytesOf(opened: OpenImage, objectNo: number, object: DataObject): Promise<number> {
  const { store, files, objects } = opened;
  if (object.head === null) return 0;
  const bytes = await files.size(files.path(objectNo, object.head));
  if (bytes !== null) return bytes;
  // who writes meanwhile may have taken it away, and its record
  store.renew();
  if (objects.get(objectNo)?.head === object.head) refuseMissing(opened, objectNo, object.head);
  return 0;
}

/** Throws `corrupt` for a file that a record names and that is missing, unless it never held anything that was flushed. */
export function refuseMissing({ store, image, files }: OpenImage, objectNo: number, file: string): void {
  if (isUnflushed(store, image, objectNo, file)) return;
  const message = `object ${objectNo} of image '${printable(image.name)}' is damaged: its file ${files.path(objectNo, file)} is gone`;
  throw new RbdeltaError('corrupt', message, {
    hint: `rbdelta pool check ${printable(image.pool)} tells what else is; restore the image from a backup`,
  });
}
