// `repo show`: what the manifest of a point says, what it builds on, and what was proved of it.

import { RbdeltaError } from '../error.ts';
import type { Manifest } from '../format/manifest.ts';
import type { CatalogEntry, Proof } from '../format/repository.ts';
import { readManifest } from '../repo/catalog.ts';
import { loadChain } from '../repo/chain.ts';
import { chainIds, type FoundPoint } from '../repo/find-point.ts';
import { type ImageName, textOf } from '../repo/keys.ts';
import { failedPoints, loadProofs } from '../repo/proofs.ts';
import type { Repository } from '../repo/repository.ts';
import { scrubHint } from '../repo/unpack.ts';

export interface ShownPoint {
  manifest: Manifest;
  /** From the point down to its full; as far as the links are good. */
  chain: { id: string; created: string; full: boolean; size: number; dataBytes: number; storedBytes: number }[];
  /** Why the point cannot be restored; null if its chain is whole, as far as manifests and earlier proofs tell. */
  broken: RbdeltaError | null;
  /** The newest of each level. */
  proofs: Proof[];
}

/** `corrupt` if the manifest itself is damaged; a broken chain below it is shown. */
export async function showPoint(
  repository: Repository,
  { image, entry, points }: Pick<FoundPoint, 'image' | 'entry' | 'points'>,
): Promise<ShownPoint> {
  const manifest = await readManifest(repository, image, entry.id);
  if (manifest === null) throw goneMeanwhile(image, entry.id);
  const { proofs } = await loadProofs(repository, image, entry.id);
  try {
    const chain = await loadChain(repository, image, entry.id, { expected: chainIds(points, entry.id) });
    await chain.close();
    const links = chain.points.map((one) => link(one.manifest)).toReversed();
    return { manifest, chain: links, broken: failureIn(points, image, entry.id), proofs };
  } catch (error) {
    if (!(error instanceof RbdeltaError) || (error.code !== 'corrupt' && error.code !== 'notFound')) throw error;
    return { manifest, chain: [link(manifest)], broken: error, proofs };
  }
}

function failureIn(points: readonly CatalogEntry[], image: ImageName, id: string): RbdeltaError | null {
  if (!failedPoints(points).has(id)) return null;
  const ids = new Set(chainIds(points, id));
  const failed = points.filter((one) => ids.has(one.id) && one.proofs.failed !== undefined).map((one) => one.id);
  const message = `repo verify found damage when it last looked at ${failed.join(', ')} of ${textOf(image)}`;
  return new RbdeltaError('corrupt', message, { hint: scrubHint });
}

export const goneMeanwhile = (image: ImageName, point: string): RbdeltaError =>
  new RbdeltaError('notFound', `the point ${point} of ${textOf(image)} is gone: it was removed meanwhile`);

const link = (manifest: Manifest): ShownPoint['chain'][number] => ({
  id: manifest.point,
  created: manifest.created,
  full: manifest.base === null,
  size: manifest.image.size,
  dataBytes: manifest.stream.dataBytes,
  storedBytes: manifest.segments.reduce((sum, { bytes }) => sum + bytes, manifest.index.bytes),
});
