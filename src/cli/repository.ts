// The repository that a command names: opened, used, and closed in any case.

import { RbdeltaError } from '../error.ts';
import type { Repository } from '../repo/repository.ts';
import type { OpenStoreOptions } from '../store/open.ts';
import type { Store } from '../store/port.ts';
import { closing } from './cluster.ts';
import type { Call } from './command.ts';
import { s3From, s3Options } from './s3.ts';
import { rateFrom } from './values.ts';

/** The options of a command that opens one. */
export const storeOptions = ['storage-class', 'sse', 'max-rate', ...s3Options] as const;

/** The next positional. */
export function repositoryFrom({ positionals }: Call): string {
  return placeOf(positionals.take());
}

export function placeOf(where: string | null | undefined, what = 'repository'): string {
  if (where != null && where !== '') return where;
  throw new RbdeltaError('invalid', `${what} was not specified`, {
    hint: 'it is a directory or s3://bucket/prefix',
  });
}

/** The next positional: what names a point. */
export function pointFrom({ positionals }: Call): string {
  const point = positionals.take();
  if (point !== null && point !== '') return point;
  throw new RbdeltaError('invalid', 'point was not specified', {
    hint: 'it is an id, or pool/image@latest, image@2026-11-20, image@3d',
  });
}

export async function withStore<T>(
  call: Call,
  where: string,
  options: Pick<OpenStoreOptions, 'create'>,
  use: (store: Store) => Promise<T>,
): Promise<T> {
  const { args } = call;
  const [storageClass, sse, rate] = [args.text('storage-class'), args.text('sse'), args.value('max-rate', rateFrom)];
  const { openStore } = await import('../store/open.ts');
  const opening = openStore(where, {
    ...options,
    s3: { ...s3From(call), ...(storageClass !== null && { storageClass }), ...(sse !== null && { sse }) },
    ...(rate !== null && { bytesPerSecond: rate, signal: call.signal }),
  });
  const store = await opening.catch((error: unknown) => {
    if (!(error instanceof RbdeltaError) || error.code !== 'notFound' || error.hint !== undefined) throw error;
    const hint = where.startsWith('s3://')
      ? 'is the endpoint right? a bucket is made with other tools, a repository in it with rbdelta repo init'
      : 'is the file system mounted? rbdelta repo init makes a new repository, and the directory';
    throw new RbdeltaError(error.code, error.message, { hint, cause: error });
  });
  return closing(store, use);
}

export const withRepository = <T>(call: Call, where: string, use: (repository: Repository) => Promise<T>): Promise<T> =>
  withStore(call, where, {}, async (store) => {
    const { openRepository } = await import('../repo/repository.ts');
    return use(await openRepository(store));
  });
