// Several images, one after the other: one that fails does not keep the others from being done.

import { exitStatus, RbdeltaError } from '../error.ts';
import { printable } from '../bytes/text.ts';
import type { Call } from './command.ts';
import { knownFailure } from './failure.ts';
import { type Field, list, object, optional, toJson, type Tree } from './print.ts';

export interface Outcome<T> {
  /** The image; or the word that should have named one. */
  image: string;
  /** 0 if it was done. */
  status: number;
  error: string | null;
  /** What was done, also of one that failed half-way; null: nothing that could be told of. */
  result: T | null;
}

/** Says in one line, and in a second one what to do about it, why the image was not done. */
export function failed(call: Call, image: string, error: RbdeltaError): Outcome<never> {
  const hint = error.hint === undefined ? '' : `\nhint: ${error.hint}`;
  call.notice(`${printable(image)}: ${error.message}${hint}`);
  return { image, status: exitStatus[error.code], error: error.message, result: null };
}

/**
 * What became of one image. An interrupt, a bug, or output that nobody reads any more ends the whole. `half` tells what was
 * done before a failure.
 */
export async function attempt<T>(
  call: Call,
  image: string,
  work: () => Promise<T>,
  half: () => T | null = () => null,
): Promise<Outcome<T>> {
  try {
    return { image, status: 0, error: null, result: await work() };
  } catch (error) {
    const known = knownFailure(error);
    if (call.signal.aborted || known === null || known.code === 'interrupted' || known.code === 'brokenPipe')
      throw error;
    return { ...failed(call, image, known), result: half() };
  }
}

/** Prints them if `--json` is given: each has `image`, `status`, `error` if it failed, and else `fields`. Resolves to the status. */
export async function conclude<T>(
  call: Call,
  outcomes: readonly Outcome<T>[],
  fields: (result: T) => readonly (Field | null)[],
): Promise<number> {
  const tree = ({ image, status, error, result }: Outcome<T>): Tree =>
    object(['image', image], ['status', status], optional('error', error), ...(result === null ? [] : fields(result)));
  if (call.args.has('json')) await call.stdout.write(toJson(list('image', outcomes.map(tree)), false));
  return outcomes.find(({ status }) => status !== 0)?.status ?? 0;
}
