// What `repo forget`, `prune` and `flatten` say of what they do.

import type { Forgotten } from '../ops/forget.ts';
import type { ForgetPlan } from '../ops/forget-plan.ts';
import type { RebasedPoint } from '../ops/rebase-point.ts';
import { counted } from '../bytes/text.ts';
import { bytesText, list, object, type Tree } from './print.ts';

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

export const forgotten = (image: string, { removed, freedBytes, rebased }: Forgotten): Tree =>
  object(
    ['image', image],
    ['removed', list('point', removed)],
    ['freed_bytes', freedBytes],
    ['rewritten', list('point', rebased.map(rebasedTree))],
  );

export const rebasedTree = ({ point, base, storedBytes, copiedFrames, packedFrames }: RebasedPoint): Tree =>
  object(
    ['point', point],
    base === null ? null : ['base', base],
    ['stored_bytes', storedBytes],
    ['copied_frames', copiedFrames],
    ['packed_frames', packedFrames],
  );
