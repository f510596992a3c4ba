// What an import of one diff is going to do, or why it must not: decided from plain data before the first write.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import type { DiffHeader } from '../format/rbd-diff.ts';
import type { HeadFinding } from './head.ts';

/** What is done for one diff. */
export interface ImportPlan {
  fromSnap: string | null;
  toSnap: string | null;
  /** Bytes of the image afterwards. */
  size: number;
  /** Bytes of the image before; after the rollback where there is one. */
  oldSize: number;
  /** The end snapshot is there already: nothing is done. */
  skip: boolean;
  /** HEAD is put back to the base first. */
  rollback: boolean;
  /** What the stream leaves out is cleared. */
  clear: boolean;
  /** Made after the last byte is durable: `toSnap`, unless the target has no snapshots. */
  createSnapshot: boolean;
  protect: boolean;
  /** Records are applied as they come, as rbd does. */
  asGiven: boolean;
  /** From this offset on the image reads as zeros once it has its size. */
  zeroFrom: number;
  /** How a failure is undone: back to the base, back to an empty image, or not at all. */
  undo: 'rollback' | 'empty' | 'none';
}

/** The target before this diff. */
export interface TargetState {
  /** What messages call it. */
  label: string;
  size: number;
  /** `user` snapshots and their sizes. */
  snapshots: ReadonlyMap<string, number>;
  /** Whether the target can have any. */
  hasSnapshots: boolean;
  /** The end of the diff that was applied just before, in the same run: what HEAD is. Null where nothing says so. */
  at: string | null;
}

export interface ImportChoices {
  rollback?: boolean;
  force?: boolean;
  overwrite?: boolean;
  skipExisting?: boolean;
}

const name = (snap: string): string => `"${printable(snap)}"`;

/**
 * Whether the diff is to be skipped, since its end snapshot is there. Throws what the names and sizes alone forbid:
 * 'exists' (the end snapshot is there), 'invalid' (the base is not), 'corrupt' (no size).
 */
export function checkHeader(header: DiffHeader, state: TargetState, choices: ImportChoices): 'skip' | 'apply' {
  const { fromSnap, toSnap, size, part } = header;
  const { label } = state;
  if (part !== undefined && !choices.force)
    throw new RbdeltaError('invalid', `this is only the part from byte ${part.offset} to ${part.end} of a diff`, {
      hint: 'merge-diff makes the whole of all parts; --force applies it as rbd does, which takes it for all',
    });
  if (size === null && !choices.force)
    throw new RbdeltaError('corrupt', 'the diff does not say before its data how large the image is', {
      hint: `make it again; --force applies a diff that says nothing of it to ${label} at its present size, as rbd does`,
    });
  const found = toSnap === null ? undefined : state.snapshots.get(toSnap);
  if (toSnap !== null && found !== undefined) {
    if (!choices.skipExisting)
      throw new RbdeltaError('exists', `the end snapshot ${name(toSnap)} exists already in ${label}`, {
        hint: 'if that is this diff, imported before, all is well: --skip-existing goes on without a failure',
      });
    if (size !== null && found !== size)
      throw new RbdeltaError(
        'exists',
        `the end snapshot ${name(toSnap)} exists already in ${label}, but has ${found} bytes where the diff says ${size}`,
        { hint: 'it is a different snapshot of the same name: rename or remove it' },
      );
    return 'skip';
  }
  if (fromSnap !== null && state.hasSnapshots && !state.snapshots.has(fromSnap)) {
    const have = [...state.snapshots.keys()].slice(-5).map(name);
    throw new RbdeltaError('invalid', `the start snapshot ${name(fromSnap)} does not exist in ${label}`, {
      hint:
        have.length === 0
          ? 'it has no snapshots: import the full diff first'
          : `import what comes before it first; its newest snapshots: ${have.join(', ')}`,
    });
  }
  if (fromSnap !== null && !state.hasSnapshots && state.at === null && !choices.force)
    throw new RbdeltaError(
      'unsupported',
      `${label} has no snapshots: that it equals ${name(fromSnap)} cannot be checked`,
      { hint: '--force applies the diff to what is there; a failure can then not be undone' },
    );
  return 'apply';
}

/** The plan of a diff that `checkHeader` lets through. Throws 'diverged' where HEAD is not what the diff starts from. */
export function planImport(
  header: DiffHeader,
  state: TargetState,
  head: HeadFinding,
  choices: ImportChoices,
): ImportPlan {
  const { fromSnap, toSnap } = header;
  const common = {
    fromSnap,
    toSnap,
    createSnapshot: toSnap !== null && state.hasSnapshots,
    protect: header.protected === true && toSnap !== null && state.hasSnapshots,
    asGiven: choices.force === true,
    skip: false,
    rollback: false,
    clear: false,
  };
  const size = header.size ?? state.size;
  const plain = { ...common, size, oldSize: state.size, zeroFrom: state.size };
  if (head.kind === 'unchecked') return { ...plain, undo: 'none' };
  if (fromSnap !== null) {
    if (head.kind === 'equal') return { ...plain, undo: state.hasSnapshots ? 'rollback' : 'none' };
    if (!choices.rollback || !state.hasSnapshots) {
      const rollback = `--rollback puts it back to ${name(fromSnap)} first (what was written since is lost), `;
      throw new RbdeltaError(
        'diverged',
        `${state.label} is not at the start snapshot ${name(fromSnap)}: ${head.what}`,
        {
          hint: `${state.hasSnapshots ? rollback : ''}--force applies the diff all the same`,
        },
      );
    }
    const oldSize = state.snapshots.get(fromSnap) ?? state.size;
    return { ...plain, oldSize, zeroFrom: oldSize, rollback: true, undo: 'rollback' };
  }
  if (head.kind === 'equal') return { ...plain, asGiven: false, zeroFrom: 0, undo: 'empty' };
  if (!choices.overwrite)
    throw new RbdeltaError('diverged', `this is a full diff, but ${state.label} already holds data: ${head.what}`, {
      hint: `--overwrite replaces what it holds; or import into a new ${state.hasSnapshots ? 'image' : 'file'}`,
    });
  return { ...plain, asGiven: false, clear: true, undo: 'none' };
}

/** The plan of a diff that is skipped. */
export function planSkip(header: DiffHeader, state: TargetState): ImportPlan {
  return {
    fromSnap: header.fromSnap,
    toSnap: header.toSnap,
    size: header.size ?? state.size,
    oldSize: state.size,
    skip: true,
    rollback: false,
    clear: false,
    createSnapshot: false,
    protect: false,
    asGiven: false,
    zeroFrom: 0,
    undo: 'none',
  };
}

/** The target after the plan was carried out: what the next diff of a chain finds. */
export function stateAfter(plan: ImportPlan, state: TargetState): TargetState {
  if (plan.skip) return state;
  const snapshots = new Map(state.snapshots);
  if (plan.createSnapshot && plan.toSnap !== null) snapshots.set(plan.toSnap, plan.size);
  return { ...state, size: plan.size, snapshots, at: plan.toSnap };
}
