// Whether object maps lie since the image was rolled back: a few objects are asked.

import { mapOrdered } from '../bytes/ordered.ts';
import { endOf } from '../diff/extent.ts';
import type { ObjectFold } from '../diff/fold.ts';
import { geometryOf, objectExtents, objectOf } from '../diff/striping.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';
import { loadMap, objectsIn, versionOf } from './load-map.ts';

/** How many objects of each map are asked, spread over the image. */
const probes = 8;
/** How many at a time. */
const calls = 4;

/**
 * Whether the image went back to a snapshot older than `from`, after `from` was made: `no`, `yes`, or `unknown` where a
 * map that would tell cannot be trusted. In Ceph (16.2.15, and as far as its source tells in all) the head then takes
 * over that snapshot's map as it is. "Clean" means there: since the snapshot before that one. So what changed up to
 * `from`, and was put back, looks unchanged in `fold`.
 *
 * No header tells of a rollback. But what was put back had been written before `from`, so some map up to `from` calls
 * it dirty, though `fold` calls it unchanged: the exact listing of a few such objects of each of these maps tells. (A
 * few may be too few where most of them are dirty for other reasons: where snapshots in between were removed, whose
 * changes the next map took over, or where a map is itself a copy that an earlier rollback made.)
 */
export const wasRolledBack = async (
  image: Image,
  info: ImageInfo,
  from: Snapshot,
  fold: ObjectFold,
): Promise<'yes' | 'no' | 'unknown'> => {
  const upToStart = info.snapshots.filter(({ id }) => id <= from.id).map(versionOf);
  let asked = 0;
  for (const version of upToStart.reverse()) {
    const map = await loadMap(image, info, version);
    if ('distrusted' in map || (version.flags & untrusted) !== 0) {
      // newer maps have told, as far as they go
      if (asked === 0) return 'unknown';
      continue;
    }
    const suspects = fold.unchangedButDirty(map, objectsIn(info, version), probes);
    asked += suspects.length;
    for await (const changed of mapOrdered(suspects, calls, (object) => hasChanged(image, info, from, object))) {
      if (changed) return 'yes';
    }
  }
  return 'no';
};

/** Flags of a version: its map is invalid, or what it says about changes is. */
const untrusted = 3;

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
