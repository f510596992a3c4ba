// One writer an image, by files that need no more of a store than a list that is up to date. Spec: formats/repository/spec.md

import { randomBytes } from 'node:crypto';
import { readFile, readlink } from 'node:fs/promises';
import { hostname } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { decodeLockFile, encodeLockFile, type LockFile } from '../format/repository.ts';
import type { Store } from '../store/port.ts';
import { type ImageName, imageFolder, textOf } from './keys.ts';
import { type Repository, smallFileBytes } from './repository.ts';

export interface LockOptions {
  /** What it is taken for, for others who find it: `backup`, `prune`. */
  operation: string;
  /** How long to wait for another to release it; 0 if absent. */
  waitMs?: number;
  /** A lock that was not renewed for this long is dead; 300 if absent. */
  leaseSeconds?: number;
  signal?: AbortSignal | undefined;
  /** Told of dead locks that were removed, and of one's own that could not be. */
  onNotice?: ((text: string) => void) | undefined;
}

export interface Lock {
  /** Aborted as soon as it is known that the lock is not ours any more: what is written then may be in others' way. */
  lost: AbortSignal;
  /** Fails with `busy` if the lock is no longer ours: somebody took us for dead. */
  assertHeld(): Promise<void>;
  /** Never fails: what was done is done, and what failed before is what is to be told. */
  release(): Promise<void>;
}

/** A lock that is there. */
export interface FoundLock {
  key: string;
  /** null: it was released meanwhile, or cannot be read. */
  file: LockFile | null;
  ageMs: number;
  isDead: boolean;
}

const attemptMs = 500;
/** For so long, who was first by name waits for others that came at the same time to step back. */
const yieldMs = 3000;
const yieldAttemptMs = 100;
/** Who finds the lock of another takes its own away again before it is as old as this. */
const tryMs = 5000;
/** For so long, whoever holds a lock waits for a moment at which nobody tries. */
const settleMs = 10_000;

/** Takes the lock of the image. `busy` if another live one is there, and still is after `waitMs`. */
export async function takeLock(repository: Repository, image: ImageName, options: LockOptions): Promise<Lock> {
  const { store } = repository;
  const { leaseSeconds = 300, waitMs = 0, signal } = options;
  const nonce = randomBytes(8).toString('hex');
  const key = `${lockFolder(image)}${nonce}.json`;
  const owner = { host: hostname(), pid: process.pid, startTime: await startTimeOf(process.pid), id: nonce };
  const bytes = encodeLockFile({
    format: 1,
    owner,
    operation: options.operation,
    acquired: new Date(await store.nowMs()).toISOString(),
    leaseSeconds,
  });
  const giveUpMs = performance.now() + waitMs;
  for (;;) {
    signal?.throwIfAborted();
    let other: FoundLock | null;
    try {
      await store.put(key, bytes);
      other = await otherAfterYield(repository, image, key, options);
    } catch (error) {
      // It may be there, though the answer was lost.
      await discard(store, key).catch(() => {});
      throw error;
    }
    if (other === null) break;
    await discard(store, key);
    if (performance.now() >= giveUpMs) throw heldBy(other, image);
    // not in step with the other, who may retreat from us as we do from them
    await sleep(attemptMs * (0.5 + Math.random()), undefined, signal ? { signal } : {});
  }

  const lost = new AbortController();
  const takenAway = (): RbdeltaError =>
    new RbdeltaError('busy', `the lock of ${textOf(image)} was taken away from us: nothing is committed`, {
      hint: 'rbdelta repo list shows what is there; run the command again',
    });
  let renewedMs = performance.now();
  /** By the other clock, which goes on while the machine sleeps. */
  let renewedAtMs = Date.now();
  /** Others may have taken us for dead. */
  let wasSilent = false;
  const renew = async (): Promise<void> => {
    const [beganMs, beganAtMs] = [performance.now(), Date.now()];
    wasSilent ||= Math.max(beganMs - renewedMs, beganAtMs - renewedAtMs) > leaseSeconds * 1000;
    try {
      // One that somebody removed does not come back.
      if ((await store.stat(key)) === null) return lost.abort(takenAway());
      await store.put(key, bytes);
      [renewedMs, renewedAtMs] = [beganMs, beganAtMs];
    } catch {
      // Made up for by the next renewal, unless others may take us for dead by now.
      if (performance.now() - renewedMs > leaseSeconds * 1000) lost.abort(takenAway());
    }
  };
  let renewing: Promise<void> = Promise.resolve();
  const timer = setInterval(
    () => {
      renewing = renewing.then(renew);
    },
    (leaseSeconds * 1000) / 3,
  );
  timer.unref();
  return {
    lost: lost.signal,
    async assertHeld() {
      lost.signal.throwIfAborted();
      // A renewal that was under way for long may have put it back beside that of another. Our own is read as well: not
      // every list is up to date about what was removed.
      // Who merely tries puts its own beside ours for a moment, and steps back; who took ours away stays.
      const giveUpMs = performance.now() + settleMs;
      for (;;) {
        const locks = await listLocks(repository, image);
        const others = locks.filter((lock) => lock.key !== key && !lock.isDead);
        const isOurs = locks.some((lock) => lock.key === key);
        if (isOurs && others.length === 0) return;
        if (!isOurs || wasSilent || others.some(({ ageMs }) => ageMs >= tryMs)) throw takenAway();
        if (performance.now() >= giveUpMs) return; // all of them came anew meanwhile, again and again
        await sleep(yieldAttemptMs);
      }
    },
    async release() {
      clearInterval(timer);
      await renewing;
      try {
        await discard(store, key);
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        options.onNotice?.(`the lock of ${textOf(image)} stays until its lease is over: ${reason}`);
      }
    },
  };
}

/** Tried twice: a lock of a process that lives on would keep everybody away until its lease is over. */
const discard = (store: Store, key: string): Promise<number> => store.remove([key]).catch(() => store.remove([key]));

/** All locks of the image but that of `ownKey`, dead ones too. */
export async function listLocks(
  repository: Repository,
  image: ImageName,
  ownKey: string | null = null,
): Promise<FoundLock[]> {
  const { store } = repository;
  const found: FoundLock[] = [];
  let nowMs: number | null = null;
  for await (const { key, modifiedMs } of store.list(lockFolder(image))) {
    if (key === ownKey) continue;
    const bytes = await store.get(key, smallFileBytes);
    if (bytes === null) continue;
    nowMs ??= await store.nowMs();
    const file = readable(bytes, key);
    const ageMs = Math.max(0, nowMs - modifiedMs);
    const leaseMs = (file?.leaseSeconds ?? 300) * 1000;
    found.push({ key, file, ageMs, isDead: ageMs > leaseMs || (file !== null && (await isGone(file.owner))) });
  }
  return found;
}

const lockFolder = (image: ImageName): string => `${imageFolder(image)}lock/`;

/** A lock whose content nobody can read holds until its lease is over. */
function readable(bytes: Buffer, key: string): LockFile | null {
  try {
    return decodeLockFile(bytes, key);
  } catch {
    return null;
  }
}

/**
 * Somebody else's live lock. If all others are new and behind ours by name, they may be of who steps back from ours now, as
 * we would from theirs: without an order, two that come at once would both give up.
 */
async function otherAfterYield(
  repository: Repository,
  image: ImageName,
  ownKey: string,
  options: LockOptions,
): Promise<FoundLock | null> {
  const giveUpMs = performance.now() + yieldMs;
  for (;;) {
    const others = await othersLive(repository, image, ownKey, options);
    const [first] = others;
    if (first === undefined) return null;
    const mayYield = others.every(({ key, ageMs }) => key > ownKey && ageMs < yieldMs);
    if (!mayYield || performance.now() >= giveUpMs) return first;
    await sleep(yieldAttemptMs, undefined, options.signal ? { signal: options.signal } : {});
  }
}

/** Live locks of others; dead ones are removed on the way. */
async function othersLive(
  repository: Repository,
  image: ImageName,
  ownKey: string,
  { onNotice }: LockOptions,
): Promise<FoundLock[]> {
  const live: FoundLock[] = [];
  for (const lock of await listLocks(repository, image, ownKey)) {
    if (!lock.isDead) {
      live.push(lock);
      continue;
    }
    await repository.store.remove([lock.key]);
    onNotice?.(`removed a dead lock of ${textOf(image)}: ${describeLock(lock)}`);
  }
  return live;
}

/** `backup by process 7 on host, last seen 3 s ago` */
export const describeLock = ({ file, ageMs }: FoundLock): string => {
  const age = `${Math.round(ageMs / 1000)} s ago`;
  if (file === null) return `one that cannot be read, last written ${age}`;
  const { owner, operation } = file;
  return `${operation} by process ${owner.pid} on ${owner.host}, last seen ${age}`;
};

const heldBy = (lock: FoundLock, image: ImageName): RbdeltaError =>
  new RbdeltaError('busy', `${textOf(image)} is locked: ${describeLock(lock)}`, {
    hint:
      'wait for it with --wait SECONDS; if that process is gone for good: ' +
      `rbdelta repo unlock --force REPOSITORY ${printable(textOf(image))}`,
  });

/** Whether the owner was a process that we would see, and is no more. */
async function isGone({ pid, startTime }: LockFile['owner']): Promise<boolean> {
  const here = await placeOf();
  if (here === null || !startTime?.startsWith(`${here} `)) return false;
  return (await startTimeOf(pid)) !== startTime;
}

/** What tells a process from a later one with the same pid: where it runs, and its start in ticks. */
async function startTimeOf(pid: number): Promise<string | null> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
    // The name of the command, in parentheses, may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const here = await placeOf();
    return here === null ? null : `${here} ${fields[19]}`;
  } catch {
    return null;
  }
}

/** This boot of this machine, and the namespace of pids: a container sees no processes outside, hosts share names. */
async function placeOf(): Promise<string | null> {
  try {
    const boot = (await readFile('/proc/sys/kernel/random/boot_id', 'utf8')).trim();
    return `${boot} ${await readlink('/proc/self/ns/pid')}`;
  } catch {
    return null;
  }
}
