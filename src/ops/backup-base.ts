// Whether the files that a backup is to build on are there: an increment on lost ones could never be restored.

import { RbdeltaError } from '../error.ts';
import { manifestName } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import { readManifest } from '../repo/catalog.ts';
import { chainIds } from '../repo/find-point.ts';
import { type ImageName, imageFolder, textOf } from '../repo/keys.ts';
import type { Repository } from '../repo/repository.ts';
import { missingFile } from './repo-examine.ts';

/**
 * `corrupt` if a file of the chain down from `base` is missing or has another length. Costs one list of the image; only
 * where a point does not take what `points` tell of it is its manifest read.
 */
export async function checkBase(
  repository: Repository,
  image: ImageName,
  points: readonly CatalogEntry[],
  base: string,
): Promise<void> {
  const chain = new Map(chainIds(points, base).map((id) => [id, new Map<string, number>()]));
  const root = imageFolder(image);
  for await (const { key, bytes } of repository.store.list(root)) {
    const [id = '', name = ''] = key.slice(root.length).split('/');
    chain.get(id)?.set(name, bytes);
  }
  for (const { id, storedBytes } of points) {
    const names = chain.get(id);
    if (names === undefined || takes(names) === storedBytes) continue;
    const wrong = missingFile(await readManifest(repository, image, id), names);
    if (wrong !== null) throw new RbdeltaError('corrupt', `the point ${id} of ${textOf(image)} is damaged: ${wrong}`);
  }
}

/** Bytes of segments and index. */
const takes = (names: ReadonlyMap<string, number>): number =>
  [...names].reduce((sum, [name, bytes]) => (name === manifestName || name === 'proofs.json' ? sum : sum + bytes), 0);
