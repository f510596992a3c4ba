// `import-diff`: apply a diff stream, or a chain of them, to an image. Checked first, applied, undone if it fails.

import type { ByteReader } from '../bytes/reader.ts';
import { interruption, orInterruption, unlessAborted } from '../bytes/errno.ts';
import { printable } from '../bytes/text.ts';
import { periodBytes, geometryOf } from '../diff/striping.ts';
import { RbdeltaError } from '../error.ts';
import { type DiffHeader, type DiffStream, diffFollows, openDiff } from '../format/rbd-diff.ts';
import type { Image, WritableImage } from '../image/port.ts';
import { applyRecords, defaultSparseBytes, limits } from './apply.ts';
import { checkEmpty, compareWithSnapshot, type HeadFinding, heldExtents } from './head.ts';
import {
  checkHeader,
  type ImportChoices,
  type ImportPlan,
  planImport,
  planSkip,
  stateAfter,
  type TargetState,
} from './import-plan.ts';
import { PayloadBuffers } from './payload-buffers.ts';
import { defaultStallMs, type Undo, undoImport, withState } from './undo.ts';
import { Window } from './window.ts';

export type { ImportPlan } from './import-plan.ts';

export interface ImportDiffOptions extends ImportChoices {
  /** What messages call the target, as `pool/image` or `file:PATH`. */
  name?: string;
  /** HEAD differs from the base snapshot: put it back first, instead of refusing. */
  rollback?: boolean;
  /**
   * Apply as rbd does: HEAD is not compared with the base, records may overlap. A failure then cannot be undone. With
   * `rollback`, HEAD is at the base first, and goes back there after a failure.
   */
  force?: boolean;
  /** A full onto an image that holds data: apply it, and clear what the stream leaves out. */
  overwrite?: boolean;
  /** The end snapshot exists: read the diff to its end and go on, instead of refusing. */
  skipExisting?: boolean;
  /** Check and read everything, write nothing. */
  dryRun?: boolean;
  /** Runs of zeros in blocks of this many bytes are not written but made holes (rbd's --sparse-size); 0: written. */
  sparseBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of input consumed so far. */
  onProgress?: (bytes: number) => void;
  /** The target was made for this import: whoever made it removes it after a failure, unless `onApplied` was called. */
  isNew?: boolean;
  /** After each diff that was applied: it stays, whatever becomes of those after it. */
  onApplied?: () => void;
  /** How long bringing the image back after a failure may stand still, in ms. */
  stallMs?: number;
}

export interface ImportedDiff {
  fromSnap: string | null;
  toSnap: string | null;
  size: number;
  skipped: boolean;
  /** Bytes that went to the image as data, and as zeros. With `dryRun`: that the stream has. */
  writtenBytes: number;
  zeroedBytes: number;
  /** `w` and `z` records in the stream. */
  records: number;
  plan: ImportPlan;
}

export interface ImportResult {
  diffs: ImportedDiff[];
}

/**
 * Applies every diff of the input in turn; the input is a chain of at least one. Each is checked before the first write,
 * and its end snapshot comes last, when everything is durable and what follows in the input is known to be a diff or
 * nothing. `openAtSnap` opens the same image at a snapshot. Throws 'exists' (the end snapshot is there), 'diverged'
 * (HEAD is not the base; a full, and the image holds data), 'invalid' (no such base; not a diff), 'corrupt', 'busy',
 * 'interrupted', and what the image throws. The image is then as it was before the failing diff, or the message says
 * how it is; diffs before it stay applied. Does not close the reader or the image.
 */
export async function importDiff(
  target: WritableImage,
  openAtSnap: (snap: string) => Promise<Image>,
  reader: ByteReader,
  options: ImportDiffOptions = {},
): Promise<ImportResult> {
  const buffers = new PayloadBuffers(limits.payloadBytes);
  const job: Job = { target, label: labelOf(target, options), openAtSnap, reader, options, buffers, touched: false };
  const diffs: ImportedDiff[] = [];
  /** The end of the diff that was applied last. */
  let at: string | null = null;
  /** A dry run changes nothing: what a later diff of the chain would find is worked out. */
  let dry: TargetState | null = null;
  try {
    for (let more = true; more; ) {
      const stream = await unlessAborted(open(job), options.signal);
      if (stream === null) throw reader.failure('corrupt', 'the input is empty: there is no diff in it');
      // Two imports at once would undo each other's writes, and both may end well. rbd does not mind.
      if (diffs.length === 0 && !options.dryRun && !options.force) await target.claim?.();
      const state: TargetState = dry ?? { ...(await stateOf(job)), at };
      const plan = await planOf(job, stream.header, state, dry !== null);
      const done =
        plan.skip || options.dryRun
          ? await readThrough(job, stream)
          : await apply(job, stream, plan, options.isNew === true && diffs.length === 0);
      const { fromSnap, toSnap, size, skip } = plan;
      if (skip) done.writtenBytes = done.zeroedBytes = 0;
      diffs.push({ fromSnap, toSnap, size, skipped: skip, plan, ...done });
      more = done.more;
      if (!skip) at = toSnap;
      if (!skip && !options.dryRun) options.onApplied?.();
      if (options.dryRun && !skip) dry = stateAfter(plan, state);
    }
  } catch (thrown) {
    const error = orInterruption(thrown, options.signal);
    throw options.dryRun ? error : withState(error, whatStays(diffs, job));
  }
  return { diffs };
}

/** The end of the sentence of a failure: what it left as it is, beside the diff that failed. */
function whatStays(diffs: readonly ImportedDiff[], { target, label, touched, options }: Job): string | null {
  const applied = diffs.filter((diff) => !diff.skipped);
  const count = applied.length;
  if (count === 0) return !touched ? 'nothing was changed' : options.isNew ? `${label} is removed again` : null;
  const end = applied.at(-1)?.toSnap ?? null;
  if (target.hasSnapshots === false) {
    const first = count === 1 ? 'the first diff of the stream stays' : `the first ${count} diffs of the stream stay`;
    return `${first} applied to ${label}${end === null ? '' : `, up to "${printable(end)}"`}`;
  }
  const before =
    count === 1 ? 'the diff before it in the chain stays' : `the ${count} diffs before it in the chain stay`;
  return `${before} applied${end === null ? '' : ` and ${label} has "${printable(end)}"`}`;
}

interface Job {
  target: WritableImage;
  /** What messages call it. */
  label: string;
  openAtSnap: (snap: string) => Promise<Image>;
  reader: ByteReader;
  options: ImportDiffOptions;
  buffers: PayloadBuffers;
  /** The image was changed: by a diff that was applied, or by the one that failed. */
  touched: boolean;
}

type Done = Pick<ImportedDiff, 'writtenBytes' | 'zeroedBytes' | 'records'> & { more: boolean };

function open({ reader, buffers }: Job): Promise<DiffStream | null> {
  return openDiff(reader, { order: 'any', allocate: (bytes) => buffers.allocate(bytes) });
}

function labelOf(target: WritableImage, { name }: ImportDiffOptions): string {
  if (name !== undefined) return `"${printable(name)}"`;
  return target.hasSnapshots === false ? 'the file' : 'the image';
}

async function stateOf({ target, label }: Job): Promise<Omit<TargetState, 'at'>> {
  const { size, snapshots } = await target.info();
  const user = snapshots.filter(({ namespace }) => namespace === 'user');
  return {
    label,
    size,
    snapshots: new Map(user.map((snapshot) => [snapshot.name, snapshot.size])),
    hasSnapshots: target.hasSnapshots !== false,
  };
}

async function planOf(job: Job, header: DiffHeader, state: TargetState, dry: boolean): Promise<ImportPlan> {
  const { options } = job;
  if (checkHeader(header, state, options) === 'skip') {
    options.onNotice?.(
      `the end snapshot "${printable(header.toSnap ?? '')}" exists already in ${job.label}: the diff is skipped`,
    );
    return planSkip(header, state);
  }
  const looks =
    !options.force ||
    (header.fromSnap === null ? options.overwrite === true : options.rollback === true && state.hasSnapshots);
  const head: HeadFinding = looks ? await findHead(job, header, state, dry) : { kind: 'unchecked' };
  return planImport(header, state, head, options);
}

/** `dry`: HEAD is what the diff before it in the chain would make of it, which nobody can look at. */
async function findHead(job: Job, { fromSnap }: DiffHeader, state: TargetState, dry: boolean): Promise<HeadFinding> {
  // A file has no snapshot to compare with either, but within a chain the diff before it proves what is there.
  if (fromSnap !== null && (dry || !state.hasSnapshots)) {
    if (fromSnap === state.at) return { kind: 'equal' };
    const end = state.at === null ? 'no snapshot' : `"${printable(state.at)}"`;
    return { kind: 'differs', what: `the diff before it in the chain ends at ${end}` };
  }
  if (dry) return { kind: 'differs', what: 'the diff before it in the chain changes it' };
  return fromSnap === null
    ? checkEmpty(job.target, job.options)
    : compareWithSnapshot(job.target, job.openAtSnap, fromSnap, job.options);
}

/** Reads the diff to its end, so that a damaged one is found though it is not applied. */
async function readThrough(job: Job, stream: DiffStream): Promise<Done> {
  const done: Done = { writtenBytes: 0, zeroedBytes: 0, records: 0, more: false };
  const { signal, onProgress } = job.options;
  for await (const record of stream.records) {
    if (signal?.aborted) throw interruption(signal);
    if (record.kind === 'write') {
      done.writtenBytes += record.data.length;
      job.buffers.release(record.data);
      if (record.remaining === 0) done.records += 1;
    } else {
      done.zeroedBytes += record.length;
      done.records += 1;
    }
    onProgress?.(job.reader.position);
  }
  return { ...done, more: await follows(job) };
}

/** `discard`: a failure leaves nothing to bring back, as the target is removed. */
async function apply(job: Job, stream: DiffStream, plan: ImportPlan, discard: boolean): Promise<Done> {
  const { target, label, reader, options } = job;
  const undo: Undo = {
    target,
    label,
    plan,
    discard,
    window: new Window(limits.writes),
    touched: false,
    snapshotTried: false,
    stallMs: options.stallMs ?? defaultStallMs,
  };
  try {
    const clear = plan.clear ? await heldExtents(target, options) : null;
    if (plan.rollback && plan.fromSnap !== null) await rollBack(job, plan.fromSnap);
    undo.touched = job.touched = true;
    if (plan.size !== plan.oldSize) await target.resize(plan.size);
    const applied = await applyRecords({
      target,
      records: stream.records,
      buffers: job.buffers,
      window: undo.window,
      size: plan.size,
      periodBytes: periodBytes(geometryOf(await target.info())),
      zeroFrom: Math.min(plan.zeroFrom, plan.size),
      order: plan.asGiven ? 'asGiven' : 'checked',
      clear,
      sparseBytes: options.sparseBytes ?? defaultSparseBytes,
      signal: options.signal,
      onRecord: options.onProgress && (() => options.onProgress?.(reader.position)),
    });
    const more = await follows(job);
    await target.flush();
    if (options.signal?.aborted) throw interruption(options.signal);
    if (plan.createSnapshot && plan.toSnap !== null) {
      undo.snapshotTried = true;
      await target.createSnapshot(plan.toSnap);
      if (plan.protect) await target.protectSnapshot(plan.toSnap);
    }
    return { ...applied, more };
  } catch (error) {
    throw await undoImport(orInterruption(error, options.signal), undo);
  }
}

/** Nothing of the diff is applied yet: if this fails, there is nothing to undo, but perhaps something to say. */
async function rollBack(job: Job, snap: string): Promise<void> {
  try {
    await job.target.rollback(snap);
  } catch (error) {
    if (error instanceof RbdeltaError && (error.code === 'busy' || error.code === 'readOnly')) throw error;
    job.touched = true;
    throw withState(
      error,
      `the rollback of ${job.label} to "${printable(snap)}" did not come to its end, and nothing of the diff is applied`,
      'import again with --rollback',
    );
  }
}

/** Whether another diff follows. Anything else than that, or the end, makes the whole input doubtful. */
const follows = ({ reader, options }: Job): Promise<boolean> => unlessAborted(diffFollows(reader), options.signal);
