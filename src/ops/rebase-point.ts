// A point gets another base, or none: a new archive beside the old one, then the manifest, then the old files go.

import { encodeManifest, type Manifest, manifestName } from '../format/manifest.ts';
import { RbdeltaError } from '../error.ts';
import { entryOf, readCatalog, updateCatalog, withEntry } from '../repo/catalog.ts';
import { loadChain } from '../repo/chain.ts';
import { removeUnnamed } from '../repo/finish-intents.ts';
import { clearIntent, writeIntent } from '../repo/intent.ts';
import { type ImageName, pointFolder, textOf } from '../repo/keys.ts';
import type { Lock } from '../repo/lock.ts';
import { Packer } from '../repo/packer.ts';
import { rebase } from '../repo/rebase.ts';
import type { Repository } from '../repo/repository.ts';

export interface RebaseOptions {
  /** zstd, 1 to 19; 3 if absent: of what is packed again. */
  level?: number;
  version: string;
  nowMs: () => number;
  signal?: AbortSignal | undefined;
  onProgress?: ((reached: number, size: number) => void) | undefined;
  /** For tests. */
  segmentBytes?: number;
}

export interface RebasedPoint {
  point: string;
  base: string | null;
  storedBytes: number;
  copiedFrames: number;
  packedFrames: number;
}

/**
 * Under the image's lock. `base` is a point of the chain, or null for a full. Readers that were at the old files fail, and
 * can begin again. Killed before the manifest is replaced, the point is as it was; after, as it is to be.
 */
export async function rebasePoint(
  repository: Repository,
  image: ImageName,
  { point, base, expected }: { point: string; base: string | null; expected: readonly string[] },
  lock: Lock,
  options: RebaseOptions,
): Promise<RebasedPoint> {
  const { store } = repository;
  const chain = await loadChain(repository, image, point, { expected });
  const packer = new Packer({ key: repository.digestKey, level: options.level ?? 3 });
  try {
    const old = chain.points.at(-1)!.manifest;
    const index = base === null ? -1 : chain.points.findIndex(({ id }) => id === base);
    if (base !== null && index < 0) {
      throw new RbdeltaError('invalid', `${base} is not a point that ${point} of ${textOf(image)} builds on`);
    }
    const intent = { operation: 'rewrite' as const, point, keep: [] };
    await writeIntent(repository, image, intent, { nowMs: options.nowMs(), version: options.version });
    const {
      segments,
      index: file,
      stream,
      storedBytes,
      copiedFrames,
      packedFrames,
    } = await rebase(chain, index, {
      packer,
      prefix: nextPrefix(old),
      signal: options.signal,
      onProgress: (reached) => options.onProgress?.(Math.min(reached, chain.size), chain.size),
      ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
    });
    const below = chain.points[index]?.manifest ?? null;
    const manifest: Manifest = {
      ...old,
      base: below && { point: below.point, snapshot: below.snapshot.name, fingerprint: below.fingerprint },
      segments,
      index: file,
      stream,
    };
    await lock.assertHeld();
    await store.put(pointFolder(image, point) + manifestName, encodeManifest(manifest));
    const proofs = (await readCatalog(repository, image)).find(({ id }) => id === point)?.proofs;
    await updateCatalog(repository, image, withEntry(entryOf(manifest, proofs)));
    await removeUnnamed(repository, image, point);
    await clearIntent(repository, image, 'rewrite');
    return { point, base, storedBytes, copiedFrames, packedFrames };
  } finally {
    await packer.stop();
    await chain.close();
  }
}

/** New files have names of their own: `1-000000.rbdiff.zst` beside `000000.rbdiff.zst`. */
function nextPrefix({ index }: Manifest): string {
  const [, generation = '0'] = /^(\d+)-/.exec(index.name) ?? [];
  return `${Number(generation) + 1}-`;
}
