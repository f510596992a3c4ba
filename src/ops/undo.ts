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
  // What made it fail comes first: a disk that is full, a stream that is cut off would do so again.
  const isCorrupt = error instanceof RbdeltaError && error.code === 'corrupt';
  const cause = error instanceof RbdeltaError ? error.hint : undefined;
  const first = (hint: string): string =>
    [cause ?? (isCorrupt ? 'make the diff again' : undefined), hint].filter((one) => one !== undefined).join('; then ');
  if (plan.undo === 'none' && undo.snapshotTried) {
    const { state, hint } = await snapshotState(error, undo);
    return withState(error, `all of the diff is applied to ${label}${state}`, hint);
  }
  if (plan.undo === 'none') {
    const settled = await attempt(() => undo.window.settled(), undo.stallMs);
    return withState(
      error,
      plan.fromSnap === null
        ? `${label} holds a mixture of what it held and a part of the diff${settled ? ` (${settled})` : ''}`
        : `${label} holds ${snap} with a part of the diff applied${settled ? ` (${settled})` : ''}`,
      first(
        plan.fromSnap === null
          ? 'import again with --overwrite'
          : target.hasSnapshots === false
            ? plan.asGiven
              ? 'restore the file, or import the diff again with --force'
              : 'import all of it again with --overwrite'
            : `roll back to ${snap} (rbdelta snap rollback), or import again with --rollback`,
      ),
    );
  }
  let step: Step = 'writes';
  let givenUp = false;
  // What was given up may still be answered: nothing more is changed then, or the sentence would not stay true.
  const enter = (next: Step): void => {
    if (givenUp) throw new Error('given up');
    step = next;
  };
  const failed = await attempt(async (progress) => {
    await undo.window.settled();
    if (undo.snapshotTried) {
      enter('snapshot');
      await removeOwnSnapshot(undo, error, progress);
    }
    enter('data');
    if (plan.undo === 'rollback' && plan.fromSnap !== null) await target.rollback(plan.fromSnap, progress);
    else {
      await target.resize(0, progress);
      enter('size');
      await target.resize(plan.oldSize, progress);
    }
    enter('flush');
    await target.flush();
  }, undo.stallMs);
  givenUp = true;
  const back = plan.undo === 'rollback' ? `at its start snapshot ${snap} again` : 'empty again';
  if (failed === null) return withState(error, `${label} is ${back}`);
  const { state, hint } = await stateAt(step, back, error, undo);
  return withState(error, `bringing ${label} back failed too (${failed}): ${state}`, hint);
}

/** How far bringing the image back came. `size`: everything is cut off, and it is about to have its old size again. */
type Step = 'writes' | 'snapshot' | 'data' | 'size' | 'flush';

/** What is there, as the end of a sentence, and what to do about it. */
interface Left {
  state: string;
  hint: string;
}

async function stateAt(step: Step, back: string, error: unknown, undo: Undo): Promise<Left> {
  const { plan, target } = undo;
  if (step === 'snapshot') {
    const { state, hint } = await snapshotState(error, undo);
    return { state: `all of the diff is applied${state}`, hint };
  }
  const again = `import again with ${plan.undo === 'rollback' ? '--rollback' : '--overwrite'}`;
  // Somebody else made a snapshot of that name meanwhile: it would be in the way again.
  const theirs = undo.snapshotTried && isTaken(error);
  const hint = theirs ? `remove or rename that snapshot, then ${again}` : again;
  const and = theirs ? `, and the snapshot "${printable(plan.toSnap ?? '')}" is somebody else's` : '';
  if (step === 'flush') return { state: `it is ${back}, but that may not survive a crash${and}`, hint };
  // A device shows what it held, whatever the size of the image.
  if (step === 'size' && target.hasSnapshots !== false && !theirs)
    return { state: `it is empty, but has 0 bytes where it had ${plan.oldSize}`, hint: 'import again' };
  return { state: `it may hold a part of the diff${and}`, hint };
}

const isTaken = (error: unknown): boolean => error instanceof RbdeltaError && error.code === 'exists';

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
async function snapshotState(error: unknown, { target, plan, stallMs }: Undo): Promise<Left> {
  const name = plan.toSnap ?? '';
  const quoted = `"${printable(name)}"`;
  const create = `create ${plan.protect ? 'and protect ' : ''}it`;
  const right = 'the image is what it should be';
  if (isTaken(error))
    return {
      state: `, but the snapshot ${quoted} is somebody else's`,
      hint: `remove or rename that snapshot, then ${create}: ${right}`,
    };
  let found: Snapshot | undefined;
  const failed = await attempt(async () => {
    const { snapshots } = await target.info();
    found = snapshots.find((snapshot) => snapshot.namespace === 'user' && snapshot.name === name);
  }, stallMs);
  if (failed !== null)
    return {
      state: `; whether the snapshot ${quoted} exists is unknown (${failed})`,
      hint: `${create}, unless it is there (snap ls): ${right}`,
    };
  if (found === undefined) return { state: `, but the snapshot ${quoted} does not exist`, hint: `${create}: ${right}` };
  const exists = `, and the snapshot ${quoted} exists`;
  if (plan.protect && found.protection !== 'protected')
    return { state: `${exists}, but it is not protected`, hint: `protect it (snap protect): ${right}` };
  return {
    state: `${exists}${plan.protect ? ' and is protected' : ''}`,
    hint: 'this diff is done: --skip-existing passes over it',
  };
}

/** We saw before that there was none: it is ours, unless the failure is that somebody else was faster. */
async function removeOwnSnapshot(undo: Undo, error: unknown, progress: Progress): Promise<void> {
  const { target, plan } = undo;
  if (isTaken(error)) return;
  const { snapshots } = await target.info();
  const own = snapshots.find((snapshot) => snapshot.namespace === 'user' && snapshot.name === plan.toSnap);
  if (!own) return;
  if (own.protection !== 'unprotected') await target.unprotectSnapshot(own.name);
  await target.removeSnapshot(own.name, progress);
}
