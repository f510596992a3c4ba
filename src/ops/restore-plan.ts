// What a restore will do, and that it can: the chain is proved from its indexes before anything is written.

import { interruption } from '../bytes/errno.ts';
import { RbdeltaError } from '../error.ts';
import { blockBytes, type Frame, hullOf } from '../format/archive-index.ts';
import type { Chain } from '../repo/chain.ts';
import { proveChain } from '../repo/chain-fingerprint.ts';
import { textOf } from '../repo/keys.ts';
import { type LivePart, liveFrames } from '../repo/overlay.ts';
import { scrubHint } from '../repo/unpack.ts';
import type { BlockSet } from './block-set.ts';

export interface RestorePlan {
  /** Of the image at the point. */
  size: number;
  /** Frames that are fetched, of which points, oldest first. */
  points: { id: string; frames: number; bytes: number }[];
  frames: number;
  /** Stored bytes of the frames. */
  fetchBytes: number;
  /** Bytes of the image that the frames have and that show. */
  dataBytes: number;
}

/** `corrupt` if the indexes of the chain do not show the state that its newest point was made of. */
export async function checkChain(chain: Chain): Promise<void> {
  for (const { id, manifest, archive } of chain.points) {
    const { directory } = await archive.index();
    if (directory.reached === manifest.image.size) continue;
    const sizes = `its manifest tells of ${manifest.image.size} bytes, its index of ${directory.reached}`;
    throw new RbdeltaError('corrupt', `the point ${id} of ${textOf(chain.image)} is damaged: ${sizes}`, {
      hint: scrubHint,
    });
  }
  await proveChain(chain);
}

/** `only`: of these blocks. Reads indexes. */
export async function planRestore(
  chain: Chain,
  options: { only?: BlockSet | null; signal?: AbortSignal | undefined } = {},
): Promise<RestorePlan> {
  const points = chain.points.map(({ id }) => ({ id, frames: 0, bytes: 0 }));
  const plan: RestorePlan = { size: chain.size, points, frames: 0, fetchBytes: 0, dataBytes: 0 };
  for await (const { point, frame, live } of framesOf(chain, options)) {
    points[point]!.frames += 1;
    points[point]!.bytes += frame.bytes;
    plan.frames += 1;
    plan.fetchBytes += frame.bytes;
    for (const { length } of live) plan.dataBytes += length;
  }
  return plan;
}

/** The frames of which anything is to be written, each once, with what. */
export async function* framesOf(
  chain: Chain,
  { only = null, signal }: { only?: BlockSet | null; signal?: AbortSignal | undefined },
): AsyncGenerator<{ point: number; frame: Frame; live: LivePart[] }, void, undefined> {
  for await (const item of liveFrames(chain)) {
    if (signal?.aborted) throw interruption(signal);
    if (item.kind === 'zero') continue;
    const live = only === null ? item.live : cut(item.live, only);
    if (live.length > 0) yield { point: item.point, frame: item.frame, live };
  }
}

/** What of the parts lies in the blocks. */
function cut(parts: readonly LivePart[], only: BlockSet): LivePart[] {
  const kept: LivePart[] = [];
  for (const { offset, length, rawOffset } of parts) {
    const end = offset + length;
    for (const run of only.runs(Math.floor(offset / blockBytes), Math.ceil(end / blockBytes))) {
      const from = Math.max(offset, run.first * blockBytes);
      const to = Math.min(end, run.end * blockBytes);
      kept.push({ offset: from, length: to - from, rawOffset: rawOffset + from - offset });
    }
  }
  return kept;
}

/** The failure of a frame, with what of the image it concerns, and which points do without it. */
export function frameFailure(error: unknown, chain: Chain, point: number, frame: Frame): unknown {
  if (!(error instanceof RbdeltaError) || error.code !== 'corrupt') return error;
  const { start, end } = hullOf(frame);
  const newest = chain.points.at(-1)?.id;
  const where = `it has a part of the bytes ${start} to ${Math.min(end, chain.size)} of ${textOf(chain.image)} at ${newest}`;
  const before = chain.points[point - 1];
  const hint =
    before === undefined
      ? 'no point of this chain can do without it; rbdelta repo list shows whether there is one of another chain'
      : `the point ${before.id} and older ones do without it`;
  return new RbdeltaError(error.code, `${error.message}; ${where}`, { hint, cause: error });
}
