// Where an image is not what a chain shows: its blocks are read and compared with digests, nothing of the chain is fetched
// but indexes.

import { availableParallelism } from 'node:os';
import { interruption } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { startThread, ThreadPool } from '../bytes/thread.ts';
import { blockBytes, digestBytes } from '../format/archive-index.ts';
import type { Image } from '../image/port.ts';
import type { Chain } from '../repo/chain.ts';
import type { Compared, CompareTask } from '../repo/compare-worker.js';
import { stateDigests } from '../repo/overlay.ts';
import { BlockSet } from './block-set.ts';
import { heldExtents } from './head.ts';
import type { HeldExtents } from './held-extents.ts';

export interface CompareOptions {
  signal?: AbortSignal | undefined;
  onNotice?: ((text: string) => void) | undefined;
  /** How far in the image, of the bytes in all. */
  onProgress?: ((reached: number, size: number) => void) | undefined;
}

export interface Comparison {
  differing: BlockSet;
  /** Of the image. */
  bytesRead: number;
  /** Where the image may hold anything. */
  held: HeldExtents;
}

/** Blocks that are read at once, and such reads under way: 48 MiB. */
const taskBlocks = 64;
const tasksInFlight = 12;

/**
 * The blocks of the chain's newest state that the image does not hold. Where the image is shorter, it counts as zeros; what
 * it has behind the state's end is not looked at. Object maps tell what need not be read.
 */
export async function compareState(chain: Chain, image: Image, options: CompareOptions = {}): Promise<Comparison> {
  const { signal, onNotice, onProgress } = options;
  const end = Math.min((await image.info()).size, chain.size);
  const held = await heldExtents(image, { signal, onNotice });
  const differing = new BlockSet();
  const pool = new ThreadPool<CompareTask, Compared>(
    () => startThread('../repo/compare-worker', import.meta.url),
    availableParallelism(),
  );
  const spare: ArrayBuffer[] = [];
  let bytesRead = 0;

  const compare = async ({ first, digests, expected }: Task): Promise<number> => {
    if (signal?.aborted) throw interruption(signal);
    const bytes = expected.length * blockBytes;
    const data = (bytes === taskBlocks * blockBytes ? spare.pop() : undefined) ?? new ArrayBuffer(bytes);
    const offset = first * blockBytes;
    const there = Math.min(bytes, end - offset);
    await image.read(offset, new Uint8Array(data, 0, there));
    new Uint8Array(data, there).fill(0);
    bytesRead += there;
    const done = await pool.run({ key: chain.repository.digestKey, data, digests, expected }, [data]);
    done.differs.forEach((differs, i) => {
      if (differs === 1) differing.add(first + i);
    });
    if (bytes === taskBlocks * blockBytes) spare.push(done.data);
    return offset + there;
  };

  try {
    for await (const reached of mapOrdered(tasks(chain, held, end, differing), tasksInFlight, compare))
      onProgress?.(reached, chain.size);
  } finally {
    await pool.stop();
  }
  held.rewind();
  return { differing, bytesRead, held };
}

interface Task {
  first: number;
  digests: Uint8Array<ArrayBuffer>;
  /** See CompareTask. */
  expected: Uint8Array<ArrayBuffer>;
}

/** What is to be read, rising. Blocks that are to be something where the image holds nothing differ without a look. */
async function* tasks(
  chain: Chain,
  held: HeldExtents,
  imageEnd: number,
  differing: BlockSet,
): AsyncGenerator<Task, void, undefined> {
  let reached = 0;
  const none = { blocks: new Float64Array(0), digests: new Uint8Array(0) };
  const end = Math.ceil(chain.size / blockBytes);
  for await (const batch of stateDigests(chain)) {
    const next = batch.blocks[batch.blocks.length - 1]! + 1;
    yield* within(reached, next, batch);
    reached = next;
  }
  yield* within(reached, end, none);

  function* within(
    first: number,
    stop: number,
    { blocks, digests }: { blocks: Float64Array; digests: Uint8Array },
  ): Generator<Task, void, undefined> {
    let at = 0;
    const missingBefore = (block: number): void => {
      for (; at < blocks.length && blocks[at]! < block; at++) differing.add(blocks[at]!);
    };
    for (const run of heldBlocks(held, first, stop, imageEnd)) {
      missingBefore(run.first);
      for (let start = run.first; start < run.end; start += taskBlocks) {
        const count = Math.min(taskBlocks, run.end - start);
        const task = { first: start, digests: new Uint8Array(count * digestBytes), expected: new Uint8Array(count) };
        for (; at < blocks.length && blocks[at]! < start + count; at++) {
          const place = blocks[at]! - start;
          task.expected[place] = 1;
          task.digests.set(digests.subarray(at * digestBytes, (at + 1) * digestBytes), place * digestBytes);
        }
        yield task;
      }
    }
    missingBefore(stop);
  }
}

/** Runs of blocks in [first, stop) that the image may hold something of, rising, joined. */
function* heldBlocks(
  held: HeldExtents,
  first: number,
  stop: number,
  imageEnd: number,
): Generator<{ first: number; end: number }, void, undefined> {
  let run: { first: number; end: number } | null = null;
  for (const { offset, length } of held.within(first * blockBytes, Math.min(stop * blockBytes, imageEnd))) {
    const from = Math.floor(offset / blockBytes);
    const end = Math.ceil((offset + length) / blockBytes);
    if (run !== null && from <= run.end) {
      run.end = Math.max(run.end, end);
      continue;
    }
    if (run !== null) yield run;
    run = { first: from, end };
  }
  if (run !== null) yield run;
}
