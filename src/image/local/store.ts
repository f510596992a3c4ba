// The local pool's directory: a marker file that tells its version, and one LMDB environment with its tables.

import { mkdir, open as openFile, readdir, readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { type Database, open, type RootDatabase } from 'lmdb';
import { fsyncDirectory } from '../../bytes/sink.ts';
import { nameToBytes } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
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
   * for administration. What was put before and not yet awaited comes after it.
   */
  transact<T>(action: () => T): T;
  /** All that was put before has become visible, together where it was put in the same turn of the event loop. */
  committed(puts: Put[]): Promise<void>;
  /** All that was put before is durable. */
  flushed(): Promise<void>;
  close(): Promise<void>;
}

const markerName = 'rbdelta-pool.json';
const version = 1;

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
  await mkdir(dir, { recursive: true });
  const marker = join(dir, markerName);
  const file = await openFile(`${marker}.new`, 'w');
  try {
    await file.writeFile(`${JSON.stringify({ format: 'rbdelta local pool', version })}\n`);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(`${marker}.new`, marker);
  await fsyncDirectory(dir);
}

export async function openStore(dir: string): Promise<Store> {
  const path = join(dir, 'omap');
  await mkdir(path, { recursive: true });
  let root: RootDatabase<Buffer, Uint8Array>;
  try {
    // commits are not waited for to be durable (`separateFlushed`), except where the order of writes needs it
    root = open({ path, noSubdir: false, separateFlushed: true, maxDbs: 8, maxReaders: 512, ...binary });
  } catch (cause) {
    throw new RbdeltaError('io', `the local pool in ${dir} does not open: ${String(cause)}`, { cause });
  }
  // readers that were killed would keep old pages from being used again
  root.readerCheck();
  const table = (name: string): Bytes => root.openDB<Buffer, Uint8Array>({ name, ...binary });
  return {
    dir,
    cluster: table('cluster'),
    omap: table('omap'),
    content: table('content'),
    maps: table('maps'),
    objects: root.openDB<DataObject, Uint8Array>({ name: 'objects', encoding: 'msgpack', keyEncoding: 'binary' }),
    transact(action) {
      try {
        return root.transactionSync(action);
      } catch (cause) {
        throw asFailure(cause, dir);
      }
    },
    async committed(puts) {
      try {
        await Promise.all(puts);
      } catch (cause) {
        throw asFailure(cause, dir);
      }
    },
    async flushed() {
      await root.flushed;
    },
    close: () => root.close(),
  };
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
}

interface KeyRange {
  getKeys(range: Range): Iterable<Uint8Array>;
}

export const isErrno = (error: unknown, ...codes: string[]): boolean =>
  error instanceof Error && 'code' in error && codes.includes(String(error.code));

/** What LMDB throws when it cannot write, as an error that callers know; other errors as they are. */
function asFailure(cause: unknown, dir: string): unknown {
  if (!(cause instanceof Error) || cause instanceof RbdeltaError) return cause;
  const full = cause.message.includes('No space left') || cause.message.includes('MDB_MAP_FULL');
  if (!full && !/MDB_|error:|Commit failed/i.test(cause.message)) return cause;
  const message = `the local pool in ${dir} could not be written: ${cause.message}`;
  return new RbdeltaError(full ? 'noSpace' : 'io', message, { cause });
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
