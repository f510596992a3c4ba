// `copy`: points of one repository into another one, which may be of another kind and have another key.

import { hostname } from 'node:os';
import { ExtentList } from '../diff/extent.ts';
import { blockBytes } from '../format/archive-index.ts';
import { addSums, sumFromHex, sumToHex, zeroSum } from '../format/fingerprint.ts';
import { encodeManifest, type Manifest, manifestName } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import { RbdeltaError } from '../error.ts';
import { ArchiveWriter, type WrittenArchive } from '../repo/archive-writer.ts';
import { blockSpans } from '../repo/block-spans.ts';
import { entryOf, readManifest, readPoints } from '../repo/catalog.ts';
import { type Chain, loadChain } from '../repo/chain.ts';
import { withGrown } from '../repo/chain-diff.ts';
import { ChainBytes } from '../repo/chain-image.ts';
import { chainIds } from '../repo/find-point.ts';
import { finishIntents, finishRewrite, removeUnnamed } from '../repo/finish-intents.ts';
import { writeIntent } from '../repo/intent.ts';
import { type ImageName, pointFolder, textOf } from '../repo/keys.ts';
import { takeLock } from '../repo/lock.ts';
import { StateCursor } from '../repo/overlay.ts';
import { Packer } from '../repo/packer.ts';
import { rebase } from '../repo/rebase.ts';
import type { Repository } from '../repo/repository.ts';
import { archiveChanges } from './archive-changes.ts';
import { forgetCut } from './forget-cut.ts';

export interface CopyOptions {
  level?: number;
  waitMs?: number;
  version: string;
  nowMs: () => number;
  signal?: AbortSignal | undefined;
  onNotice?: (text: string) => void;
  onProgress?: (point: string, reached: number, size: number) => void;
  /** When a point is whole there: one that fails later takes nothing of it away. */
  onCopied?: (copied: CopiedPoint) => void;
  /** For tests. */
  segmentBytes?: number;
}

export interface CopiedPoint {
  point: string;
  base: string | null;
  storedBytes: number;
}

export interface PlannedCopy {
  point: CatalogEntry;
  /** On which it will lie there; null: as a full. */
  base: string | null;
}

/**
 * Which of the points (of one image, oldest first) are not there yet, and what each lies on there: the nearest point below
 * it that is there, or that is copied before it. Pure.
 */
export function planCopy(
  points: readonly CatalogEntry[],
  ids: ReadonlySet<string>,
  there: readonly CatalogEntry[],
): PlannedCopy[] {
  const known = new Set(there.map(({ id }) => id));
  const byId = new Map(points.map((point) => [point.id, point]));
  const plan: PlannedCopy[] = [];
  for (const point of points) {
    if (!ids.has(point.id) || known.has(point.id)) continue;
    let base = point.base;
    while (base !== null && !known.has(base)) base = byId.get(base)?.base ?? null;
    plan.push({ point, base });
    known.add(point.id);
  }
  return plan;
}

/** Copies what is not there yet; resolves to what was copied. A point that is interrupted is begun anew the next time. */
export async function copyPoints(
  source: Repository,
  target: Repository,
  image: ImageName,
  ids: ReadonlySet<string>,
  options: CopyOptions,
): Promise<CopiedPoint[]> {
  const { waitMs = 0, signal, onNotice, onCopied } = options;
  const lock = await takeLock(target, image, { operation: 'copy', waitMs, signal, onNotice });
  try {
    await finishIntents(target, image, onNotice);
    const points = await readPoints(source, image);
    const copied: CopiedPoint[] = [];
    for (const { point, base } of planCopy(points, ids, await readPoints(target, image))) {
      const expected = chainIds(points, point.id);
      const chain = await loadChain(source, image, point.id, { expected });
      try {
        const { nowMs, version } = options;
        await writeIntent(target, image, { operation: 'rewrite', point: point.id }, { nowMs: nowMs(), version });
        const manifest = await copyOne(chain, target, base, options);
        await lock.assertHeld();
        const key = pointFolder(image, point.id) + manifestName;
        await target.store.put(key, encodeManifest(manifest), { create: true });
        await finishRewrite(target, image, point.id);
        const one = { point: point.id, base, storedBytes: entryOf(manifest).storedBytes };
        copied.push(one);
        onCopied?.(one);
      } finally {
        await chain.close();
      }
    }
    return copied;
  } finally {
    await lock.release();
  }
}

/** Everything but the manifest. */
async function copyOne(
  chain: Chain,
  target: Repository,
  baseId: string | null,
  options: CopyOptions,
): Promise<Manifest> {
  const { image } = chain;
  const old = chain.points.at(-1)!.manifest;
  const below = baseId === null ? null : await readManifest(target, image, baseId);
  const index = baseId === null ? -1 : chain.points.findIndex(({ id }) => id === baseId);
  if (baseId !== null && (below === null || index < 0)) {
    throw new RbdeltaError('corrupt', `the point ${baseId} of ${textOf(image)} is not in both repositories any more`);
  }
  // Files of nobody, in the way of ours.
  await removeUnnamed(target, image, old.point, null);
  const packer = new Packer({ key: target.digestKey, level: options.level ?? 3 });
  try {
    const isSameKey = Buffer.compare(chain.repository.digestKey, target.digestKey) === 0;
    if (isSameKey && below !== null && below.fingerprint !== chain.points[index]!.manifest.fingerprint) {
      throw new RbdeltaError(
        'corrupt',
        `the point ${baseId} of ${textOf(image)} is another one in ${target.store.nameOf('')}`,
      );
    }
    const { signal, segmentBytes } = options;
    const cut = { signal, ...(segmentBytes === undefined ? {} : { segmentBytes }) };
    const onProgress = (reached: number): void =>
      options.onProgress?.(old.point, Math.min(reached, chain.size), chain.size);
    const written = isSameKey
      ? {
          fingerprint: old.fingerprint,
          ...(await rebase(chain, index, { packer, into: target, prefix: '', onProgress, ...cut })),
        }
      : await digestAnew(chain, index, target, below, packer, onProgress, cut);
    const { segments, index: file, stream, fingerprint } = written;
    return {
      ...old,
      repository: target.id,
      base: below && { point: below.point, snapshot: below.snapshot.name, fingerprint: below.fingerprint },
      segments,
      index: file,
      stream,
      fingerprint,
      // The snapshot belongs to the repository that made it.
      snapshot: { ...old.snapshot, ours: false },
      finished: new Date(options.nowMs()).toISOString(),
      writer: { ...old.writer, rbdelta: options.version, host: hostname() },
    };
  } finally {
    await packer.stop();
  }
}

/** Another key makes other digests: the blocks are read, from the chain, as a backup reads them from an image. */
async function digestAnew(
  chain: Chain,
  base: number,
  target: Repository,
  below: Manifest | null,
  packer: Packer,
  onProgress: (reached: number) => void,
  cut: { signal: AbortSignal | undefined; segmentBytes?: number },
): Promise<WrittenArchive & { fingerprint: string }> {
  const { image, size } = chain;
  const newest = chain.points.at(-1)!.manifest;
  const there = below === null ? null : await loadChain(target, image, below.point);
  const header = {
    fromSnap: below?.snapshot.name ?? null,
    toSnap: newest.snapshot.name,
    size,
    protected: null,
  };
  const compress = (raw: Uint8Array) => packer.compress(raw);
  const writer = new ArchiveWriter(target.store, pointFolder(image, newest.point), header, { compress, ...cut });
  try {
    const before = there?.size ?? 0;
    const extra = size < before && size % blockBytes !== 0 ? [Math.floor(size / blockBytes)] : [];
    await archiveChanges({
      image: new ChainBytes(chain),
      spans: blockSpans(changesOf(chain, base), { size, extra }),
      old: there === null ? null : new StateCursor(there),
      packer,
      writer,
      trim: false,
      dropZeros: below === null,
      signal: cut.signal,
      onProgress: ({ reached }) => onProgress(reached),
    });
    if (there !== null) await forgetCut(there, size, packer, writer);
    const written = await writer.finish(size);
    const sum = addSums(below === null ? zeroSum() : sumFromHex(below.fingerprint), written.sum);
    return { ...written, fingerprint: sumToHex(sum) };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await there?.close();
  }
}

/** What the points after `base` tell of, in lists. */
async function* changesOf(chain: Chain, base: number): AsyncGenerator<{ extents: ExtentList }, void, undefined> {
  let extents = new ExtentList();
  for await (const { offset, end, frame } of withGrown(chain, base)) {
    extents.append(offset, end - offset, frame === null ? 'zero' : 'data');
    if (extents.count < listExtents) continue;
    yield { extents };
    extents = new ExtentList();
  }
  yield { extents };
}

const listExtents = 4096;
