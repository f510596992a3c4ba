// `backup`: a new point of an image, full or an increment by itself. Killed anywhere, the next run goes on from there.

import { hostname } from 'node:os';
import { RbdeltaError } from '../error.ts';
import { addSums, sumFromHex, sumToHex, zeroSum } from '../format/fingerprint.ts';
import { encodeManifest, type Manifest, manifestName } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import type { Image, ImageInfo, WritableImage } from '../image/port.ts';
import { ArchiveWriter, type Resumed, type WrittenArchive } from '../repo/archive-writer.ts';
import { chainIds } from '../repo/find-point.ts';
import { type Chain, loadChain } from '../repo/chain.ts';
import { finishIntents } from '../repo/finish-intents.ts';
import { readIntent, writeIntent } from '../repo/intent.ts';
import { pointFolder } from '../repo/keys.ts';
import { type Lock, takeLock } from '../repo/lock.ts';
import { StateCursor } from '../repo/overlay.ts';
import { Packer } from '../repo/packer.ts';
import type { Repository } from '../repo/repository.ts';
import { archiveChanges, type ArchiveProgress } from './archive-changes.ts';
import { checkBase } from './backup-base.ts';
import { type BackupChoices, type BackupPlan, planBackup, snapshotById } from './backup-plan.ts';
import { recoverBackup, settleBackup } from './backup-recovery.ts';
import type { BackupSource } from './backup-source.ts';
import { backupSpans } from './backup-spans.ts';
import { situationOf } from './backup-situation.ts';
import { checkStillThere } from './diff-extents.ts';
import { forgetCut } from './forget-cut.ts';
import { planDiff } from './diff-plan.ts';

export interface BackupOptions extends BackupChoices {
  tags?: readonly string[];
  /** Blocks that were rewritten with the same bytes are not stored. */
  trim?: boolean;
  /** zstd, 1 to 19; 3 if absent. */
  level?: number;
  /**
   * Around the making of the snapshot, as fsfreeze; of a file, around all of the reading. `post` is called whatever became
   * of `pre` and the work. With `snap`, which is there already, neither is called.
   */
  hooks?: { pre?: () => Promise<void>; post?: () => Promise<void> };
  /** How long to wait for another writer of the image, ms; 0 if absent. */
  waitMs?: number;
  /** Of rbdelta, for the manifest. */
  version: string;
  nowMs?: () => number;
  /** For tests: the length of segments. */
  segmentBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  onProgress?: (progress: BackupProgress) => void;
  /** The point of an interrupted run is whole; the one that was asked for comes now, and may fail. */
  onResumed?: (result: BackupResult) => void;
}

/** Where the work has come to in the image, of its size. */
export interface BackupProgress extends ArchiveProgress {
  size: number;
}

export interface BackupResult {
  point: string;
  method: BackupPlan['method'];
  base: string | null;
  snapshot: string;
  size: number;
  bytesRead: number;
  /** Bytes of data and of zeros that the point tells of, and what it takes in the repository. */
  dataBytes: number;
  zeroBytes: number;
  storedBytes: number;
  /** Segments of an interrupted run that were not sent again. */
  resumedBytes: number;
  /** The point of an interrupted run, which was made whole first. */
  resumed: BackupResult | null;
  seconds: number;
  fingerprint: string;
}

/** What `--dry-run` shows: nothing was changed, no lock taken. */
export async function dryBackup(
  repository: Repository,
  source: BackupSource,
  options: BackupOptions,
): Promise<BackupPlan> {
  const situation = await situationOf(repository, source, options);
  const intent = await readIntent(repository, source.image, 'backup');
  if (intent !== null)
    options.onNotice?.(`what an interrupted run has left is finished or removed first: ${intent.point}`);
  const plan = planBackup(situation, options);
  await checkPlan(repository, source, plan, situation.points);
  return plan;
}

/**
 * Makes the point. Nothing of it is visible before all of it is durable; then the snapshot that the point before it
 * needed is removed. What an interrupted run left is finished, gone on with or removed first.
 */
export async function backup(
  repository: Repository,
  source: BackupSource,
  options: BackupOptions,
): Promise<BackupResult> {
  const lock = await takeLock(repository, source.image, {
    operation: 'backup',
    waitMs: options.waitMs ?? 0,
    signal: options.signal,
    onNotice: options.onNotice,
  });
  try {
    const first = await underLock(repository, source, options, lock);
    // With --snap, what was interrupted is what is asked for.
    if (!first.isResumed || options.snap !== undefined) return first.result;
    // It shows the image as it was then: what is asked for is a point of now.
    options.onResumed?.(first.result);
    const { result } = await underLock(repository, source, { ...options, full: false }, lock);
    return { ...result, resumed: first.result };
  } finally {
    await lock.release();
  }
}

async function underLock(
  repository: Repository,
  source: BackupSource,
  options: BackupOptions,
  lock: Lock,
): Promise<{ result: BackupResult; isResumed: boolean }> {
  const nowMs = options.nowMs ?? Date.now;
  const begun = performance.now();
  const head = source.head === null ? null : await source.head();
  try {
    const level = options.level ?? 3;
    // Another image of the same name may have snapshots of the same names and ids.
    const imageId = head === null ? null : (await head.info()).id;
    const same = { imageId, level, trim: options.trim ?? false, segmentBytes: options.segmentBytes ?? null };
    await finishIntents(repository, source.image, options.onNotice);
    const left = await recoverBackup(repository, source, head, { ...options, plan: same });
    const situation = await situationOf(repository, source, options, head);
    const plan = left?.plan ?? planBackup(situation, options);
    await checkPlan(repository, source, plan, situation.points);
    const tags = left?.tags ?? options.tags ?? [];
    if (plan.notice !== null) options.onNotice?.(plan.notice);
    const base = plan.base;
    const intent = {
      operation: 'backup' as const,
      point: plan.point,
      snapshot: { name: plan.snapshot.name, id: null as number | null, ours: plan.snapshot.ours },
      base: base?.id ?? null,
      baseSnapshot: base?.snapshot ?? null,
      plan: { ...same, method: plan.method, tags },
    };
    const about = { nowMs: nowMs(), version: options.version };
    if (left === null) {
      await writeIntent(repository, source.image, intent, about);
      if (plan.snapshot.ours && head !== null) await makeSnapshot(head, plan.snapshot.name, options.hooks);
    } else if (!left.isSnapshotKnown) {
      // Whatever --pre held up may be held up still.
      await options.hooks?.post?.();
    }
    const read = async (): Promise<{ info: ImageInfo; written: Written }> => {
      const image = await source.open(plan.snapshot.name);
      try {
        const info = await image.info();
        intent.snapshot.id = info.snapshot?.id ?? 0;
        await writeIntent(repository, source.image, intent, about);
        const signal = options.signal ? AbortSignal.any([options.signal, lock.lost]) : lock.lost;
        const guarded = { ...options, signal };
        const written = await archive(repository, source, image, info, plan, situation.points, left !== null, guarded);
        return { info, written };
      } finally {
        await image.close();
      }
    };
    const { info, written } = head === null ? await between(options.hooks, read) : await read();
    const manifest = await manifestOf(repository, source, info, plan, written, {
      version: options.version,
      tags,
      seconds: (performance.now() - begun) / 1000,
      beganMs: about.nowMs,
      nowMs: nowMs(),
    });
    await lock.assertHeld();
    await repository.store.put(`${pointFolder(source.image, plan.point)}${manifestName}`, encodeManifest(manifest), {
      create: true,
    });
    await settleBackup(repository, source.image, manifest, head, options.onNotice);
    const result = resultOf(manifest, plan, written, (performance.now() - begun) / 1000);
    return { result, isResumed: left !== null };
  } finally {
    await head?.close();
  }
}

async function makeSnapshot(head: WritableImage, name: string, hooks: BackupOptions['hooks']): Promise<void> {
  // A run that was killed between the two puts of the intent made it.
  if (snapshotById(await head.info(), null, name) !== null) return;
  await between(hooks, () => head.createSnapshot(name));
}

async function between<T>(hooks: BackupOptions['hooks'] = {}, work: () => Promise<T>): Promise<T> {
  let done: T;
  try {
    await hooks.pre?.();
    done = await work();
  } catch (error) {
    // Whatever becomes of that, this is the failure to tell of.
    await hooks.post?.().catch(() => {});
    throw error;
  }
  await hooks.post?.();
  return done;
}

/** Before anything is made: what the plan builds on is there. */
async function checkPlan(
  repository: Repository,
  source: BackupSource,
  { base }: BackupPlan,
  points: readonly CatalogEntry[],
): Promise<void> {
  if (base === null) return;
  await checkBase(repository, source.image, points, base.id).catch((error: unknown) => {
    throw unusable(error, base.id);
  });
}

const unusable = (error: unknown, base: string): unknown =>
  error instanceof RbdeltaError && (error.code === 'corrupt' || error.code === 'notFound')
    ? new RbdeltaError(error.code, `nothing can be built on ${base}: ${error.message}`, {
        hint: 'backup --full makes a point that needs no other; rbdelta repo check tells what is damaged',
        cause: error,
      })
    : error;

interface Written {
  archive: WrittenArchive;
  fingerprint: string;
  bytesRead: number;
  resumedBytes: number;
}

/** Everything up to the index; the point does not exist yet. */
async function archive(
  repository: Repository,
  source: BackupSource,
  image: Image,
  info: ImageInfo,
  plan: BackupPlan,
  points: readonly CatalogEntry[],
  isBegun: boolean,
  options: BackupOptions,
): Promise<Written> {
  const { base } = plan;
  const packer = new Packer({ key: repository.digestKey, level: options.level ?? 3 });
  const chain =
    base === null
      ? null
      : await loadChain(repository, source.image, base.id, { expected: chainIds(points, base.id) }).catch(
          (error: unknown) => {
            throw unusable(error, base.id);
          },
        );
  const header = { fromSnap: base?.snapshot ?? null, toSnap: plan.snapshot.name, size: info.size, protected: null };
  const writer = new ArchiveWriter(repository.store, pointFolder(source.image, plan.point), header, {
    compress: (raw) => packer.compress(raw),
    signal: options.signal,
    ...(options.segmentBytes === undefined ? {} : { segmentBytes: options.segmentBytes }),
  });
  try {
    // Nobody else has made anything for an id that is new.
    const resumed = isBegun ? await writer.resume() : { reached: 0, storedBytes: 0 };
    const bytesRead = await archiveRest(image, info, plan, chain, { packer, writer, resumed, options });
    if (chain !== null) await forgetCut(chain, info.size, packer, writer);
    const archive = await writer.finish(info.size);
    const before = base === null ? zeroSum() : sumFromHex(base.fingerprint);
    const fingerprint = sumToHex(addSums(before, archive.sum));
    return { archive, fingerprint, bytesRead, resumedBytes: resumed.storedBytes };
  } catch (error) {
    await writer.abort();
    throw error;
  } finally {
    await packer.stop();
    await chain?.close();
  }
}

interface ArchiveWork {
  packer: Packer;
  writer: ArchiveWriter;
  /** How far an interrupted run has come. */
  resumed: Pick<Resumed, 'reached' | 'storedBytes'>;
  options: BackupOptions;
}

/** Resolves to the bytes that were read of the image. */
async function archiveRest(
  image: Image,
  info: ImageInfo,
  { method, base }: BackupPlan,
  chain: Chain | null,
  { packer, writer, resumed, options }: ArchiveWork,
): Promise<number> {
  const { signal, onNotice, onProgress } = options;
  const { reached, storedBytes } = resumed;
  if (reached >= info.size) return 0;
  const diff = await planDiff(image, {
    fromSnap: method === 'increment' ? (base?.snapshot ?? null) : null,
    range: { offset: reached, length: info.size - reached },
    ...(signal && { signal }),
    ...(onNotice && { onNotice }),
  });
  const bytesRead = await archiveChanges({
    image,
    spans: backupSpans(image, diff, { everything: method === 'compare', baseSize: chain?.size ?? 0 }),
    old: chain === null ? null : new StateCursor(chain),
    packer,
    writer,
    trim: method === 'compare' || (options.trim ?? false),
    dropZeros: method === 'full',
    signal,
    onProgress: (at) => onProgress?.({ ...at, size: info.size, bytesStored: storedBytes + at.bytesStored }),
  });
  await checkStillThere(image, diff);
  return bytesRead;
}

async function manifestOf(
  repository: Repository,
  source: BackupSource,
  info: ImageInfo,
  plan: BackupPlan,
  { archive, fingerprint }: Written,
  about: { tags: readonly string[]; version: string; seconds: number; beganMs: number; nowMs: number },
): Promise<Manifest> {
  const { pool, namespace, image: name } = source.image;
  const { id, size, order, features, stripeUnit, stripeCount, dataPool, parent } = info;
  const { snapshot } = plan;
  const createdMs = info.snapshot?.createdMs ?? null;
  return {
    format: 1,
    repository: repository.id,
    point: plan.point,
    image: {
      pool,
      namespace,
      name,
      id,
      size,
      order,
      features,
      stripeUnit,
      stripeCount,
      dataPool,
      parent: parent && {
        pool: parent.pool,
        namespace: parent.namespace,
        image: parent.image,
        snap: parent.snap,
        overlap: parent.overlap,
      },
      metadata: Object.fromEntries(await source.metadata()),
    },
    snapshot: {
      ...snapshot,
      id: info.snapshot?.id ?? 0,
      created: createdMs === null ? null : new Date(createdMs).toISOString(),
    },
    base: plan.base && { point: plan.base.id, snapshot: plan.base.snapshot, fingerprint: plan.base.fingerprint },
    // What a policy and a person go by. (The id only rises: it is another time when a clock was wrong.)
    created: new Date(createdMs ?? about.beganMs).toISOString(),
    finished: new Date(about.nowMs).toISOString(),
    tags: [...about.tags],
    pinned: false,
    fingerprint,
    digests: { algorithm: 'hmac-sha256-128', blockBytes: 65536 },
    stream: archive.stream,
    segments: archive.segments,
    index: archive.index,
    writer: { rbdelta: about.version, host: hostname(), seconds: about.seconds },
  };
}

const resultOf = (manifest: Manifest, plan: BackupPlan, written: Written, seconds: number): BackupResult => ({
  point: manifest.point,
  method: plan.method,
  base: plan.base?.id ?? null,
  snapshot: plan.snapshot.name,
  size: manifest.image.size,
  bytesRead: written.bytesRead,
  dataBytes: manifest.stream.dataBytes,
  zeroBytes: manifest.stream.zeroBytes,
  storedBytes: written.archive.storedBytes,
  resumedBytes: written.resumedBytes,
  resumed: null,
  seconds,
  fingerprint: manifest.fingerprint,
});
