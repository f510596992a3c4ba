// What was proved of a point: its proofs.json, and the times in the catalog. Spec: formats/repository/spec.md

import {
  type CatalogEntry,
  decodeProofs,
  encodeProofs,
  limits,
  type Proof,
  type Proofs,
} from '../format/repository.ts';
import { isOfContent, proofTimes, readCatalog, readPoints, updateCatalog } from './catalog.ts';
import { chainIds } from './find-point.ts';
import { type ImageName, pointFolder } from './keys.ts';
import type { Repository } from './repository.ts';

export { proofTimes };

const nothing: Proofs = { format: 1, proofs: [], scrubbed: null };

export const proofsKey = (image: ImageName, point: string): string => `${pointFolder(image, point)}proofs.json`;

/** What is written, null where there is no file; `corrupt` or `unsupported` for one that cannot be read. */
export async function readProofs({ store }: Repository, image: ImageName, point: string): Promise<Proofs | null> {
  const key = proofsKey(image, point);
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

/**
 * Forgets what was proved of files that a rewrite of this point has replaced: all of the point itself, and what the points
 * that build on it had proved of their whole chains. Under the image's lock. Run again after a crash, it ends the same.
 */
export async function dropProofs(repository: Repository, image: ImageName, point: string): Promise<void> {
  const { store } = repository;
  const proved = (await readCatalog(repository, image)).filter(
    ({ id, proofs }) => id !== point && Object.keys(proofs).some((level) => level !== 'scrub'),
  );
  // Whose chains are whose is told by all of them, also by those that the catalog does not know.
  const points = proved.length === 0 ? [] : await readPoints(repository, image, () => {});
  const kept = new Map<string, CatalogEntry['proofs']>([[point, {}]]);
  for (const { id } of proved) {
    if (!chainIds(points, id).includes(point)) continue;
    const file = await loadProofs(repository, image, id);
    const scrubs = file.proofs.filter(isOfPoint);
    await store.put(proofsKey(image, id), encodeProofs({ ...file, proofs: scrubs }));
    kept.set(id, proofTimes(scrubs));
  }
  await store.remove([proofsKey(image, point)]);
  await updateCatalog(repository, image, (entries) =>
    entries.map((entry) => ({ ...entry, proofs: kept.get(entry.id) ?? entry.proofs })),
  );
}

/** Levels whose failure says that the files of a chain are not what they should be: no point above can be restored either. */
export const isOfFiles = (level: Proof['level']): boolean => level === 'audit' || level === 'scrub';

/** The points that did not stand a proof, or that build on one whose files did not. `points`: all of an image, oldest first. */
export function failedPoints(points: readonly CatalogEntry[]): Set<string> {
  const [failed, broken] = [new Set<string>(), new Set<string>()];
  for (const { id, base, proofs } of points) {
    const levels = proofs.failed ?? [];
    if (levels.some(isOfFiles) || (base !== null && broken.has(base))) broken.add(id);
    if (levels.length > 0 || broken.has(id)) failed.add(id);
  }
  return failed;
}

/** Of its own frames, whatever it builds on. */
const isOfPoint = ({ level }: Proof): boolean => level === 'scrub';
