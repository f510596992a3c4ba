// What the keys and values of RBD's objects say, whichever object it is: for people who look inside a pool. Spec: formats/rbd-header/spec.md

import { nameToBytes } from '../bytes/text.ts';
import {
  childrenKey,
  childrenValue,
  directoryValue,
  parseDirectoryKey,
  poolObject,
  trashValue,
} from './rbd-directory.ts';
import { headerValue, metadataValue } from './rbd-header.ts';
import { snapChildrenValue, snapshotValue } from './rbd-snapshot.ts';
import type { Codec } from './struct.ts';

/** What a key of an object says where it is not text; null where it is, or where nothing is known of it. */
export const decodeOmapKey = (object: string, key: string): unknown =>
  object === poolObject.children ? decoded(childrenKey, nameToBytes(key)) : null;

/** What a value says; null where nothing is known of it, or where it is damaged. */
export function decodeOmapValue(object: string, key: string, value: Uint8Array): unknown {
  const known = codecOf(object, key);
  return known === null ? null : decoded(known, value);
}

function codecOf(object: string, key: string): Codec<unknown> | null {
  if (object === poolObject.children) return childrenValue as Codec<unknown>;
  if (object === poolObject.directory) return parseDirectoryKey(key) && (directoryValue as Codec<unknown>);
  if (object === poolObject.trash) return trashValue as Codec<unknown>;
  if (!object.startsWith('rbd_header.')) return null;
  if (key.startsWith('snapshot_')) return snapshotValue as Codec<unknown>;
  if (key.startsWith('snap_children_')) return snapChildrenValue as Codec<unknown>;
  if (key.startsWith('metadata_')) return metadataValue as Codec<unknown>;
  return (new Map<string, unknown>(Object.entries(headerValue)).get(key) as Codec<unknown> | undefined) ?? null;
}

/** Damage is to be seen in the bytes: nobody asked whether they are sound. */
function decoded(codec: Codec<unknown>, bytes: Uint8Array): unknown {
  try {
    return codec.decode(bytes);
  } catch {
    return null;
  }
}
