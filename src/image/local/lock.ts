// One writer for each image: a record in the store that names a process, taken over when that process is gone.

import { readFileSync, readlinkSync } from 'node:fs';
import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { Watcher } from '../port.ts';
import type { Store } from './store.ts';

export interface Holder {
  pid: number;
  /** When the process started, in ticks since the boot: a pid comes again, both together do not. */
  started: string;
  /** Which boot of which machine that was. */
  boot: string;
  /** Which space of process ids: inside a container, other pids are seen than outside. */
  pids: string;
  /** Which time that this image was opened to write. */
  session: number;
}

export interface WriterLock<Found extends Lockable> {
  readonly image: Found;
  /** A number that no writer of this image had before. */
  readonly session: number;
  release(): void;
}

interface Lockable {
  dataPoolId: number;
  prefix: string;
  name: string;
}

const lockKey = (dataPoolId: number, objectPrefix: string): Buffer => Buffer.from(`lock/${dataPoolId}/${objectPrefix}`);
const sessionKey = (dataPoolId: number, objectPrefix: string): Buffer =>
  Buffer.from(`session/${dataPoolId}/${objectPrefix}`);

/**
 * Takes the image that `find` finds, which is called in the transaction that takes it: it may have got another name or be
 * gone a moment before. Throws `busy` while another living process, or another writer in this one, has it.
 * A process that ended without releasing loses it: its record stays until the next writer comes.
 */
export function lockImage<Found extends Lockable>(store: Store, find: () => Found): WriterLock<Found> {
  const { image, key, session } = store.transact(() => {
    const image = find();
    refuseOpen(store, image);
    const { dataPoolId, prefix } = image;
    const key = lockKey(dataPoolId, prefix);
    const session = Number(store.cluster.get(sessionKey(dataPoolId, prefix))?.toString() ?? 0) + 1;
    void store.cluster.put(sessionKey(dataPoolId, prefix), Buffer.from(String(session)));
    void store.cluster.put(key, Buffer.from(JSON.stringify({ ...thisProcess(), session })));
    return { image, key, session };
  }, 'frees');
  return {
    image,
    session,
    release() {
      store.transact(() => {
        if (parse(store.cluster.get(key))?.session === session) void store.cluster.remove(key);
      }, 'ends');
    },
  };
}

/** Throws `busy` while a living process has the image open to write. What one transaction does needs no more than that. */
export function refuseOpen(store: Store, image: Lockable): void {
  const holder = parse(store.cluster.get(lockKey(image.dataPoolId, image.prefix)));
  if (holder !== null && isAlive(holder)) throw busy(image.name, holder);
}

/** Whether a living process has the image open to write. */
export function isLocked(store: Store, image: { dataPoolId: number; prefix: string }): boolean {
  const holder = parse(store.cluster.get(lockKey(image.dataPoolId, image.prefix)));
  return holder !== null && isAlive(holder);
}

/** The process that has the image open to write: who reads leaves no trace. */
export function watchersOf(store: Store, image: { dataPoolId: number; prefix: string }): Watcher[] {
  const holder = parse(store.cluster.get(lockKey(image.dataPoolId, image.prefix)));
  if (holder === null || !isAlive(holder)) return [];
  return [{ address: 'local', client: holder.pid, cookie: holder.session }];
}

/** Whether an image with this prefix is there: in whatever pool and namespace its header is. */
export const isKnown = (store: Store, dataPoolId: number, objectPrefix: string): boolean =>
  store.cluster.doesExist(sessionKey(dataPoolId, objectPrefix));

/** In the transaction that makes the image. */
export function makeKnown(store: Store, dataPoolId: number, objectPrefix: string): void {
  void store.cluster.put(sessionKey(dataPoolId, objectPrefix), Buffer.from('0'));
}

/** Forgets a removed image. In a transaction. */
export function dropLock(store: Store, image: { dataPoolId: number; prefix: string }): void {
  void store.cluster.remove(lockKey(image.dataPoolId, image.prefix));
  void store.cluster.remove(sessionKey(image.dataPoolId, image.prefix));
}

function busy(name: string, holder: Holder): RbdeltaError {
  const who = holder.pid === process.pid ? 'this process' : `process ${holder.pid}`;
  return new RbdeltaError('busy', `image '${printable(name)}' is open for writing in ${who}`, {
    hint: holder.pid === process.pid ? 'close it first' : 'wait until that process has ended, or end it',
  });
}

export function thisProcess(): Omit<Holder, 'session'> {
  return { pid: process.pid, started: startOf(process.pid) ?? '', boot: bootId(), pids: pidSpace() };
}

/** When it cannot be told, it is alive. */
export function isAlive(holder: Omit<Holder, 'session'>): boolean {
  if (holder.boot !== bootId()) return false;
  if (holder.pids !== pidSpace()) return true;
  if (holder.started !== '') return startOf(holder.pid) === holder.started;
  try {
    process.kill(holder.pid, 0);
    return true;
  } catch {
    return false;
  }
}

/** Field 22 of /proc/PID/stat; the name of the program, which is before it, may hold anything. */
function startOf(pid: number): string | null {
  const stat = read(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? null;
}

const bootId = (): string => read('/proc/sys/kernel/random/boot_id').trim();

function pidSpace(): string {
  try {
    return readlinkSync('/proc/self/ns/pid');
  } catch {
    return '';
  }
}

function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function parse(bytes: Buffer | undefined): Holder | null {
  return bytes === undefined ? null : (JSON.parse(bytes.toString()) as Holder);
}
