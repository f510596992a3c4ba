// Work on many objects or files at once, for its effect only.

import { mapOrdered } from '../../bytes/ordered.ts';

/**
 * Runs `action` over the items, at most `limit` at a time. All that were started are settled when this returns; after a
 * failure no more are started, and the first one is thrown.
 */
export async function inParallel<T>(
  items: readonly T[],
  limit: number,
  action: (item: T) => Promise<unknown>,
): Promise<void> {
  const only = items[0];
  if (items.length === 1 && only !== undefined) {
    await action(only);
    return;
  }
  const results = mapOrdered(items, limit, action);
  while ((await results.next()).done !== true);
}
