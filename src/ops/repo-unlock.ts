// `repo unlock`: who holds an image, and the end of locks whose owner is gone.

import { mapOrdered } from '../bytes/ordered.ts';
import { findImages } from '../repo/find-point.ts';
import type { ImageName } from '../repo/keys.ts';
import { type FoundLock, listLocks } from '../repo/lock.ts';
import type { Repository } from '../repo/repository.ts';

export interface UnlockOptions {
  name?: string | null;
  /** Live ones as well: their owners fail before they commit anything. */
  force?: boolean;
  dryRun?: boolean;
}

export interface Unlocked {
  image: ImageName;
  lock: FoundLock;
  removed: boolean;
}

const imagesAtOnce = 8;

/** All locks that there were; the dead ones are removed, and with `force` all of them. */
export async function unlock(repository: Repository, options: UnlockOptions = {}): Promise<Unlocked[]> {
  const { name = null, force = false, dryRun = false } = options;
  const found: Unlocked[] = [];
  const looked = mapOrdered(await findImages(repository, name), imagesAtOnce, async (image) => ({
    image,
    locks: await listLocks(repository, image),
  }));
  for await (const { image, locks } of looked) {
    for (const lock of locks) {
      const now = (lock.isDead || force) && !dryRun ? await lookAgain(repository, image, lock) : lock;
      if (now === null) continue;
      const removed = (now.isDead || force) && !dryRun;
      if (removed) await repository.store.remove([now.key]);
      found.push({ image, lock: now, removed });
    }
  }
  return found;
}

/** Since it was listed, which may be long ago with many images, it may have been renewed; null: it was released. */
async function lookAgain(repository: Repository, image: ImageName, { key }: FoundLock): Promise<FoundLock | null> {
  return (await listLocks(repository, image)).find((lock) => lock.key === key) ?? null;
}
