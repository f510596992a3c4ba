// The fingerprint of what a chain shows, from the digests in its indexes. Spec: formats/archive/spec.md

import { availableParallelism } from 'node:os';
import { mapOrdered } from '../bytes/ordered.ts';
import { startThread, ThreadPool } from '../bytes/thread.ts';
import { RbdeltaError } from '../error.ts';
import { addSums, sumToHex, zeroSum } from '../format/fingerprint.ts';
import type { Chain } from './chain.ts';
import type { SumTask } from './fingerprint-worker.js';
import { textOf } from './keys.ts';
import { stateDigests } from './overlay.ts';
import { scrubHint } from './unpack.ts';

/** 64 hex digits: the fingerprint of the state of the newest point, summed anew over all of the image. */
export async function chainFingerprint(chain: Chain): Promise<string> {
  const key = chain.repository.digestKey;
  const threads = availableParallelism();
  const pool = new ThreadPool<SumTask, Uint8Array>(
    () => startThread('../repo/fingerprint-worker', import.meta.url),
    threads,
  );
  try {
    let sum = zeroSum();
    const parts = mapOrdered(stateDigests(chain), threads + 1, ({ blocks, digests }) =>
      pool.run({ key, blocks, digests }, [blocks.buffer, digests.buffer]),
    );
    for await (const part of parts) sum = addSums(sum, part);
    return sumToHex(sum);
  } finally {
    await pool.stop();
  }
}

/**
 * The chain shows the state that its newest point was made of: no point is missing, and none was put in the place of
 * another. Throws `corrupt`. (That the frames have what the digests say, only reading them shows.)
 */
export async function proveChain(chain: Chain): Promise<void> {
  const newest = chain.points.at(-1);
  if (newest === undefined) return;
  const found = await chainFingerprint(chain);
  const expected = newest.manifest.fingerprint;
  if (found === expected) return;
  const state = `the indexes of its ${chain.points.length} points show the state ${found}`;
  const message = `the chain of ${newest.id} of ${textOf(chain.image)} is damaged: ${state}, its manifest tells ${expected}`;
  throw new RbdeltaError('corrupt', message, { hint: scrubHint });
}
