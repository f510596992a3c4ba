// After a failure: back to the state before, without hanging, without hiding the failure; or a sentence on the state.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { Progress, Snapshot, WritableImage } from '../image/port.ts';
import type { ImportPlan } from './import-plan.ts';
import type { Window } from './window.ts';

/** An undo that shows no progress for this long is given up: the caller learns the first error and the state. */
export const defaultStallMs = 120_000;

export interface Undo {
  target: WritableImage;
  /** What messages call it. */
  label: string;
  plan: ImportPlan;
  /** The target is removed after a failure: it need not be brought back. */
  discard: boolean;
  window: Window;
  /** The image was touched: without that there is nothing to undo. */
  touched: boolean;
  /** The end snapshot may have been created by us. */
  snapshotTried: boolean;
  stallMs: number;
}

/** Undoes what was done of `plan`. Resolves to the error to throw: `error`, which also says how the image is now. */
export async function undoImport(error: unknown, undo: Undo): Promise<unknown> {
  const { plan, target, label, touched } = undo;
  if (!touched) return error;
  if (undo.discard) {
    await attempt(() => undo.window.settled(), undo.stallMs);
    return error;
  }
  const snap = plan.fromSnap === null ? '' : `"${printable(plan.fromSnap)}"`;
  if (plan.undo === 'none' && undo.snapshotTried) return withSnapshotState(error, undo);
  if (plan.undo === 'none') {
    const settled = await attempt(() => undo.window.settled(), undo.stallMs);
    return withState(
      error,
      plan.fromSnap === null
        ? `${label} holds a mixture of what it held and a part of the diff${settled ? ` (${settled})` : ''}`
        : `${label} holds ${snap} with a part of the diff applied${settled ? ` (${settled})` : ''}`,
      plan.fromSnap === null
        ? 'import again with --overwrite'
        : target.hasSnapshots === false
          ? plan.asGiven
            ? 'restore the file, or import the same diff again with --force'
            : 'import all of it again with --overwrite'
          : `roll back to ${snap} (rbd snap rollback), or import again with --rollback`,
    );
  }
  const failed = await attempt(async (progress) => {
    await undo.window.settled();
    if (undo.snapshotTried) await removeOwnSnapshot(undo, error, progress);
    if (plan.undo === 'rollback' && plan.fromSnap !== null) await target.rollback(plan.fromSnap, progress);
    else {
      await target.resize(0, progress);
      await target.resize(plan.oldSize, progress);
    }
    await target.flush();
  }, undo.stallMs);
  const state = plan.undo === 'rollback' ? `at its start snapshot ${snap}` : 'empty';
  if (failed === null) return withState(error, `${label} is ${state} again`);
  return withState(
    error,
    `bringing the image back failed too (${failed}): it holds a part of the diff`,
    plan.undo === 'rollback' ? 'import again with --rollback' : 'import again with --overwrite',
  );
}

/** Runs `act` until it is done, fails, or shows no progress for `stallMs`. Resolves to null, or to what went wrong. */
export async function attempt(act: (progress: Progress) => Promise<void>, stallMs: number): Promise<string | null> {
  return new Promise((resolve) => {
    const giveUp = (): void => resolve(`no answer for ${Math.round(stallMs / 1000)} s`);
    let timer = setTimeout(giveUp, stallMs);
    const progress = (): void => {
      clearTimeout(timer);
      timer = setTimeout(giveUp, stallMs);
    };
    new Promise<void>((done) => done(act(progress)))
      .then(
        () => resolve(null),
        (error: unknown) => resolve(error instanceof Error ? error.message : String(error)),
      )
      .finally(() => clearTimeout(timer));
  });
}

/** The same failure, with the state of the image (if there is something to say) at the end of its sentence. */
export function withState(error: unknown, state: string | null, hint?: string): unknown {
  if (state === null) return error;
  if (error instanceof RbdeltaError) {
    const best = hint ?? error.hint;
    return new RbdeltaError(error.code, `${error.message}; ${state}`, {
      cause: error,
      ...(best === undefined ? {} : { hint: best }),
    });
  }
  if (error instanceof Error) error.message += `; ${state}`;
  return error;
}

/** The diff is all there, and stays: only its end snapshot is not what it should be. Looks how it is. */
async function withSnapshotState(error: unknown, undo: Undo): Promise<unknown> {
  const { target, plan, stallMs } = undo;
  const name = plan.toSnap ?? '';
  const quoted = `"${printable(name)}"`;
  const applied = 'all of the diff is applied';
  if (error instanceof RbdeltaError && error.code === 'exists')
    return withState(error, `${applied}, but the snapshot ${quoted} is somebody else's`);
  let found: Snapshot | undefined;
  const failed = await attempt(async () => {
    const { snapshots } = await target.info();
    found = snapshots.find((snapshot) => snapshot.namespace === 'user' && snapshot.name === name);
  }, stallMs);
  if (failed !== null)
    return withState(error, `${applied}; whether the snapshot ${quoted} exists is unknown (${failed})`);
  if (found === undefined)
    return withState(
      error,
      `${applied}, but the snapshot ${quoted} does not exist`,
      `create ${plan.protect ? 'and protect ' : ''}it: the image is what it should be`,
    );
  if (!plan.protect) return withState(error, `${applied}, and the snapshot ${quoted} exists`);
  if (found.protection === 'protected')
    return withState(error, `${applied}, and the snapshot ${quoted} exists and is protected`);
  return withState(
    error,
    `${applied}, and the snapshot ${quoted} exists, but it is not protected`,
    `protect it (snap protect): the image is what it should be`,
  );
}

/** We saw before that there was none: it is ours, unless the failure is that somebody else was faster. */
async function removeOwnSnapshot(undo: Undo, error: unknown, progress: Progress): Promise<void> {
  const { target, plan } = undo;
  if (error instanceof RbdeltaError && error.code === 'exists') return;
  const { snapshots } = await target.info();
  const own = snapshots.find((snapshot) => snapshot.namespace === 'user' && snapshot.name === plan.toSnap);
  if (!own) return;
  if (own.protection !== 'unprotected') await target.unprotectSnapshot(own.name);
  await target.removeSnapshot(own.name, progress);
}
