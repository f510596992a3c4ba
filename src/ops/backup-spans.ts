// What a backup looks at: what changed since the base, or everything, in whole blocks.

import { ExtentList } from '../diff/extent.ts';
import type { Image } from '../image/port.ts';
import { blockBytes } from '../format/archive-index.ts';
import { type BlockSpans, blockSpans } from '../repo/block-spans.ts';
import type { DiffPlan } from './diff-plan.ts';
import { extentLists } from './diff-extents.ts';

/**
 * Tasks for the packer, rising, of the plan's range, which begins with a block. `everything`: what the image does not hold
 * counts as zeros that may be new. `baseSize`: of the image at the base.
 */
export function backupSpans(
  image: Image,
  plan: DiffPlan,
  options: { everything: boolean; baseSize: number },
): AsyncGenerator<BlockSpans, void, undefined> {
  const { size } = plan.info;
  const lists = extentLists(image, plan, { zerosExactly: false });
  const whole = options.everything ? withGaps(lists, plan.range.offset, size) : lists;
  // Where the image was cut inside a block, that block is another one, of which no diff tells.
  const isCut = size < options.baseSize && size % blockBytes !== 0;
  const extra = isCut ? [Math.floor(size / blockBytes)] : [];
  return blockSpans(whole, { size, extra });
}

/** Extents from `start` to `end`, and what lies between them, as zeros. */
async function* withGaps(
  lists: AsyncIterable<{ extents: ExtentList }>,
  start: number,
  end: number,
): AsyncGenerator<{ extents: ExtentList }, void, undefined> {
  let reached = start;
  for await (const { extents } of lists) {
    const all = new ExtentList();
    for (const { offset, length, kind } of extents) {
      if (offset > reached) all.push(reached, offset - reached, 'zero');
      all.push(offset, length, kind);
      reached = offset + length;
    }
    yield { extents: all };
  }
  if (reached >= end) return;
  const rest = new ExtentList();
  rest.push(reached, end - reached, 'zero');
  yield { extents: rest };
}
