// What `repo forget`, `prune` and `flatten` say of what they do.

import type { Forgotten } from '../ops/forget.ts';
import type { ForgetPlan, Rebasing } from '../ops/forget-plan.ts';
import type { RebasedPoint } from '../ops/rebase-point.ts';
import { counted } from '../bytes/text.ts';
import { bytesText, type Field, list, object, optional, type Tree } from './print.ts';

/** What goes, and what gets another base for that. */
export function planText({ remove, rebase }: ForgetPlan): string {
  const rebased = rebase.map(({ point, base, absorbs }) => {
    const becomes = base === null ? 'becomes a full' : `builds on ${base.id}`;
    return `  rewrite ${point.id}  (${becomes}, with what ${counted(absorbs.length, 'point')} below it had)\n`;
  });
  const gone = remove.map(({ id, storedBytes }) => `  remove  ${id}  (${bytesText(storedBytes)})\n`);
  return [...rebased, ...gone].join('');
}

export function forgottenText({ removed, freedBytes, rebased }: Forgotten): string {
  const rewritten = rebased.length === 0 ? '' : `, ${counted(rebased.length, 'point')} rewritten`;
  return `${counted(removed.length, 'point')} removed (${bytesText(freedBytes)})${rewritten}`;
}

/** Fields of what was done. */
export const forgottenFields = ({ removed, freedBytes, rebased }: Forgotten): Field[] => [
  ['removed', list('point', removed)],
  ['freed_bytes', freedBytes],
  ['rewritten', list('point', rebased.map(rebasedTree))],
];

/** Fields of what would be done. */
export const planFields = ({ remove, rebase }: ForgetPlan): Field[] => [
  ['remove', idList(remove)],
  ['freed_bytes', remove.reduce((sum, { storedBytes }) => sum + storedBytes, 0)],
  ['rewrite', list('point', rebase.map(rebasingTree))],
];

export const rebasedTree = ({ point, base, storedBytes, copiedFrames, packedFrames }: RebasedPoint): Tree =>
  object(
    ['point', point],
    optional('base', base),
    ['stored_bytes', storedBytes],
    ['copied_frames', copiedFrames],
    ['packed_frames', packedFrames],
  );

/** What would be rewritten: `absorbs` are the points whose content becomes part of it. */
export const rebasingTree = ({ point, base, absorbs }: Rebasing): Tree =>
  object(['point', point.id], optional('base', base?.id ?? null), ['absorbs', idList(absorbs)]);

const idList = (points: readonly { id: string }[]): Tree =>
  list(
    'point',
    points.map(({ id }) => id),
  );
