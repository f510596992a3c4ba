// What a backup will be: full, an increment by the object maps, or an increment by comparing; decided from what is there.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Manifest } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import type { ImageInfo, Snapshot } from '../image/port.ts';
import { isPointId, newPointId, snapshotOfPoint, snapshotPrefix, timeOfPoint } from '../repo/keys.ts';

export interface BackupChoices {
  /** A full, though there is a point to build on. */
  full?: boolean;
  /** Read everything and compare it with what is stored, though the snapshot of the base would tell what changed. */
  compare?: boolean;
  /** Back up this snapshot, which stays; instead of making one. */
  snap?: string;
}

export interface BackupPlan {
  point: string;
  /** The snapshot that is read: one that is there, or that is to be made. */
  snapshot: { name: string; ours: boolean };
  /** The newest point; null for a full. */
  base: CatalogEntry | null;
  /** `full`; `increment`: since the snapshot of the base; `compare`: every block by its digest, where that is gone or not trusted. */
  method: 'full' | 'increment' | 'compare';
  /** Why it is that method, where a person may wonder; null where not. */
  notice: string | null;
}

/** What is known of the image and its points when the plan is made. `info` is null where there can be no snapshots. */
export interface Situation {
  /** Its id. */
  repository: string;
  name: string;
  info: ImageInfo | null;
  /** Oldest first. */
  points: readonly CatalogEntry[];
  /** Of the newest point. */
  manifest: Pick<Manifest, 'image' | 'snapshot' | 'writer'> | null;
  /** This one. */
  host: string;
  nowMs: number;
}

/** Pure. `notFound` if the snapshot that is asked for is not there, `exists` if the newest point is of it already. */
export function planBackup(situation: Situation, choices: BackupChoices): BackupPlan {
  const { info, points, name, manifest } = situation;
  const newest = points.at(-1) ?? null;
  const point = nextPointId(newest, situation.nowMs);
  const given = choices.snap === undefined ? null : findSnapshot(info, choices.snap, name);
  const snapshot =
    given === null
      ? { name: snapshotOfPoint(situation.repository, point), ours: info !== null }
      : { name: given.name, ours: false };
  const base = choices.full ? null : newest;
  const future = futureNotice(newest, situation);
  if (base === null || manifest === null) return { point, snapshot, base: null, method: 'full', notice: future };
  if (info === null) {
    const { host } = manifest.writer;
    const notice = host === situation.host ? future : `the last backup of ${name}, ${base.id}, was made on ${host}`;
    return { point, snapshot, base, method: 'compare', notice };
  }
  const there = snapshotOf(info, manifest);
  if (there === null) {
    const what =
      info.id === manifest.image.id
        ? `the snapshot "${printable(manifest.snapshot.name)}" of the last backup, ${base.id}, is gone from ${name}`
        : `${name} is another image than that of the last backup, ${base.id}: made anew, or of another cluster`;
    const notice = `${what}: every block is read and compared with what is stored; nothing is stored twice`;
    return { point, snapshot, base, method: 'compare', notice };
  }
  if (given !== null && given.id === there.id) {
    throw new RbdeltaError('exists', `${name}@${printable(given.name)} is backed up already, as ${base.id}`, {
      hint: 'nothing is to be done; --full makes another point of it',
    });
  }
  if (given !== null && given.id < there.id) {
    const what = `"${printable(given.name)}" of ${name} is older than the newest point, ${base.id}`;
    const notice = `${what}: every block is read and compared with what is stored`;
    return { point, snapshot, base, method: 'compare', notice };
  }
  return { point, snapshot, base, method: choices.compare ? 'compare' : 'increment', notice: future };
}

/** A wrong clock is worth a word: ids go on from the newest one, so they tell wrong times from then on. */
const futureNotice = (newest: CatalogEntry | null, { name, nowMs }: Situation): string | null =>
  newest === null || timeOfPoint(newest.id) < nowMs + 86_400_000
    ? null
    : `the newest point of ${name}, ${newest.id}, lies in the future: a clock is or was wrong`;

/** Snapshots that earlier backups to the repository made and that no coming one needs: all but that of the newest point. */
export const releasable = (info: ImageInfo, repository: string, newest: string): Snapshot[] =>
  info.snapshots.filter(
    ({ name, namespace }) =>
      namespace === 'user' &&
      name.startsWith(snapshotPrefix(repository)) &&
      isPointId(name.slice(snapshotPrefix(repository).length)) &&
      name !== snapshotOfPoint(repository, newest),
  );

/** That of a point; null if it is gone, or if another one, or another image, has its name by now. */
export const snapshotOf = (
  info: ImageInfo,
  { image, snapshot }: Pick<Manifest, 'image' | 'snapshot'>,
): Snapshot | null => (info.id === image.id ? snapshotById(info, snapshot.id, snapshot.name) : null);

export const snapshotById = (info: ImageInfo, id: number | null, name: string): Snapshot | null =>
  info.snapshots.find((one) => one.name === name && one.namespace === 'user' && (id === null || one.id === id)) ?? null;

const findSnapshot = (info: ImageInfo | null, snap: string, name: string): Snapshot => {
  const found = info === null ? null : snapshotById(info, null, snap);
  if (found !== null) return found;
  const hint =
    info === null ? 'a file has no snapshots: leave out --snap' : `rbdelta snap ls ${name} shows those that are`;
  throw new RbdeltaError('notFound', `there is no snapshot "${printable(snap)}" of ${name}`, { hint });
};

/** Ids rise, also when the clock was put back, or two backups come in one second. */
const nextPointId = (newest: CatalogEntry | null, nowMs: number): string => {
  const after = newest !== null && isPointId(newest.id) ? timeOfPoint(newest.id) + 1000 : 0;
  return newPointId(Math.max(nowMs, after));
};
