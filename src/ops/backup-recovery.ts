// What a backup that was killed has left: finished if its point exists, gone on with if that is possible, else removed.

import { isDeepStrictEqual } from 'node:util';
import type { Manifest } from '../format/manifest.ts';
import type { Intent } from '../format/repository.ts';
import type { WritableImage } from '../image/port.ts';
import { printable } from '../bytes/text.ts';
import { entryOf, readManifest, readPoints, updateCatalog, withEntry } from '../repo/catalog.ts';
import { clearIntent, readIntent } from '../repo/intent.ts';
import { type ImageName, pointFolder, textOf } from '../repo/keys.ts';
import type { Repository } from '../repo/repository.ts';
import { type BackupChoices, type BackupPlan, releasable, snapshotById, snapshotOf } from './backup-plan.ts';
import type { BackupSource } from './backup-source.ts';

type BackupIntent = Extract<Intent, { operation: 'backup' }>;

export interface RecoveryOptions extends BackupChoices {
  /** What must be the same as in the run that was interrupted. */
  plan: Record<string, unknown>;
  onNotice?: (text: string) => void;
}

/** A run that was interrupted, and that can be gone on with. */
export interface ResumedPlan {
  plan: BackupPlan;
  tags: readonly string[];
  /** False: it was killed before it could say that the snapshot is there, perhaps before the hook behind it. */
  isSnapshotKnown: boolean;
}

/** What an interrupted run has left; null if there is nothing to go on with. Under the lock. */
export async function recoverBackup(
  repository: Repository,
  source: BackupSource,
  head: WritableImage | null,
  options: RecoveryOptions,
): Promise<ResumedPlan | null> {
  const intent = await readIntent(repository, source.image, 'backup');
  if (intent === null) return null;
  const notice = options.onNotice ?? (() => {});
  const { point } = intent;
  const manifest = await readManifest(repository, source.image, point);
  if (manifest !== null) {
    notice(`finished the backup ${point} of ${textOf(source.image)}, which was interrupted when all was stored`);
    await settleBackup(repository, source.image, manifest, head, notice);
    return null;
  }
  await removeLeftovers(repository, source.image, point);
  const plan = await resumable(repository, source, head, intent, options);
  if (plan !== null) {
    notice(`going on with the backup ${point} of ${textOf(source.image)}, which was interrupted`);
    const tags = Array.isArray(intent.plan['tags']) ? intent.plan['tags'].map(String) : [];
    return { plan, tags, isSnapshotKnown: intent.snapshot.id !== null };
  }
  notice(`removed what an interrupted backup of ${textOf(source.image)} had left: ${point}`);
  await repository.store.remove(keysOf(repository, source.image, point));
  if (head !== null && intent.snapshot.ours) await release(head, intent.snapshot.name, intent.snapshot.id, notice);
  await clearIntent(repository, source.image, 'backup');
  return null;
}

/** A snapshot does not change: with the same one, on the same base, what was stored is what would be stored again. */
async function resumable(
  repository: Repository,
  source: BackupSource,
  head: WritableImage | null,
  intent: BackupIntent,
  { plan: same, full, compare, snap }: RecoveryOptions,
): Promise<BackupPlan | null> {
  // A file has no snapshots: it is another one by now.
  if (head === null) return null;
  const { name, id, ours } = intent.snapshot;
  const info = await head.info();
  const there = snapshotById(info, id, name);
  const { method, tags: _, ...before } = intent.plan;
  if (there === null || (method !== 'full' && method !== 'increment' && method !== 'compare')) return null;
  if (!isDeepStrictEqual(before, same)) return null;
  if (snap === undefined ? !ours : snap !== name) return null;
  if (full && intent.base !== null) return null;
  if (compare && method === 'increment') return null;
  const points = await readPoints(repository, source.image);
  const base = intent.base === null ? null : (points.at(-1) ?? null);
  if (intent.base !== (base?.id ?? null)) return null;
  if (method === 'increment') {
    const manifest = base === null ? null : await readManifest(repository, source.image, base.id);
    if (manifest === null || snapshotOf(info, manifest) === null) return null;
  }
  return { point: intent.point, snapshot: { name, ours }, base, method, notice: null };
}

/** The steps after the manifest: each may be done again. */
export async function settleBackup(
  repository: Repository,
  image: ImageName,
  manifest: Manifest,
  head: WritableImage | null,
  onNotice: (text: string) => void = () => {},
): Promise<void> {
  await updateCatalog(repository, image, withEntry(entryOf(manifest)));
  const named = new Set([
    ...manifest.segments.map(({ name }) => name),
    manifest.index.name,
    'manifest.json',
    'proofs.json',
  ]);
  await repository.store.remove(keysOf(repository, image, manifest.point, (name) => !named.has(name)));
  // An upload whose creation was answered to nobody: nobody else can tell that it is of no use.
  await removeLeftovers(repository, image, manifest.point);
  if (head !== null) {
    for (const snapshot of releasable(await head.info(), repository.id, manifest.point))
      await release(head, snapshot.name, snapshot.id, onNotice);
  }
  await clearIntent(repository, image, 'backup');
}

/** Keys in the folder of a point, of those names that `wanted` is for. */
async function* keysOf(
  { store }: Repository,
  image: ImageName,
  point: string,
  wanted: (name: string) => boolean = () => true,
): AsyncGenerator<string, void, undefined> {
  const folder = pointFolder(image, point);
  for await (const { key } of store.list(folder)) if (wanted(key.slice(folder.length))) yield key;
}

async function removeLeftovers({ store }: Repository, image: ImageName, point: string): Promise<void> {
  for await (const leftover of store.leftovers(pointFolder(image, point))) await store.removeLeftover(leftover);
}

/** That a snapshot cannot be removed spoils no backup: the next one tries again. */
async function release(
  head: WritableImage,
  name: string,
  id: number | null,
  notice: (text: string) => void,
): Promise<void> {
  if (snapshotById(await head.info(), id, name) === null) return;
  try {
    await head.removeSnapshot(name);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    notice(`the snapshot "${printable(name)}" is not needed any more, but stays: ${reason}`);
  }
}
