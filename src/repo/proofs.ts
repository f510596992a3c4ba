// What was proved of a point: its proofs.json, and the times in the catalog. Spec: formats/repository/spec.md

import {
  type CatalogEntry,
  decodeProofs,
  encodeProofs,
  limits,
  type Proof,
  type Proofs,
} from '../format/repository.ts';
import { isOfContent, readManifest, updateCatalog, withEntry, entryOf } from './catalog.ts';
import { finishIntents } from './finish-intents.ts';
import { type ImageName, pointFolder } from './keys.ts';
import { takeLock } from './lock.ts';
import type { Repository } from './repository.ts';

const nothing: Proofs = { format: 1, proofs: [], scrubbed: null };

const keyOf = (image: ImageName, point: string): string => `${pointFolder(image, point)}proofs.json`;

/** What is written, null where there is no file; `corrupt` or `unsupported` for one that cannot be read. */
export async function readProofs({ store }: Repository, image: ImageName, point: string): Promise<Proofs | null> {
  const key = keyOf(image, point);
  const bytes = await store.get(key, limits.proofsBytes);
  return bytes === null ? null : decodeProofs(bytes, store.nameOf(key));
}

/** What is written; nothing proved where there is no file, or one that cannot be read. */
export async function loadProofs(repository: Repository, image: ImageName, point: string): Promise<Proofs> {
  try {
    return (await readProofs(repository, image, point)) ?? nothing;
  } catch (error) {
    if (!isOfContent(error)) throw error;
    return nothing;
  }
}

export interface NewProofs {
  point: string;
  /** In place of those of the same levels. */
  proofs: readonly Proof[];
  /** Where a scrub goes on; absent: as it is. */
  scrubbed?: Proofs['scrubbed'];
}

/**
 * Writes what was found out about points of one image, and tells the catalog: for this moment under the image's lock,
 * which is waited for. A point that is gone by now is passed over, and so is one without a manifest that can be read.
 */
export async function recordProofs(
  repository: Repository,
  image: ImageName,
  found: readonly NewProofs[],
  options: { waitMs: number; signal?: AbortSignal | undefined; onNotice?: ((text: string) => void) | undefined },
): Promise<void> {
  const lock = await takeLock(repository, image, { operation: 'verify', ...options });
  try {
    await finishIntents(repository, image, options.onNotice);
    const added: CatalogEntry[] = [];
    for (const { point, proofs, scrubbed } of found) {
      const manifest = await readManifest(repository, image, point).catch((error: unknown) => {
        if (isOfContent(error)) return null;
        throw error;
      });
      if (manifest === null) continue;
      const before = await loadProofs(repository, image, point);
      const levels = new Set(proofs.map(({ level }) => level));
      const all = [...before.proofs.filter(({ level }) => !levels.has(level)), ...proofs];
      const file: Proofs = { format: 1, proofs: all, scrubbed: scrubbed === undefined ? before.scrubbed : scrubbed };
      await lock.assertHeld();
      await repository.store.put(keyOf(image, point), encodeProofs(file));
      added.push(entryOf(manifest, proofTimes(all)));
    }
    if (added.length === 0) return;
    await updateCatalog(repository, image, (points) => added.reduce((list, entry) => withEntry(entry)(list), points));
  } finally {
    await lock.release();
  }
}

/** What the catalog has of proofs: those that succeeded, of the whole. */
export const proofTimes = (proofs: readonly Proof[]): CatalogEntry['proofs'] =>
  Object.fromEntries(
    proofs.filter(({ ok, percent }) => ok && percent === 100).map(({ level, finished }) => [level, finished]),
  );
