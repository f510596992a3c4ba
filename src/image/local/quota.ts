// How much a pool may hold: a write that would go past it is refused before it changes anything.

import { randomBytes } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { PoolUsage } from '../port.ts';
import { bytesOf, imageDirectory, ObjectFiles } from './files.ts';
import { allImages } from './inside.ts';
import { type Holder, isAlive, thisProcess } from './lock.ts';
import { ObjectTable } from './objects.ts';
import { ledgerKey, poolNameOf, quotaKey } from './pools.ts';
import type { Use } from './reserve.ts';
import { filesOf } from './snapset.ts';
import type { Store } from './store.ts';
import { Turns } from './turns.ts';

/** Of data objects, and of what snapshots keep of them; null: any number. */
export interface Quota {
  maxBytes: number | null;
  maxObjects: number | null;
}

/** How much a pool grows. */
export interface Amount {
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
    // what was written without a quota is in no ledger
    putLedger(store, poolId, { ...ledgerOf(store, poolId), taken: null });
  });
}

/** All that the pool could hold is what its quota, if there is one, and the disk let in. */
export async function poolUsage(store: Store, poolId: number): Promise<PoolUsage> {
  const { bytes } = await usedOf(store, poolId);
  const { maxBytes } = quotaOf(store, poolId);
  const { bavail, bsize } = await statfs(store.dir);
  const freeBytes = Math.min(bavail * bsize, Math.max(0, (maxBytes ?? Infinity) - bytes));
  return { usedBytes: bytes, totalBytes: bytes + freeBytes };
}

/** Writes that were admitted and are not yet done, of one writer. */
interface Grant extends Omit<Holder, 'session'>, Amount {
  writer: string;
}

/** What all writers of a pool with a quota go by. */
interface Ledger {
  /** At least what is there and what is under way; null: not counted yet. Removals lower it when it is counted again. */
  taken: Amount | null;
  /** All that ever was admitted: what has been added while somebody counts. */
  admitted: Amount;
  grants: Grant[];
}

export const nothing: Amount = { bytes: 0, objects: 0 };
/** How long to wait for the writes of others, where these decide. */
const waitMs = 5;

/** Of one writer. Who would go past the quota counts the pool again, and is refused when nobody writes meanwhile. */
export class QuotaGuard {
  readonly #store: Store;
  readonly #poolId: number;
  readonly #turns = new Turns<'count'>();
  readonly #writer = randomBytes(8).toString('hex');

  constructor(store: Store, poolId: number) {
    this.#store = store;
    this.#poolId = poolId;
  }

  /** Runs `write` if the pool may grow by `growth`; throws `quota` if not. */
  async admit(growth: () => Promise<Amount>, write: () => Promise<void>): Promise<void> {
    const quota = quotaOf(this.#store, this.#poolId);
    if (quota.maxBytes === null && quota.maxObjects === null) return write();
    const granted = await this.#turns.alone('count', async () => {
      const wanted = await growth();
      if (wanted.bytes > 0 || wanted.objects > 0) await this.#obtain(quota, wanted);
      return wanted;
    });
    try {
      await write();
    } finally {
      const less = subtract(nothing, granted);
      if (granted.bytes > 0 || granted.objects > 0) await this.#change((ledger) => this.#grant(ledger, less), 'ends');
    }
  }

  async #obtain(quota: Quota, wanted: Amount): Promise<void> {
    let counted: Counted | null = null;
    for (;;) {
      const answer = await this.#change((ledger): 'granted' | 'refused' | 'count' | 'wait' => {
        let isExact = false;
        if (counted !== null) {
          const added = subtract(ledger.admitted, counted.before.admitted);
          const unsure = add(added, counted.before.grants.reduce(add, nothing));
          ledger.taken = add(counted.used, unsure);
          isExact = unsure.bytes === 0 && unsure.objects === 0;
        }
        if (ledger.taken === null) return 'count';
        if (isPast(quota, ledger.taken, wanted)) return counted === null ? 'count' : isExact ? 'refused' : 'wait';
        ledger.taken = add(ledger.taken, wanted);
        ledger.admitted = add(ledger.admitted, wanted);
        this.#grant(ledger, wanted);
        return 'granted';
      });
      if (answer === 'granted') return;
      if (answer === 'refused') throw this.#refusal(quota);
      if (answer === 'wait') await new Promise((done) => setTimeout(done, waitMs));
      const before = await this.#change((ledger) => ledger);
      counted = { before, used: await usedOf(this.#store, this.#poolId) };
    }
  }

  /** The ledger is shared with other processes: looked at and changed in one transaction. Who died has no grants. */
  #change<T>(action: (ledger: Ledger) => T, use: Use = 'grows'): Promise<T> {
    return this.#store.decide(() => {
      const ledger = ledgerOf(this.#store, this.#poolId);
      ledger.grants = ledger.grants.filter((grant) => grant.writer === this.#writer || isAlive(grant));
      const result = action(ledger);
      putLedger(this.#store, this.#poolId, ledger);
      return result;
    }, use);
  }

  #grant(ledger: Ledger, more: Amount): void {
    const own = ledger.grants.find(({ writer }) => writer === this.#writer) ?? nothing;
    const now = add(own, more);
    ledger.grants = ledger.grants.filter((grant) => grant !== own);
    if (now.bytes > 0 || now.objects > 0) ledger.grants.push({ ...thisProcess(), writer: this.#writer, ...now });
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

/** What was there, and the ledger before that was counted. */
interface Counted {
  used: Amount;
  before: Ledger;
}

function ledgerOf(store: Store, poolId: number): Ledger {
  const stored = store.cluster.get(ledgerKey(poolId));
  return stored === undefined
    ? { taken: null, admitted: nothing, grants: [] }
    : (JSON.parse(stored.toString()) as Ledger);
}

function putLedger(store: Store, poolId: number, ledger: Ledger): void {
  void store.cluster.put(ledgerKey(poolId), Buffer.from(JSON.stringify(ledger)));
}

const subtract = (a: Amount, b: Amount): Amount => ({ bytes: a.bytes - b.bytes, objects: a.objects - b.objects });

export const add = (a: Amount, b: Amount): Amount => ({ bytes: a.bytes + b.bytes, objects: a.objects + b.objects });

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
