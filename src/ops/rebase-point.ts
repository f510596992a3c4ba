// A point gets another base, or none: a new archive beside the old one, then the manifest, then the old files go.

import { encodeManifest, type Manifest, manifestName } from '../format/manifest.ts';
import { RbdeltaError } from '../error.ts';
import { type Chain, loadChain } from '../repo/chain.ts';
import { finishRewrite } from '../repo/finish-intents.ts';
import { writeIntent } from '../repo/intent.ts';
import { type ImageName, pointFolder, textOf } from '../repo/keys.ts';
import type { Lock } from '../repo/lock.ts';
import { Packer } from '../repo/packer.ts';
import { rebase } from '../repo/rebase.ts';
import type { Repository } from '../repo/repository.ts';
import { startUnpacker, type Unpacker } from '../repo/unpack.ts';

/** What packs and unpacks, for as many points as there are. */
export interface RebaseThreads {
  packer: Packer;
  unpacker: Unpacker;
}

/** Ends the threads in any case. */
export async function withThreads<T>(
  repository: Repository,
  level: number | undefined,
  use: (threads: RebaseThreads) => Promise<T>,
): Promise<T> {
  const threads = { packer: new Packer({ key: repository.digestKey, level: level ?? 3 }), unpacker: startUnpacker() };
  try {
    return await use(threads);
  } finally {
    await Promise.all([threads.packer.stop(), threads.unpacker.stop()]);
  }
}

export interface RebaseOptions {
  /** zstd, 1 to 19; 3 if absent: of what is packed again. */
  level?: number;
  version: string;
  nowMs: () => number;
  signal?: AbortSignal | undefined;
  onProgress?: ((reached: number, size: number) => void) | undefined;
  /** Told of the points that the point was built on: their manifests were read under the lock. */
  onChain?: (chain: Chain) => void;
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
  { packer, unpacker }: RebaseThreads,
  options: RebaseOptions,
): Promise<RebasedPoint> {
  const { store } = repository;
  const downTo = base === null ? {} : { downTo: base };
  const chain = await loadChain(repository, image, point, { expected, unpacker, ...downTo });
  try {
    options.onChain?.(chain);
    const old = chain.points.at(-1)!.manifest;
    const index = base === null ? -1 : chain.points.findIndex(({ id }) => id === base);
    if (base !== null && index < 0) {
      throw new RbdeltaError('invalid', `${base} is not a point that ${point} of ${textOf(image)} builds on`);
    }
    const intent = { operation: 'rewrite' as const, point };
    await writeIntent(repository, image, intent, { nowMs: options.nowMs(), version: options.version });
    const rebasing = rebase(chain, index, {
      packer,
      prefix: nextPrefix(old),
      signal: options.signal ? AbortSignal.any([options.signal, lock.lost]) : lock.lost,
      onProgress: (reached) => options.onProgress?.(Math.min(reached, chain.size), chain.size),
      ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
    });
    const archive = await rebasing.catch(async (error: unknown) => {
      await undo(repository, image, point, lock);
      throw error;
    });
    const { segments, index: file, stream, storedBytes, copiedFrames, packedFrames } = archive;
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
    await finishRewrite(repository, image, point);
    return { point, base, storedBytes, copiedFrames, packedFrames };
  } finally {
    await chain.close();
  }
}

/** The point is as it was: what was written of the new archive goes. What cannot be removed now, the next writer removes. */
async function undo(repository: Repository, image: ImageName, point: string, lock: Lock): Promise<void> {
  try {
    await lock.assertHeld();
    await finishRewrite(repository, image, point);
  } catch (error) {
    if (!(error instanceof RbdeltaError)) throw error;
  }
}

/** New files have names of their own: `1-000000.rbdiff.zst` beside `000000.rbdiff.zst`. */
function nextPrefix({ index }: Manifest): string {
  const [, generation = '0'] = /^(\d+)-/.exec(index.name) ?? [];
  return `${Number(generation) + 1}-`;
}
