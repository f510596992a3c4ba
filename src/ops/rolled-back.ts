// Whether object maps lie since the image was rolled back: a few objects are asked.

import { mapOrdered } from '../bytes/ordered.ts';
import { endOf } from '../diff/extent.ts';
import type { ObjectFold } from '../diff/fold.ts';
import { geometryOf, objectExtents, objectOf } from '../diff/striping.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';
import { loadMap, objectsIn, versionOf } from './load-map.ts';

/** How many objects are asked, spread over the image. */
const probes = 16;
/** How many at a time. */
const calls = 4;

/**
 * Whether the image went back to a snapshot older than `from`, after `from` was made. In Ceph (16.2.15, and as far as
 * its source tells in all) the head then takes over that snapshot's map as it is. "Clean" means there: since the
 * snapshot before that one. So what changed up to `from`, and was put back, looks unchanged in `fold`.
 *
 * No header tells of a rollback. But an object that an earlier map calls dirty, and that looks unchanged since, was put
 * back if there was one, and did not change if there was none: so the exact listing of a few of them tells. They are
 * taken from the newest map that has any. (Where snapshots have been removed, what changed up to them is in that map as
 * well, and only some of its dirty objects may have been put back: there, sixteen may be too few.)
 */
export const wasRolledBack = async (
  image: Image,
  info: ImageInfo,
  from: Snapshot,
  fold: ObjectFold,
): Promise<boolean> => {
  const upToStart = info.snapshots.filter(({ id }) => id <= from.id).map(versionOf);
  for (const version of upToStart.reverse()) {
    const map = await loadMap(image, info, version);
    if ('distrusted' in map) return false;
    const suspects = fold.unchangedButDirty(map, objectsIn(info, version), probes);
    if (suspects.length === 0) continue;
    for await (const changed of mapOrdered(suspects, calls, (object) => hasChanged(image, info, from, object))) {
      if (changed) return true;
    }
    return false;
  }
  return false;
};

const hasChanged = async (image: Image, info: ImageInfo, from: Snapshot, object: number): Promise<boolean> => {
  const geometry = geometryOf(info);
  const extents = objectExtents(geometry, object);
  const [first, last] = [extents[0], extents.at(-1)];
  if (first === undefined || last === undefined) return false;
  let changed = false;
  const range = { offset: first.offset, length: endOf(last) - first.offset };
  await image.changedExtents(from.name, range, (offset, length) => {
    // with striping, others lie between
    for (let at = offset; !changed && at < offset + length; ) {
      const part = objectOf(geometry, at);
      changed = part.objectNo === object;
      at += part.length;
    }
  });
  return changed;
};
