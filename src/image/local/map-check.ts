// Object maps against the objects themselves: what a map should say, whether it does, and a new one that does.

import { printable } from '../../bytes/text.ts';
import { geometryOf, objectCount } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import { EXISTS, EXISTS_CLEAN, NONEXISTENT, type ObjectState } from '../../format/object-map.ts';
import { flag, type RbdHeader, type SnapshotRecord } from '../../format/rbd-header.ts';
import { findSnapshot, type ImageRef, loadHeader } from './header.ts';
import { mapCount, mapKey, OpenMap, removeMap, resizeMap } from './object-maps.ts';
import { ObjectTable } from './objects.ts';
import { type DataObject, firstOfVersion } from './snapset.ts';
import type { Store } from './store.ts';
import type { Writing } from './writing.ts';

/** Flags a map that is wrong. Returns about how many objects it is. */
export function checkObjectMap({ opened, maps, change }: Writing, name: string | null): number {
  const { store, image } = opened;
  const { snapshot, count } = versionOf(loadHeader(store, image), image, name, maps.kept);
  const wrong = wrongObjects(store, image, snapshot?.id ?? null, count, maps.fastDiff);
  if (wrong > 0) change((header) => setFlags(header, image, name, flag.objectMapInvalid | flag.fastDiffInvalid));
  return wrong;
}

/** About how many of `count` objects the map of the head (null) or of a snapshot says what is not so. */
export function wrongObjects(
  store: Store,
  image: ImageRef,
  snapId: number | null,
  count: number,
  fastDiff: boolean,
): number {
  const key = mapKey(image, snapId);
  const map = new OpenMap(store, key);
  const mapped = mapCount(store, key) ?? 0;
  let wrong = Math.abs(count - mapped);
  const states = statesOf(store, image, count, snapId, fastDiff);
  for (let objectNo = 0; objectNo < Math.min(count, mapped); objectNo += 1) {
    const [found, right] = [map.state(objectNo), states.get(objectNo) ?? NONEXISTENT];
    const isGone = right === NONEXISTENT;
    // to call changed what did not change does no harm
    if ((found === NONEXISTENT) !== isGone || (right === EXISTS && found === EXISTS_CLEAN)) wrong += 1;
  }
  return wrong;
}

export function rebuildObjectMap({ opened, maps, change }: Writing, name: string | null): void {
  const { store, image } = opened;
  change((header) => {
    const { snapshot, count } = versionOf(header, image, name, maps.kept);
    const key = mapKey(image, snapshot?.id ?? null);
    removeMap(store, key);
    resizeMap(store, key, count);
    const map = new OpenMap(store, key);
    const states = statesOf(store, image, count, snapshot?.id ?? null, maps.fastDiff);
    for (const [objectNo, state] of states) void map.set(objectNo, state);
    setFlags(header, image, name, 0);
  });
}

function versionOf(
  header: RbdHeader,
  image: ImageRef,
  name: string | null,
  kept: boolean,
): { snapshot: SnapshotRecord | null; count: number } {
  if (!kept) {
    throw new RbdeltaError('invalid', `image '${printable(image.name)}' does not have the feature object-map`);
  }
  const snapshot = name === null ? null : findSnapshot(header, image, name);
  return { snapshot, count: objectCount(geometryOf(header, snapshot?.size ?? header.size)) };
}

/** As RBD does when it rebuilds: new in the first version that has the content, unchanged in later ones. */
function statesOf(
  store: Store,
  image: ImageRef,
  count: number,
  snapId: number | null,
  fastDiff: boolean,
): Map<number, ObjectState> {
  const snaps = loadHeader(store, image).snapshots.map(({ id }) => id);
  const states = new Map<number, ObjectState>();
  const stateOf = (object: DataObject): ObjectState => {
    const first = firstOfVersion(object, snapId, snaps);
    if (first === undefined) return NONEXISTENT;
    return first === snapId || !fastDiff ? EXISTS : EXISTS_CLEAN;
  };
  for (const [objectNo, object] of new ObjectTable(store, image).range(0, count)) states.set(objectNo, stateOf(object));
  return states;
}

function setFlags(header: RbdHeader, image: ImageRef, name: string | null, flags: number): void {
  if (name === null) header.flags = flags;
  else findSnapshot(header, image, name).flags = flags;
}
