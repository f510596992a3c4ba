// `restore`: a point becomes an image again: a new one, an existing one in place, a file, or a stream of its bytes.

import { interruption } from '../bytes/errno.ts';
import type { ByteSink } from '../bytes/sink.ts';
import { counted, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { checkNewFile, openFileToWrite } from '../image/file.ts';
import type { Cluster, CreateOptions, WritableImage } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import type { Chain } from '../repo/chain.ts';
import { chainDiff } from '../repo/chain-diff.ts';
import { compareState } from './compare-state.ts';
import { rawIntoSink } from './export.ts';
import { canBeRepeated, orRewritten } from './restore-again.ts';
import { creationOf, restoreMetadata } from './restore-creation.ts';
import { checkChain, planRestore, type RestorePlan } from './restore-plan.ts';
import { RestoreWindows, writeFrames, writeZeros } from './restore-write.ts';
import { attempt, defaultStallMs, withState } from './undo.ts';

export interface RestoreOptions {
  signal?: AbortSignal | undefined;
  onNotice?: ((text: string) => void) | undefined;
  /** What is done now, and bytes of it, of all. */
  onProgress?: ((step: 'compare' | 'write', done: number, total: number) => void) | undefined;
  /** In place: also below clients that have the image open. */
  force?: boolean;
  /** How long bringing the target back after a failure may stand still, in ms. */
  stallMs?: number;
}

export interface Restored {
  /** Of the image. */
  size: number;
  /** Points that frames came from, or that had to be looked at. */
  points: number;
  frames: number;
  fetchedBytes: number;
  writtenBytes: number;
  zeroedBytes: number;
  /** In place: bytes that were read of the target, and blocks of 64 KiB that differed; else null. */
  compared: { bytesRead: number; blocks: number } | null;
  seconds: number;
}

/** What a restore in place finds, and what it will fetch; nothing is written. `in place`: null is a new image. */
export async function dryRestore(
  chain: Chain,
  target: Parameters<typeof compareState>[1] | null,
  options: RestoreOptions = {},
): Promise<RestorePlan & { compared: Restored['compared'] }> {
  try {
    await checkChain(chain);
    if (target === null) return { ...(await planRestore(chain, options)), compared: null };
    const { differing, bytesRead } = await compare(chain, target, options);
    const plan = await planRestore(chain, { ...options, only: differing });
    return { ...plan, compared: { bytesRead, blocks: differing.count } };
  } catch (error) {
    throw canBeRepeated(await orRewritten(error, chain, options.signal));
  }
}

/**
 * A new image with what the manifest tells of the old one, as far as the cluster has it; `create` takes precedence.
 * `exists` if there is such an image. On a failure the new image is removed again.
 */
export async function restoreToImage(
  chain: Chain,
  cluster: Cluster,
  spec: ImageSpec,
  create: Omit<CreateOptions, 'size'>,
  options: RestoreOptions = {},
): Promise<Restored> {
  const begun = performance.now();
  const name = `"${printable(formatSpec(spec))}"`;
  await refuseExisting(cluster, spec, name);
  const plan = await checkAndPlan(chain, options);
  const { manifest } = chain.points.at(-1)!;
  await cluster.create(spec, await creationOf(manifest, cluster, create, options.onNotice));
  const windows = new RestoreWindows();
  let target: WritableImage | null = null;
  try {
    await restoreMetadata(manifest, cluster, spec);
    target = await cluster.openToWrite(spec);
    const written = await fill(chain, target, plan, windows, options);
    await target.flush();
    await target.close();
    return { ...resultOf(chain, written, begun), compared: null };
  } catch (error) {
    const failed = await attempt(async (progress) => {
      await windows.settled();
      await target?.close();
      await cluster.remove(spec, progress);
    }, options.stallMs ?? defaultStallMs);
    const told = await orRewritten(error, chain, options.signal);
    if (failed === null) throw canBeRepeated(told);
    throw withState(
      told,
      `the new image ${name} could not be removed again (${failed}): it is not whole`,
      'remove it (rbdelta rm)',
    );
  }
}

/** A new sparse file, which is removed again on a failure; `exists` where there is one. */
export async function restoreToFile(chain: Chain, path: string, options: RestoreOptions = {}): Promise<Restored> {
  const begun = performance.now();
  const target = await openFileToWrite(path, { exclusive: true }).catch(orInPlace);
  const windows = new RestoreWindows();
  try {
    const plan = await checkAndPlan(chain, options);
    await target.resize(chain.size);
    const written = await fill(chain, target, plan, windows, options);
    await target.flush();
    await target.close();
    return { ...resultOf(chain, written, begun), compared: null };
  } catch (error) {
    const failed = await attempt(async () => {
      await windows.settled();
      await target.discard();
    }, options.stallMs ?? defaultStallMs);
    const told = await orRewritten(error, chain, options.signal);
    if (failed === null) throw canBeRepeated(told);
    throw withState(told, `the new file "${printable(path)}" could not be removed again (${failed})`);
  }
}

/** What a dry run finds out about a new image: fails as `restoreToImage` would, and tells what it would tell. */
export async function dryRestoreToImage(
  chain: Chain,
  cluster: Cluster,
  spec: ImageSpec,
  create: Omit<CreateOptions, 'size'>,
  options: RestoreOptions = {},
): ReturnType<typeof dryRestore> {
  await refuseExisting(cluster, spec, `"${printable(formatSpec(spec))}"`);
  // The pool and the namespace must be there.
  await cluster.list(spec.pool, spec.namespace);
  const plan = await dryRestore(chain, null, options);
  await creationOf(chain.points.at(-1)!.manifest, cluster, create, options.onNotice);
  return plan;
}

/** The same of a new file. */
export async function dryRestoreToFile(
  chain: Chain,
  path: string,
  options: RestoreOptions = {},
): ReturnType<typeof dryRestore> {
  await checkNewFile(path).catch(orInPlace);
  return dryRestore(chain, null, options);
}

const orInPlace = (error: unknown): never => {
  if (!(error instanceof RbdeltaError) || error.code !== 'exists') throw error;
  throw new RbdeltaError('exists', error.message, { hint: inPlaceHint, cause: error });
};

const inPlaceHint = 'choose another name; --in-place makes it what it was at the point, and writes only what differs';

/** The head of the image becomes what it was at the point; its snapshots stay. See `restoreInPlace`. */
export async function restoreOverImage(
  chain: Chain,
  cluster: Cluster,
  spec: ImageSpec,
  options: RestoreOptions = {},
): Promise<Restored> {
  const name = `"${printable(formatSpec(spec))}"`;
  await refuseInUse(cluster, spec, name, options);
  const target = await cluster.openToWrite(spec);
  try {
    if (!options.force) await target.claim?.();
    return await restoreInPlace(chain, target, name, options);
  } finally {
    await target.close();
  }
}

/** A file or block device becomes what the image was at the point. See `restoreInPlace`. */
export async function restoreOverFile(chain: Chain, path: string, options: RestoreOptions = {}): Promise<Restored> {
  const target = await openFileToWrite(path);
  let restored = false;
  try {
    // Nothing is written by that: one that is too short is refused before hours of reading, and as it was.
    if (target.isDevice) await target.resize(chain.size);
    const result = await restoreInPlace(chain, target, `"${printable(path)}"`, options);
    restored = true;
    return result;
  } finally {
    await (restored ? target.close() : target.discard());
  }
}

/**
 * Only blocks of 64 KiB that differ are fetched and written. A failure after the first write leaves a mixture, and says
 * so: the same call goes on with what still differs.
 */
export async function restoreInPlace(
  chain: Chain,
  target: WritableImage,
  name: string,
  options: RestoreOptions = {},
): Promise<Restored> {
  const begun = performance.now();
  const windows = new RestoreWindows();
  let touched = false;
  try {
    await checkChain(chain);
    const { differing, bytesRead, held } = await compare(chain, target, options);
    const plan = await planRestore(chain, { ...options, only: differing });
    const { size } = await target.info();
    if (options.signal?.aborted) throw interruption(options.signal);
    touched = size !== chain.size || differing.count > 0;
    if (size !== chain.size) await target.resize(chain.size);
    const job = { chain, target, only: differing, signal: options.signal };
    const zeroedBytes = await writeZeros(job, differing, held, windows);
    const written = await fill(chain, target, plan, windows, options, job);
    await target.flush();
    return {
      ...resultOf(chain, { ...written, zeroedBytes }, begun),
      compared: { bytesRead, blocks: differing.count },
    };
  } catch (error) {
    const settled = await attempt(() => windows.settled(), options.stallMs ?? defaultStallMs);
    const told = await orRewritten(error, chain, options.signal);
    if (!touched) throw canBeRepeated(told);
    const state = `${name} is partly restored: a mixture of what it was and of ${chain.points.at(-1)?.id}`;
    const isDamage = told instanceof RbdeltaError && (told.code === 'corrupt' || told.code === 'notFound');
    const hint = isDamage ? undefined : 'run the same command again: it goes on with what still differs';
    // Only when nothing of this one is on its way to the target any more may the next one begin.
    if (settled === null) throw canBeRepeated(told, withState(told, state, hint));
    throw withState(told, `${state} (${settled})`, hint);
  }
}

/** The bytes of the image in their order. Finishes the sink, or aborts it. */
export async function restoreToSink(chain: Chain, sink: ByteSink, options: RestoreOptions = {}): Promise<Restored> {
  const begun = performance.now();
  const { signal, onProgress } = options;
  const out = rawIntoSink(sink);
  const written = { frames: 0, fetchedBytes: 0, writtenBytes: 0, zeroedBytes: 0 };
  try {
    await checkChain(chain);
    const plan = await planRestore(chain, options);
    for await (const record of chainDiff(chain, null).records) {
      if (signal?.aborted) throw interruption(signal);
      if (record.kind !== 'write') continue;
      await out.data(record.offset, record.data);
      written.writtenBytes += record.data.length;
      onProgress?.('write', record.offset + record.data.length, chain.size);
    }
    await out.finish(chain.size);
    const { frames, fetchBytes } = plan;
    return { ...resultOf(chain, { ...written, frames, fetchedBytes: fetchBytes }, begun), compared: null };
  } catch (error) {
    await out.abort();
    throw await orRewritten(error, chain, signal);
  }
}

async function checkAndPlan(chain: Chain, options: RestoreOptions): Promise<RestorePlan> {
  try {
    await checkChain(chain);
    return await planRestore(chain, options);
  } catch (error) {
    throw canBeRepeated(await orRewritten(error, chain, options.signal));
  }
}

const compare = (
  chain: Chain,
  target: Parameters<typeof compareState>[1],
  { signal, onNotice, onProgress }: RestoreOptions,
): ReturnType<typeof compareState> =>
  compareState(chain, target, {
    signal,
    onNotice,
    onProgress: (done, total) => onProgress?.('compare', done, total),
  });

function fill(
  chain: Chain,
  target: WritableImage,
  plan: RestorePlan,
  windows: RestoreWindows,
  { signal, onProgress }: RestoreOptions,
  job: { only: Parameters<typeof writeFrames>[0]['only'] } = { only: null },
): ReturnType<typeof writeFrames> {
  let done = 0;
  const onWritten = (bytes: number): void => {
    done += bytes;
    onProgress?.('write', done, plan.dataBytes);
  };
  return writeFrames({ chain, target, only: job.only, signal, onWritten }, windows);
}

const resultOf = (
  chain: Chain,
  { frames, fetchedBytes, writtenBytes, zeroedBytes }: Awaited<ReturnType<typeof writeFrames>>,
  begun: number,
): Omit<Restored, 'compared'> => ({
  size: chain.size,
  points: chain.points.length,
  frames,
  fetchedBytes,
  writtenBytes,
  zeroedBytes,
  seconds: (performance.now() - begun) / 1000,
});

/** Before the chain is looked at, which may take long. */
async function refuseExisting(cluster: Cluster, spec: ImageSpec, name: string): Promise<void> {
  const there = await cluster.open(spec).catch((error: unknown) => {
    if (error instanceof RbdeltaError && error.code === 'notFound') return null;
    throw error;
  });
  if (there === null) return;
  await there.close();
  throw new RbdeltaError('exists', `there is an image ${name} already`, { hint: inPlaceHint });
}

/** librbd takes the lock over from a client that runs, and writes below it: a virtual machine would lose its file system. */
async function refuseInUse(
  cluster: Cluster,
  spec: ImageSpec,
  name: string,
  { onNotice, force = false }: RestoreOptions,
): Promise<void> {
  const image = await cluster.open(spec);
  try {
    if ((await image.lock?.()) != null) {
      throw new RbdeltaError('busy', `${name} is locked: somebody has it open to write`, {
        hint: 'stop what uses it; the lock of a client that died is removed with rbd lock rm',
      });
    }
    // A client without a lock writes as well (no exclusive-lock feature, a shared lock). We read, and are none of them.
    const watchers = force ? [] : ((await image.watchers?.()) ?? []);
    if (watchers.length > 0) {
      const who = `${counted(watchers.length, 'client')} (${watchers.map(({ address }) => printable(address)).join(', ')})`;
      throw new RbdeltaError('busy', `${name} is open at ${who}, which would lose what it writes`, {
        hint: 'stop what uses it; one that died is forgotten after half a minute; --force overwrites it all the same',
      });
    }
    const { snapshots } = await image.info();
    if (snapshots.length === 0) return;
    onNotice?.(`the head of ${name} is overwritten, not its ${counted(snapshots.length, 'snapshot')}`);
  } finally {
    await image.close();
  }
}
