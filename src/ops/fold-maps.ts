// Loads the object maps of all versions that a diff passes, checks whether they can be trusted, and folds them.

import { printable } from '../bytes/text.ts';
import { ObjectFold } from '../diff/fold.ts';
import { geometryOf, objectCount } from '../diff/striping.ts';
import { feature, flag } from '../format/rbd-features.ts';
import type { Image, ImageInfo, Snapshot } from '../image/port.ts';
import { loadMap, objectsIn, type Version, versionOf } from './load-map.ts';
import { wasRolledBack } from './rolled-back.ts';

/**
 * `maps`: here is what they tell. `distrusted`: why not, in half a sentence; null where nobody would expect any maps.
 * `changed`: snapshots came or went while the maps were loaded, so that the caller must plan anew.
 */
export type Folded =
  | { outcome: 'maps'; fold: ObjectFold }
  | { outcome: 'distrusted'; reason: string | null }
  | { outcome: 'changed' };

/** Folds the maps from `from` to the version that `image` is opened at. A full needs only the end's map. */
export const foldMaps = async (image: Image, info: ImageInfo, from: Snapshot | null): Promise<Folded> => {
  if (info.size === 0) return { outcome: 'maps', fold: new ObjectFold(0) };
  const versions = visited(info, from);
  const bad = flagged(info, from, versions);
  if (bad !== null) return bad;
  const fold = new ObjectFold(objectCount(geometryOf(info)));
  for (const [i, version] of versions.entries()) {
    const map = await loadMap(image, info, version);
    if ('distrusted' in map) {
      return (await isSettled(image, info, from)) ? distrusted(map.distrusted) : { outcome: 'changed' };
    }
    const objects = objectsIn(info, version);
    if (from === null) fold.full(map, objects);
    else if (i === 0) fold.start(map, objects);
    else fold.next(map, objects, i === versions.length - 1);
  }
  if (!(await isSettled(image, info, from))) return { outcome: 'changed' };
  if (from === null) return { outcome: 'maps', fold };
  const rolledBack = await wasRolledBack(image, info, from, fold);
  if (rolledBack === 'no') return { outcome: 'maps', fold };
  const name = printable(from.name);
  return distrusted(
    rolledBack === 'yes'
      ? `the image was rolled back to before snapshot "${name}", which its object maps do not tell`
      : `whether the image was rolled back to before snapshot "${name}" cannot be told, as an older object map is not valid`,
  );
};

/** The versions whose maps a diff needs: each tells what changed since the one before it. */
const visited = (info: ImageInfo, from: Snapshot | null): Version[] => {
  const end: Version =
    info.snapshot === null
      ? { id: null, name: 'the head', size: info.size, flags: info.flags }
      : { ...versionOf(info.snapshot), size: info.size, flags: info.flags };
  if (from === null) return [end];
  return [versionOf(from), ...between(info, from).map(versionOf), end];
};

/** Snapshots of every namespace: a group's or a mirror's took its share of the changes as well. */
const between = (info: ImageInfo, from: Snapshot): Snapshot[] =>
  info.snapshots.filter(({ id }) => id > from.id && id < (info.snapshot?.id ?? Number.POSITIVE_INFINITY));

type Distrusted = Extract<Folded, { outcome: 'distrusted' }>;

const distrusted = (reason: string | null): Distrusted => ({ outcome: 'distrusted', reason });

/** What the header already says against the maps. */
const flagged = (info: ImageInfo, from: Snapshot | null, versions: Version[]): Distrusted | null => {
  // what does not live in objects (a file) has no maps, and needs none
  if (info.objectPrefix === '') return distrusted(null);
  if ((info.features & feature.objectMap) === 0) return distrusted(`${printable(info.name)} has no object map`);
  if (from !== null && (info.features & feature.fastDiff) === 0) {
    return distrusted(`${printable(info.name)} does not have the feature fast-diff`);
  }
  const wrong = from === null ? flag.objectMapInvalid : flag.objectMapInvalid | flag.fastDiffInvalid;
  const bad = versions.find(({ flags }) => (flags & wrong) !== 0);
  if (bad === undefined) return null;
  const what = (bad.flags & flag.objectMapInvalid) !== 0 ? 'object map' : 'fast-diff';
  return distrusted(`the ${what} of ${bad.name} is flagged invalid`);
};

/**
 * A snapshot that is made while the maps are loaded marks changed objects of the head as clean; one that is removed
 * hands its changes to the map after it, which may have been read before; a map may be flagged. So the header must still
 * say the same.
 */
const isSettled = async (image: Image, info: ImageInfo, from: Snapshot | null): Promise<boolean> => {
  if (from === null) return true;
  const now = await image.info();
  const marks = (state: ImageInfo): string =>
    [...between(state, from), { id: null, flags: state.flags }].map(({ id, flags }) => `${id} ${flags}`).join();
  return marks(info) === marks(now);
};
