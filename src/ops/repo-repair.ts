// `repo repair`: catalogs made anew, leftovers finished or removed. Nothing goes that a manifest or a catalog names.

import { counted, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { encodeCatalog } from '../format/repository.ts';
import { catalogKey, readManifest } from '../repo/catalog.ts';
import { findImages } from '../repo/find-point.ts';
import { finishIntents } from '../repo/finish-intents.ts';
import { clearIntent } from '../repo/intent.ts';
import { type ImageName, imageFolder, pointFolder, textOf } from '../repo/keys.ts';
import { describeLock, takeLock } from '../repo/lock.ts';
import type { Repository } from '../repo/repository.ts';
import type { Leftover } from '../store/port.ts';
import { settleBackup } from './backup-recovery.ts';
import { examineTwice, listFiles } from './repo-check.ts';
import { type Examined, examineImage, remedyFor } from './repo-examine.ts';

export interface RepairOptions {
  name?: string | null;
  /**
   * What an interrupted backup has left goes as well, so that the next one begins anew; and what is left of a point that
   * neither a manifest nor the catalog tells of.
   */
  force?: boolean;
  /** Say what would be done, without a lock. */
  dryRun?: boolean;
  waitMs?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
}

export interface Repair {
  /** null: of no image. */
  image: ImageName | null;
  /** `done` (or planned, in a dry run); `left` to the next backup; `busy`: locked; `lost`: a point that cannot be restored. */
  state: 'done' | 'left' | 'busy' | 'lost';
  text: string;
  hint: string | null;
}

/** What is hidden in the store and belongs to no image may be of a writer that begins: not touched for so long. */
const youngMs = 3600_000;
/** What waits for the lock of an image is as old as that at most. */
const lockYoungMs = 300_000;

/** Image by image, each under its lock; one that is held by another is left as it is. */
export async function repairRepository(repository: Repository, options: RepairOptions = {}): Promise<Repair[]> {
  const { name = null, signal, dryRun = false } = options;
  const repairs: Repair[] = [];
  for (const image of await findImages(repository, name)) {
    signal?.throwIfAborted();
    repairs.push(...(await repairImage(repository, image, options)));
  }
  if (name === null) repairs.push(...(await removeTemporary(repository, null, dryRun)));
  return repairs;
}

interface Step {
  text: string;
  run(): Promise<void>;
}

async function repairImage(repository: Repository, image: ImageName, options: RepairOptions): Promise<Repair[]> {
  const { dryRun = false, waitMs = 0, signal, onNotice } = options;
  const looked = await examineTwice(repository, image, await listFiles(repository, image));
  const planned = stepsFor(repository, looked, options);
  const lost = lostPoints(looked);
  const repairs = (steps: readonly { text: string }[]): Repair[] =>
    steps.map(({ text }) => ({ image, state: 'done', text, hint: null }));
  if (dryRun) {
    const live = looked.locks.find(({ isDead }) => !isDead);
    if (live !== undefined) return [busy(image, describeLock(live)), ...lost];
    return [
      ...repairs(planned),
      ...(await removeTemporary(repository, image, true)),
      ...waiting(looked, options),
      ...lost,
    ];
  }
  if (planned.length === 0 && !(await hasTemporary(repository, image))) return [...waiting(looked, options), ...lost];
  try {
    const lock = await takeLock(repository, image, { operation: 'repair', waitMs, signal, onNotice: undefined });
    try {
      // What was found before the lock may be another writer's work of that moment.
      const locks = planned.filter(({ text }) => text.startsWith(lockStep));
      const found = await examineLocked(repository, image);
      const steps = stepsFor(repository, found, options);
      for (const step of steps) {
        signal?.throwIfAborted();
        await lock.assertHeld();
        await step.run();
      }
      const temporary = await removeTemporary(repository, image, false);
      // Removing one thing may show another: an intent that is gone leaves files of no point.
      const after = await examineLocked(repository, image);
      const more = stepsFor(repository, after, options);
      for (const step of more) await step.run();
      onNotice?.(`repaired ${printable(textOf(image))}`);
      return [
        ...repairs([...locks, ...steps, ...more]),
        ...temporary,
        ...waiting(after, options),
        ...lostPoints(found),
      ];
    } finally {
      await lock.release();
    }
  } catch (error) {
    if (!(error instanceof RbdeltaError) || error.code !== 'busy') throw error;
    return [busy(image, error.message), ...lost];
  }
}

/** Without our own lock. */
const examineLocked = async (repository: Repository, image: ImageName): Promise<Examined> => ({
  ...(await examineImage(repository, image, await listFiles(repository, image))),
  locks: [],
});

const busy = (image: ImageName, text: string): Repair => ({
  image,
  state: 'busy',
  text: `${printable(textOf(image))} was left as it is: ${text}`,
  hint: 'try again when that has ended',
});

const lockStep = 'removed a dead lock';

/** What there is to do, in order. Each step may be done again. */
function stepsFor(repository: Repository, found: Examined, { force = false }: RepairOptions): Step[] {
  const { store } = repository;
  const { image } = found;
  const name = printable(textOf(image));
  const steps: Step[] = [];
  const add = (text: string, run: () => Promise<unknown>): void => {
    steps.push({
      text,
      run: async () => {
        await run();
      },
    });
  };
  const remove = (keys: readonly string[]) => async (): Promise<unknown> => store.remove(keys);

  for (const lock of found.locks)
    if (lock.isDead) add(`${lockStep} of ${name}: ${describeLock(lock)}`, remove([lock.key]));
  for (const { key, error } of found.damagedIntents)
    if (error.code !== 'unsupported') add(`removed ${store.nameOf(key)}, which cannot be read`, remove([key]));
  for (const intent of found.intents) {
    const what = `an interrupted ${intent.operation} of ${name}`;
    if (intent.operation !== 'backup') {
      add(`finished ${what}`, () => finishIntents(repository, image));
      continue;
    }
    if (!force) continue;
    add(`ended ${what}, ${intent.point}`, async () => {
      const manifest = await readManifest(repository, image, intent.point);
      if (manifest !== null) return settleBackup(repository, image, manifest, null);
      await removeFolder(repository, image, intent.point);
      return clearIntent(repository, image, 'backup');
    });
  }
  for (const { point, keys, bytes } of found.unfinished)
    add(
      `removed ${counted(keys.length, 'file')}, ${bytes} bytes, of ${point} of ${name}, which is no point`,
      remove(keys),
    );
  for (const { id } of found.points.filter(({ isUnknown }) => isUnknown && force))
    add(`removed what was left of the point ${id} of ${name}`, () => removeFolder(repository, image, id));
  for (const { point, keys } of found.unnamed)
    add(`removed ${counted(keys.length, 'file')} that the manifest of ${point} of ${name} does not name`, remove(keys));
  for (const { key } of found.damagedProofs) add(`removed ${store.nameOf(key)}, which cannot be read`, remove([key]));
  if (found.catalogDiffers !== null && !found.catalogIsNewer) {
    add(`wrote the catalog of ${name} anew: ${found.catalogDiffers}`, () =>
      store.put(catalogKey(image), encodeCatalog({ format: 1, points: found.catalog })),
    );
  }
  return steps;
}

async function removeFolder({ store }: Repository, image: ImageName, point: string): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of store.list(pointFolder(image, point))) keys.push(key);
  await store.remove(keys);
}

/** A backup that was interrupted: the next one goes on with it, and has the image that this needs. */
function waiting({ image, intents }: Examined, { force = false }: RepairOptions): Repair[] {
  if (force) return [];
  const name = printable(textOf(image));
  return intents.flatMap((intent): Repair[] => {
    if (intent.operation !== 'backup') return [];
    const text = `the interrupted backup ${intent.point} of ${name} was left to the next backup, which goes on with it`;
    return [{ image, state: 'left', text, hint: '--force removes it' }];
  });
}

function lostPoints(found: Examined): Repair[] {
  const { image, points } = found;
  const name = printable(textOf(image));
  return points.flatMap((point): Repair[] => {
    const { id, damage, lacks, isGone } = point;
    if (damage === null && lacks === null) return [];
    const text = `the point ${id} of ${name} cannot be restored: ${damage ?? `it builds on ${lacks}`}`;
    return [{ image, state: 'lost', text, hint: damage === null || isGone ? null : remedyFor(found, point) }];
  });
}

async function hasTemporary({ store }: Repository, image: ImageName): Promise<boolean> {
  for await (const one of store.leftovers(imageFolder(image))) if (one.id !== '') return true;
  return false;
}

/** Files and uploads that never became objects, of an image (under its lock) or of none. */
async function removeTemporary(repository: Repository, image: ImageName | null, dryRun: boolean): Promise<Repair[]> {
  const { store } = repository;
  const folder = image === null ? '' : imageFolder(image);
  let nowMs: number | null = null;
  let [count, bytes] = [0, 0];
  for await (const leftover of store.leftovers(folder)) {
    if (image === null && isOfImage(leftover)) continue;
    // Others who want the lock write there while we hold it.
    const youngest = image === null ? youngMs : leftover.key.startsWith(`${folder}lock/`) ? lockYoungMs : 0;
    if (youngest > 0) {
      nowMs ??= await store.nowMs();
      if (nowMs - leftover.modifiedMs < youngest) continue;
    }
    count += 1;
    bytes += leftover.bytes;
    if (!dryRun) await store.removeLeftover(leftover);
  }
  if (count === 0) return [];
  const text = `removed ${counted(count, 'file')} or upload that was not finished, ${bytes} bytes, in ${store.nameOf(folder)}`;
  return [{ image, state: 'done', text, hint: null }];
}

const isOfImage = ({ key }: Leftover): boolean => key.split('/').length > 2;
