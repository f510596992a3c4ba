// Writes down what was found out about points. Spec: formats/repository/spec.md

import { mapOrdered } from '../bytes/ordered.ts';
import type { Manifest } from '../format/manifest.ts';
import { type CatalogEntry, encodeProofs, type Proof, type Proofs } from '../format/repository.ts';
import { entryOf, isOfContent, readManifest, updateCatalog, withEntry } from './catalog.ts';
import { finishIntents } from './finish-intents.ts';
import type { ImageName } from './keys.ts';
import { takeLock } from './lock.ts';
import { loadProofs, proofsKey, proofTimes } from './proofs.ts';
import type { Repository } from './repository.ts';

export interface NewProofs {
  point: string;
  /** In place of those of the same levels. */
  proofs: readonly Proof[];
  /** Where a scrub goes on; absent: as it is. */
  scrubbed?: Proofs['scrubbed'];
  /** What was looked at: `directorySha256` of each point. If one has other files by now, nothing is written. */
  of: ReadonlyMap<string, string>;
}

/** Manifests fetched at the same time. */
const requests = 16;

/**
 * Writes what was found out about points of one image, and tells the catalog: for this moment under the image's lock,
 * which is waited for. A point that is gone or was rewritten by now is passed over, and so is one without a manifest that
 * can be read.
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
    const manifests = new Map<string, Manifest | null>();
    const ids = new Set(found.flatMap(({ point, of }) => [point, ...of.keys()]));
    const read = mapOrdered(ids, requests, async (id) => {
      const manifest = await readManifest(repository, image, id).catch((error: unknown) => {
        if (isOfContent(error)) return null;
        throw error;
      });
      return [id, manifest] as const;
    });
    for await (const [id, manifest] of read) manifests.set(id, manifest);
    const isSame = ([id, sha256]: [string, string]): boolean => {
      const manifest = manifests.get(id) ?? null;
      // one that cannot be read was not rewritten
      return manifest === null || manifest.index.directorySha256 === sha256;
    };
    const added: CatalogEntry[] = [];
    for (const { point, proofs, scrubbed, of } of found) {
      const manifest = manifests.get(point) ?? null;
      if (manifest === null || ![...of].every(isSame)) continue;
      const before = await loadProofs(repository, image, point);
      const levels = new Set(proofs.map(({ level }) => level));
      const all = [...before.proofs.filter(({ level }) => !levels.has(level)), ...proofs];
      const file: Proofs = { format: 1, proofs: all, scrubbed: scrubbed === undefined ? before.scrubbed : scrubbed };
      await lock.assertHeld();
      await repository.store.put(proofsKey(image, point), encodeProofs(file));
      added.push(entryOf(manifest, proofTimes(all)));
    }
    if (added.length === 0) return;
    await updateCatalog(repository, image, (points) => added.reduce((list, entry) => withEntry(entry)(list), points));
  } finally {
    await lock.release();
  }
}
