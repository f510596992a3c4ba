// Room kept in the file of the database: what LMDB writes there then meets no full disk, and what frees space still works.

import { closeSync, fstatSync, openSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import type { RootDatabase } from 'lmdb';
import { codeOfErrno, RbdeltaError } from '../../error.ts';

/** As far ahead of the last page in use the file is made to reach; below the half of it, it is done again. */
export const reserveBytes = 1 << 20;
/** What a transaction is about: what frees space, or a lock, may use what is kept. Pages are used again, so it lasts. */
export type Use = keyof typeof leastBytes;

/** How much must be left; with that of `frees`, an image can be closed that was opened. */
const leastBytes = { grows: reserveBytes / 2, frees: reserveBytes / 4, ends: 0 } as const;

/** What the types of LMDB leave out; `getStats` tells it as well, but takes ten times as long. */
interface Informed {
  env: { info(): { lastPageNumber: number } };
}

export class Reserve {
  readonly #path: string;
  readonly #root: RootDatabase<Buffer, Uint8Array>;
  readonly #dir: string;
  readonly #pageBytes: number;
  /** Bytes of the file when it was last looked at: it never shrinks. */
  #fileBytes = 0;

  constructor(dir: string, path: string, root: RootDatabase<Buffer, Uint8Array>) {
    this.#dir = dir;
    this.#path = join(path, 'data.mdb');
    this.#root = root;
    this.#pageBytes = (root.getStats() as { pageSize: number }).pageSize;
  }

  /** To be called before a transaction, outside of any; throws `noSpace` when the disk is too full for it. */
  keep(use: Use): void {
    if (this.#left() >= leastBytes.grows) return;
    // who holds LMDB's lock for writers is the only one to write there
    const full = this.#root.transactionSync(() => this.#extend());
    if (full === null || this.#left() >= leastBytes[use]) return;
    throw new RbdeltaError('noSpace', `the disk with the local pool in ${this.#dir} is full`, {
      hint: 'free some space on it, then run it again; removing snapshots or images of the pool may do as well',
      cause: full,
    });
  }

  #left(): number {
    return this.#fileBytes - this.#usedBytes();
  }

  #usedBytes(): number {
    return ((this.#root as unknown as Informed).env.info().lastPageNumber + 1) * this.#pageBytes;
  }

  /** The error when the disk has no more. Zeros, since a hole would reserve nothing. */
  #extend(): unknown {
    const used = this.#usedBytes();
    const file = openSync(this.#path, 'r+');
    try {
      let at = Math.max(used, fstatSync(file).size);
      const zeros = Buffer.alloc(Math.max(0, used + reserveBytes - at));
      try {
        for (let done = 0; done < zeros.length; ) {
          const bytes = writeSync(file, zeros, done, zeros.length - done, at);
          done += bytes;
          at += bytes;
        }
        return null;
      } catch (error) {
        if (codeOfErrno(String((error as NodeJS.ErrnoException).code)) === 'noSpace') return error;
        throw error;
      } finally {
        this.#fileBytes = fstatSync(file).size;
      }
    } finally {
      closeSync(file);
    }
  }
}
