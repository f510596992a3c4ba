// Which images a namespace has: by name, by id, and those in the trash, which have an id only.

import { nameFromBytes, nameToBytes } from '../../bytes/text.ts';
import {
  directoryIdKey,
  directoryNameKey,
  directoryValue,
  idData,
  idObjectName,
  poolObject,
  type TrashRecord,
  trashValue,
} from '../../format/rbd-header.ts';
import { keysIn, objectKey, type Store, within } from './store.ts';

/** Where a name or an id means something. */
export interface Space {
  poolId: number;
  namespace: string;
}

type Entry = Space & { id: string; name: string };

const keyOf = ({ poolId, namespace }: Space, object: string, key: string): Buffer =>
  Buffer.concat([objectKey(poolId, namespace, object), nameToBytes(key)]);

/** Enters an image in the directory. In a transaction. */
export function addToDirectory(store: Store, image: Entry): void {
  const put = (key: string, value: string) =>
    void store.omap.put(keyOf(image, poolObject.directory, key), directoryValue.encode(value));
  put(directoryNameKey(image.name), image.id);
  put(directoryIdKey(image.id), image.name);
  void store.content.put(objectKey(image.poolId, image.namespace, idObjectName(image.name)), idData.encode(image.id));
}

/** Nothing of an image that is in the trash: its name may be another's by now. In a transaction. */
export function removeFromDirectory(store: Store, image: Entry): void {
  if (idOfName(store, image, image.name) !== image.id) return;
  for (const key of [directoryNameKey(image.name), directoryIdKey(image.id)]) {
    void store.omap.remove(keyOf(image, poolObject.directory, key));
  }
  void store.content.remove(objectKey(image.poolId, image.namespace, idObjectName(image.name)));
}

/** Names of the images of a namespace, sorted. */
export function imageNames(store: Store, poolId: number, namespace: string): string[] {
  const prefix = keyOf({ poolId, namespace }, poolObject.directory, directoryNameKey(''));
  return keysIn(store.omap, within(prefix))
    .map((key) => nameFromBytes(key.subarray(prefix.length)))
    .sort();
}

/** Null for a name that no image has. */
export function idOfName(store: Store, space: Space, name: string): string | null {
  const data = store.content.get(objectKey(space.poolId, space.namespace, idObjectName(name)));
  return data === undefined ? null : idData.decode(data);
}

/** What an image is called, or was before it came into the trash; null for an id that is unknown. */
export function nameOfId(store: Store, space: Space, id: string): { name: string; inTrash: boolean } | null {
  const value = store.omap.get(keyOf(space, poolObject.directory, directoryIdKey(id)));
  if (value !== undefined) return { name: directoryValue.decode(value), inTrash: false };
  const record = trashRecord(store, space, id);
  return record && { name: record.name, inTrash: true };
}

export function trashRecord(store: Store, space: Space, id: string): TrashRecord | null {
  const value = store.omap.get(keyOf(space, poolObject.trash, directoryIdKey(id)));
  return value === undefined ? null : trashValue.decode(value);
}

/** Null takes the record away. In a transaction. */
export function putTrashRecord(store: Store, space: Space, id: string, record: TrashRecord | null): void {
  const key = keyOf(space, poolObject.trash, directoryIdKey(id));
  void (record === null ? store.omap.remove(key) : store.omap.put(key, trashValue.encode(record)));
}

/** By rising id. */
export function trashRecords(store: Store, space: Space): [string, TrashRecord][] {
  const prefix = keyOf(space, poolObject.trash, directoryIdKey(''));
  return [...store.omap.getRange(within(prefix))].map(({ key, value }) => [
    nameFromBytes(Buffer.from(key).subarray(prefix.length)),
    trashValue.decode(value),
  ]);
}
