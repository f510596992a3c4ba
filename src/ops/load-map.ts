// The object map of one version of an image: loaded, checked, and whether it covers all objects of that version.

import { printable } from '../bytes/text.ts';
import { geometryOf, objectCount } from '../diff/striping.ts';
import { RbdeltaError } from '../error.ts';
import { decodeObjectMap, type ObjectMap } from '../format/object-map.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';

export interface Version {
  /** null is the head. */
  id: number | null;
  name: string;
  size: number;
  flags: number;
}

export const versionOf = (snapshot: Snapshot): Version => ({
  id: snapshot.id,
  name: `snapshot "${printable(snapshot.name)}"`,
  size: snapshot.size,
  flags: snapshot.flags,
});

/** Objects that the version has, which its map must cover. */
export const objectsIn = (info: ImageInfo, version: Version): number => objectCount(geometryOf(info, version.size));

/** The map, or half a sentence that says why there is none to trust. */
export const loadMap = async (
  image: Image,
  info: ImageInfo,
  version: Version,
): Promise<ObjectMap | { distrusted: string }> => {
  const bytes = await image.objectMap(version.id);
  if (bytes === null) return { distrusted: `the object map of ${version.name} is missing` };
  let map: ObjectMap;
  try {
    map = decodeObjectMap(bytes);
  } catch (error) {
    if (!(error instanceof RbdeltaError)) throw error;
    return { distrusted: `at ${version.name}, ${error.message}` };
  }
  const objects = objectsIn(info, version);
  if (map.count >= objects) return map;
  return { distrusted: `the object map of ${version.name} covers only ${map.count} of ${objects} objects` };
};
