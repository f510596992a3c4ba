// Stores and images that stop at each moment at which something may go wrong: `at` is told, fails, kills or looks.

import { RbdeltaError } from '../../src/error.ts';
import type { WritableImage } from '../../src/image/port.ts';
import type { BackupSource } from '../../src/ops/backup-source.ts';
import type { CopiedRange, Store } from '../../src/store/port.ts';

export interface Moment {
  /** `get`, `write`, `write: half`, `write: all sent`, `write: done`, `remove`, … */
  what: string;
  /** A key, a prefix, or the name of a snapshot. */
  key: string;
  /** Whether what is durable is another than at the moment before: only then a death here leaves something new. */
  changed: boolean;
}

/** What it throws is how the call fails. */
export type AtMoment = (moment: Moment) => void;

/** Removals go key by key: a store may do them in bulk, but promises no more than that. */
export function watchedStore(store: Store, at: AtMoment): Store {
  const before = (what: string, key: string): void => at({ what, key, changed: false });
  const after = (what: string, key: string): void => at({ what, key, changed: true });
  return {
    ...store,
    async get(key, maxBytes) {
      before('get', key);
      return store.get(key, maxBytes);
    },
    async read(key, offset, into) {
      before('read', key);
      return store.read(key, offset, into);
    },
    async stat(key) {
      before('stat', key);
      return store.stat(key);
    },
    async put(key, bytes, options) {
      before('put', key);
      await store.put(key, bytes, options);
      after('put: done', key);
    },
    async write(key, pieces, options) {
      before('write', key);
      async function* watched(): AsyncGenerator<Uint8Array | CopiedRange> {
        let count = 0;
        for await (const piece of pieces) {
          // The first piece is in the hidden file by now.
          if (count === 1) after('write: half', key);
          count += 1;
          yield piece;
        }
        before('write: all sent', key);
      }
      const object = await store.write(key, watched(), options);
      after('write: done', key);
      return object;
    },
    async *list(prefix) {
      before('list', prefix);
      yield* store.list(prefix);
    },
    async *folders(folder) {
      before('folders', folder);
      yield* store.folders(folder);
    },
    async remove(keys) {
      let count = 0;
      for await (const key of keys) {
        before('remove', key);
        count += await store.remove([key]);
        after('remove: done', key);
      }
      return count;
    },
    async *leftovers(prefix) {
      before('leftovers', prefix);
      yield* store.leftovers(prefix);
    },
    async removeLeftover(leftover) {
      before('removeLeftover', leftover.key);
      await store.removeLeftover(leftover);
    },
    async nowMs() {
      before('nowMs', '');
      return store.nowMs();
    },
  };
}

/** Snapshots are made and removed under watch. */
export const watchedSource = (source: BackupSource, at: AtMoment): BackupSource => ({
  ...source,
  head: source.head && (async () => watchedImage(await source.head!(), at)),
});

const watchedImage = (image: WritableImage, at: AtMoment): WritableImage => ({
  ...image,
  async createSnapshot(name) {
    at({ what: 'createSnapshot', key: name, changed: false });
    await image.createSnapshot(name);
    at({ what: 'createSnapshot: done', key: name, changed: true });
  },
  async removeSnapshot(name, onProgress) {
    at({ what: 'removeSnapshot', key: name, changed: false });
    await image.removeSnapshot(name, onProgress);
    at({ what: 'removeSnapshot: done', key: name, changed: true });
  },
});

/** Fails once, at the n-th moment (from 1). `met` is that moment; null: so many there were not. */
export function failsAt(n: number): { at: AtMoment; met: () => Moment | null } {
  let count = 0;
  let met: Moment | null = null;
  return {
    at(moment) {
      count += 1;
      if (count !== n) return;
      met = moment;
      throw new RbdeltaError('io', `the store failed at ${moment.what} ${moment.key}`);
    },
    met: () => met,
  };
}
