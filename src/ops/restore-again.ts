// A reader takes no lock: a writer may give a point of its chain another base meanwhile, and the old files go.

import { orInterruption } from '../bytes/errno.ts';
import { RbdeltaError } from '../error.ts';
import { type Chain, type ChainOptions, loadChain } from '../repo/chain.ts';
import { type ImageName, textOf } from '../repo/keys.ts';
import { isOutdated, type ReadPoints } from '../repo/outdated.ts';
import type { Repository } from '../repo/repository.ts';
import { isDamage } from './verify-audit.ts';

/** Failures that only a rewrite made, and those of them after which the same work can be begun again by itself. */
const ofRewrites = new WeakSet<object>();
const repeatable = new WeakSet<object>();

/** What to tell of a failure to read: `busy` instead of damage where the chain was only rewritten. */
export async function orRewritten(
  error: unknown,
  chain: ReadPoints,
  signal: AbortSignal | undefined,
): Promise<unknown> {
  const told = orInterruption(error, signal);
  // What cannot be asked leaves the failure as it is.
  if (!isDamage(told) || !(await isOutdated(chain).catch(() => false))) return told;
  const newest = chain.points.at(-1)?.id;
  const message = `the chain of ${newest} of ${textOf(chain.image)} was rewritten meanwhile: ${told.message}`;
  const hint = 'run it again: what was read is gone, the point itself is not damaged';
  const rewritten = new RbdeltaError('busy', message, { hint, cause: told });
  ofRewrites.add(rewritten);
  return rewritten;
}

/** A failure that `orRewritten` made. */
export const isOfRewrite = (error: unknown): error is RbdeltaError =>
  error instanceof RbdeltaError && ofRewrites.has(error);

/** `error` tells of `told`, and of a target that is as it was, or that the next one goes on with. */
export function canBeRepeated(told: unknown, error: unknown = told): unknown {
  if (error instanceof RbdeltaError && isOfRewrite(told)) repeatable.add(error);
  return error;
}

/** How often a reader begins again: a `prune` rewrites each point once. */
const attempts = 3;

/** Does `work` again when it failed only because a writer rewrote what it read. */
export async function withRewrites<T>(work: () => Promise<T>, onNotice: (text: string) => void): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      if (attempt === attempts || !(error instanceof RbdeltaError) || !repeatable.has(error)) throw error;
      onNotice(`${error.message}; it is begun again`);
    }
  }
}

/** Loads the chain of a point for `use`, and again when that failed only because a writer rewrote it meanwhile. */
export const withSteadyChain = <T>(
  repository: Repository,
  { image, point, ...options }: { image: ImageName; point: string } & ChainOptions,
  use: (chain: Chain) => Promise<T>,
  onNotice: (text: string) => void,
): Promise<T> =>
  withRewrites(async () => {
    const load = (): Promise<Chain> => loadChain(repository, image, point, options);
    const chain = await load().catch((error: unknown) => {
      // Between two manifests, one of them may have got another base.
      if (!isDamage(error)) throw error;
      return load();
    });
    try {
      return await use(chain);
    } finally {
      await chain.close();
    }
  }, onNotice);
