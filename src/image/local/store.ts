// The local pool's directory: a marker file that tells its version, and one LMDB environment with its tables.

import {
  link,
  mkdir,
  open as openFile,
  readdir,
  readFile,
  rename,
  rm,
  stat,
  truncate,
  writeFile,
} from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { fsyncDirectory } from '../../bytes/sink.ts';
import { nameToBytes } from '../../bytes/text.ts';
import { codeOfErrno, type ErrorCode, RbdeltaError } from '../../error.ts';
import { Reserve, reserveBytes, type Use } from './reserve.ts';
import type { DataObject } from './snapset.ts';

type Bytes = Database<Buffer, Uint8Array>;

/** A put (or a removal) that is under way: it has become visible; `flushed`, which LMDB adds: it is durable. */
export type Put = Promise<boolean>;

/** Sizes from outside that become keys; LMDB's own limit is 1978 bytes for a whole key. */
export const limits = { nameBytes: 1024, metadataKeyBytes: 1024 } as const;

/** Everything but the bytes of data objects. A transaction spans all tables. */
export interface Store {
  readonly dir: string;
  /** Pools and counters (pools.ts), locks (lock.ts), unfinished work (trim.ts). */
  readonly cluster: Bytes;
  /** Key-value pairs of RADOS objects, with RBD's own encodings. */
  readonly omap: Bytes;
  /** Whole contents of small RADOS objects (`rbd_id.<name>`). */
  readonly content: Bytes;
  /** Object maps in blocks: see object-maps.ts. */
  readonly maps: Bytes;
  /** One record for each data object of an image: see snapset.ts. */
  readonly objects: Database<DataObject, Uint8Array>;
  /**
   * Runs `action` in one transaction: durable when this returns, undone when it throws. It blocks for a disk flush:
   * for administration. Throws `noSpace` on a full disk; what `frees` works a while longer. What was put before and not yet awaited comes after it.
   */
  transact<T>(action: () => T, use?: Use): T;
  /** Puts what `puts` puts, which has become visible when this resolves: together what is put in the same turn of the event loop. */
  commit(puts: () => Put[], use?: Use): Promise<void>;
  /** Runs `action`, later, in one transaction with what others put then: visible when this resolves, not yet durable. */
  decide<T>(action: () => T, use?: Use): Promise<T>;
  /** What is read next is of the newest state, also of what other processes have put. */
  renew(): void;
  /** All that was put before is durable. */
  flushed(): Promise<void>;
  close(): Promise<void>;
}

const markerName = 'rbdelta-pool.json';
const version = 1;
/** LMDB takes as many readers as fit: more than 512. */
const readerTableBytes = 64 << 10;

/** Whether `dir` holds a local pool; false when it is absent or empty, `invalid` when it holds something else. */
export async function isStore(dir: string): Promise<boolean> {
  let marker: string;
  try {
    marker = await readFile(join(dir, markerName), 'utf8');
  } catch (error) {
    if (!isErrno(error, 'ENOENT', 'ENOTDIR')) throw error;
    const names = await readdir(dir).catch((cause: unknown) => {
      if (isErrno(cause, 'ENOENT')) return [];
      throw new RbdeltaError('invalid', `${dir} cannot be a local pool: it is not a directory`, { cause });
    });
    if (names.some((name) => name !== `${markerName}.new`)) {
      throw new RbdeltaError('invalid', `${dir} is not a local pool: it has other files, and no ${markerName}`, {
        hint: 'name a directory that is new or empty',
      });
    }
    return false;
  }
  const found = versionOf(marker);
  if (found === null) throw new RbdeltaError('corrupt', `${join(dir, markerName)} is damaged: it tells no version`);
  if (found > version) {
    const message = `the local pool in ${dir} is of version ${found}; this rbdelta knows ${version}`;
    throw new RbdeltaError('unsupported', message, { hint: 'use a newer rbdelta' });
  }
  return true;
}

/** Makes `dir` a local pool. The marker comes first: from then on the rest is made when it is opened. */
export async function initialiseStore(dir: string): Promise<void> {
  const marker = join(dir, markerName);
  try {
    await mkdir(dir, { recursive: true });
    const file = await openFile(`${marker}.new`, 'w');
    try {
      await file.writeFile(`${JSON.stringify({ format: 'rbdelta local pool', version })}\n`);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(`${marker}.new`, marker);
    await fsyncDirectory(dir);
  } catch (cause) {
    throw notMade(cause, `the local pool in ${dir} cannot be made`);
  }
}

/** Throws `corrupt` where there are files of objects, and not the database that tells what they are. */
export async function openStore(dir: string): Promise<Store> {
  const path = join(dir, 'omap');
  await refuseLostDatabase(dir, join(path, 'data.mdb'));
  try {
    await mkdir(path, { recursive: true });
    await makeReaderTable(path);
    // commits are not waited for to be durable (`separateFlushed`), except where the order of writes needs it
    const root = open<Buffer, Uint8Array>({
      path,
      noSubdir: false,
      separateFlushed: true,
      maxDbs: 8,
      maxReaders: 512,
      ...binary,
    });
    return storeIn(dir, path, root);
  } catch (cause) {
    throw notMade(cause, `the local pool in ${dir} does not open`);
  }
}

async function refuseLostDatabase(dir: string, database: string): Promise<void> {
  if (await hasContent(database)) return;
  const pools = await readdir(join(dir, 'objects')).catch((error: unknown) => {
    if (isErrno(error, 'ENOENT')) return [];
    throw notMade(error, `the local pool in ${dir} does not open`);
  });
  // once more: who makes the pool meanwhile makes its database before any file
  if (pools.length === 0 || (await hasContent(database))) return;
  const message = `the local pool in ${dir} is damaged: it has files of objects, and its database ${database} is gone`;
  throw new RbdeltaError('corrupt', message, {
    hint: 'put the database back from a copy of the whole directory; without it, nothing tells whose files those are',
  });
}

const hasContent = (path: string): Promise<boolean> =>
  stat(path).then(
    ({ size }) => size > 0,
    () => false,
  );

function storeIn(dir: string, path: string, root: RootDatabase<Buffer, Uint8Array>): Store {
  // readers that were killed would keep old pages from being used again
  root.readerCheck();
  const reserve = new Reserve(dir, path, root);
  const table = (name: string): Bytes => root.openDB<Buffer, Uint8Array>({ name, ...binary });
  return {
    dir,
    cluster: table('cluster'),
    omap: table('omap'),
    content: table('content'),
    maps: table('maps'),
    objects: root.openDB<DataObject, Uint8Array>({ name: 'objects', encoding: 'msgpack', keyEncoding: 'binary' }),
    transact(action, use = 'grows') {
      reserve.keep(use);
      try {
        return root.transactionSync(action);
      } catch (cause) {
        throw asFailure(cause, dir);
      }
    },
    async commit(puts, use = 'grows') {
      reserve.keep(use);
      try {
        await Promise.all(puts());
      } catch (cause) {
        throw asFailure(await reasonOf(cause, root), dir);
      }
    },
    async decide(action, use = 'grows') {
      reserve.keep(use);
      try {
        return await root.transaction(action);
      } catch (cause) {
        throw asFailure(await reasonOf(cause, root), dir);
      }
    },
    renew: () => root.resetReadTxn(),
    // not `root.flushed`, which never comes after a commit that failed
    flushed: () =>
      new Promise<void>((done, failed) => {
        (root as unknown as Syncing).sync((error) => (error == null ? done() : failed(asFailure(error, dir))));
      }),
    close: () => root.close(),
  };
}

/** What the types of LMDB leave out: all that is committed becomes durable. */
interface Syncing {
  sync(done: (error?: Error | null) => void): void;
}

const binary = { encoding: 'binary', keyEncoding: 'binary' } as const;

/** The start of the keys of one RADOS object: pool, namespace, name, a zero byte; what follows is the table's own. */
export function objectKey(poolId: number, namespace: string, object: string): Buffer {
  const space = nameToBytes(namespace);
  const name = nameToBytes(object);
  const key = Buffer.alloc(4 + space.length + 1 + name.length + 1);
  key.writeUInt32BE(poolId, 0);
  key.set(space, 4);
  key.set(name, 4 + space.length + 1);
  return key;
}

/** Keys that start with `prefix`, which does not end in 0xff: the range up to, and not with, the key after them. */
export function within(prefix: Uint8Array): Range {
  const start = Buffer.from(prefix);
  const end = Buffer.from(prefix);
  end[end.length - 1]! += 1;
  return { start, end };
}

/** Keys in a range, as copies: what is iterated must not change meanwhile. */
export const keysIn = (table: KeyRange, range: Range): Buffer[] =>
  Array.from(table.getKeys({ ...range }), (key) => Buffer.from(key));

/** In a transaction. */
export function removeRange(table: KeyRange & { remove(key: Uint8Array): unknown }, range: Range): void {
  for (const key of keysIn(table, range)) table.remove(key);
}

interface Range {
  start: Buffer;
  end: Buffer;
  limit?: number;
}

interface KeyRange {
  getKeys(range: Range): Iterable<Uint8Array>;
}

export const isErrno = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

/**
 * Who reads is entered in a mapped file: where that has holes, a full disk ends the process (SIGBUS). So it is made whole
 * before LMDB makes it, and is there with all its bytes or not at all. Nor does LMDB survive (SIGSEGV) that it cannot make
 * its other file: there is room for that, and for what is kept free in it.
 */
async function makeReaderTable(path: string): Promise<void> {
  const table = join(path, 'lock.mdb');
  if (await stat(table).catch(() => null)) return;
  const made = join(path, `${process.pid}.new`);
  try {
    await writeFile(made, Buffer.alloc(readerTableBytes + 2 * reserveBytes));
    await truncate(made, readerTableBytes);
    await link(made, table);
  } catch (error) {
    if (!isErrno(error, 'EEXIST')) throw error;
  } finally {
    await rm(made, { force: true });
  }
}

/** The commit that failed tells why later; and until another one was done, LMDB would wait for it for ever when it is closed. */
async function reasonOf(cause: unknown, root: RootDatabase<Buffer, Uint8Array>): Promise<unknown> {
  if (!(cause instanceof Error && 'commitError' in cause)) return cause;
  const reason = await Promise.resolve(cause.commitError).catch((error: unknown) => error);
  await root.remove(Buffer.from('nothing')).catch(() => undefined);
  return reason;
}

const isFull = (cause: unknown): boolean =>
  isErrno(cause, 'ENOSPC', 'EDQUOT', '28') ||
  (cause instanceof Error && /No space left|MDB_MAP_FULL/.test(cause.message));

/** What LMDB throws when it cannot write, as an error that callers know; other errors as they are. */
function asFailure(cause: unknown, dir: string): unknown {
  if (!(cause instanceof Error) || cause instanceof RbdeltaError) return cause;
  if (!isFull(cause) && !/MDB_|error:|Commit failed/i.test(cause.message)) return cause;
  return failure(cause, isFull(cause) ? 'noSpace' : 'io', `the local pool in ${dir} could not be written`);
}

/** Of the directory itself: what the system says of it. */
function notMade(cause: unknown, what: string): RbdeltaError {
  const errno = cause instanceof Error && 'code' in cause ? String(cause.code) : '';
  return failure(cause, isFull(cause) ? 'noSpace' : codeOfErrno(errno), what);
}

function failure(cause: unknown, code: ErrorCode, what: string): RbdeltaError {
  const message = `${what}: ${cause instanceof Error ? cause.message : String(cause)}`;
  const hint = code === 'noSpace' ? { hint: 'free some space on this disk, then run it again' } : {};
  return new RbdeltaError(code, message, { cause, ...hint });
}

function versionOf(marker: string): number | null {
  try {
    const parsed: unknown = JSON.parse(marker);
    const found = typeof parsed === 'object' && parsed !== null && 'version' in parsed ? parsed.version : null;
    return typeof found === 'number' ? found : null;
  } catch {
    return null;
  }
}
