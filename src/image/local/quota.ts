// How much a pool may hold: a write that would go past it is refused before it changes anything.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { bytesOf, imageDirectory, ObjectFiles } from './files.ts';
import { allImages } from './inside.ts';
import { ObjectTable } from './objects.ts';
import { poolNameOf, quotaKey } from './pools.ts';
import { filesOf } from './snapset.ts';
import type { Store } from './store.ts';
import { Turns } from './turns.ts';

/** Of data objects, and of what snapshots keep of them; null: any number. */
export interface Quota {
  maxBytes: number | null;
  maxObjects: number | null;
}

interface Amount {
  bytes: number;
  objects: number;
}

const none: Quota = { maxBytes: null, maxObjects: null };

export function quotaOf(store: Store, poolId: number): Quota {
  const value = store.cluster.get(quotaKey(poolId));
  return value === undefined ? none : (JSON.parse(value.toString()) as Quota);
}

export function setQuota(store: Store, poolId: number, change: Partial<Quota>): void {
  store.transact(() => {
    const quota = { ...quotaOf(store, poolId), ...change };
    void store.cluster.put(quotaKey(poolId), Buffer.from(JSON.stringify(quota)));
  });
}

/** Of one writer. What other writers of the pool add is seen when the pool is counted again: before a refusal. */
export class QuotaGuard {
  readonly #store: Store;
  readonly #poolId: number;
  readonly #turns = new Turns<'count'>();
  #used: Amount | null = null;
  /** What was admitted and is not yet written. */
  readonly #pending: Amount = { bytes: 0, objects: 0 };

  constructor(store: Store, poolId: number) {
    this.#store = store;
    this.#poolId = poolId;
  }

  /** Runs `write` if the pool may grow by `growth`; throws `quota` if not. */
  async admit(growth: () => Promise<Amount>, write: () => Promise<void>): Promise<void> {
    const quota = quotaOf(this.#store, this.#poolId);
    if (quota.maxBytes === null && quota.maxObjects === null) {
      this.#used = null;
      await write();
      return;
    }
    const more = await this.#turns.alone('count', async () => {
      const wanted = await growth();
      if (this.#used === null || isPast(quota, this.#used, wanted)) {
        this.#used = add(await usedOf(this.#store, this.#poolId), this.#pending);
      }
      if ((wanted.bytes > 0 || wanted.objects > 0) && isPast(quota, this.#used, wanted)) throw this.#refusal(quota);
      this.#used = add(this.#used, wanted);
      this.#pending.bytes += wanted.bytes;
      this.#pending.objects += wanted.objects;
      return wanted;
    });
    try {
      await write();
    } finally {
      this.#pending.bytes -= more.bytes;
      this.#pending.objects -= more.objects;
    }
  }

  #refusal({ maxBytes, maxObjects }: Quota): RbdeltaError {
    const limits = [
      ...(maxBytes === null ? [] : [`${maxBytes} bytes`]),
      ...(maxObjects === null ? [] : [`${maxObjects} objects`]),
    ];
    const pool = printable(poolNameOf(this.#store, this.#poolId) ?? '');
    return new RbdeltaError('quota', `the write would take pool '${pool}' past its quota of ${limits.join(' and ')}`, {
      hint: `remove something, or raise it: rbdelta pool set-quota ${pool}`,
    });
  }
}

const add = (a: Amount, b: Amount): Amount => ({ bytes: a.bytes + b.bytes, objects: a.objects + b.objects });

const isPast = ({ maxBytes, maxObjects }: Quota, used: Amount, more: Amount): boolean =>
  (maxBytes !== null && used.bytes + more.bytes > maxBytes) ||
  (maxObjects !== null && used.objects + more.objects > maxObjects);

/** Counts all files of the pool. */
async function usedOf(store: Store, poolId: number): Promise<Amount> {
  const used: Amount = { bytes: 0, objects: 0 };
  for (const image of allImages(store)) {
    if (image.dataPoolId !== poolId) continue;
    const files = new ObjectFiles(imageDirectory(store.dir, poolId, image.prefix), false);
    for (const [objectNo, object] of new ObjectTable(store, image).range(0, Number.MAX_SAFE_INTEGER)) {
      for (const file of filesOf(object)) {
        used.objects += 1;
        used.bytes += await bytesOf(files.path(objectNo, file));
      }
    }
  }
  return used;
}
