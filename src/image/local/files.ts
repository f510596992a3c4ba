// The files with the bytes of an image's data objects: a bounded set of open ones, and which of them are not yet durable.

import { constants, close, fdatasync, ftruncate, open, read, write } from 'node:fs';
import { copyFile, mkdir, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { fsyncDirectory } from '../../bytes/sink.ts';
import { RbdeltaError, codeOfErrno } from '../../error.ts';
import { inParallel } from './parallel.ts';
import { isErrno } from './store.ts';

const calls = {
  open: promisify(open),
  close: promisify(close),
  fdatasync: promisify(fdatasync),
  ftruncate: promisify(ftruncate),
};

/** How many files of an image stay open. */
const openFiles = 256;
/** How many files are made durable, or removed, at once. */
const filesAtOnce = 32;
/** Objects in one directory. */
const perDirectory = 1024;

interface OpenFile {
  fd: Promise<number>;
  users: number;
}

/**
 * Where an image's files are: `DIR/objects/<data pool id>/<image>/<object / 1024>/<object>.<name>`, all of it made of
 * numbers and ids that the pool gave: no name from outside becomes a path.
 */
export const imageDirectory = (dir: string, dataPoolId: number, objectPrefix: string): string => {
  const image = /^rbd_data\.([0-9a-f.]+)$/.exec(objectPrefix)?.[1];
  if (image === undefined || image.startsWith('.')) {
    throw new RbdeltaError('corrupt', `the object prefix ${objectPrefix} is none that a local pool gives`);
  }
  return join(poolDirectory(dir, dataPoolId), image);
};

/** Where all files of a pool are. */
export const poolDirectory = (dir: string, poolId: number): string => join(dir, 'objects', String(poolId));

/** Files are named by the object and by what the record of the object says. */
export class ObjectFiles {
  readonly #dir: string;
  readonly #writable: boolean;
  readonly #open = new Map<string, OpenFile>();
  #dirty = new Set<string>();
  #dirtyDirectories = new Set<string>();
  /** The last flush that was asked for; it never rejects. */
  #flushing: Promise<unknown> = Promise.resolve();
  /** Why something could not be made durable: the system does not try it again, so nothing can be said of it any more. */
  #lost: unknown = null;
  #users = 0;
  #closing: Promise<void> | null = null;
  #lastLeft = () => {};

  constructor(dir: string, writable: boolean) {
    this.#dir = dir;
    this.#writable = writable;
  }

  path(objectNo: number, file: string): string {
    const group = Math.floor(objectNo / perDirectory);
    return join(this.#dir, group.toString(16).padStart(6, '0'), `${objectNo.toString(16).padStart(16, '0')}.${file}`);
  }

  /** Reads what the file has of the range; the rest of `into` becomes zeros. False when there is no such file. */
  async read(path: string, into: Uint8Array, offset: number): Promise<boolean> {
    const found = await this.#with(path, async (fd) => {
      let at = 0;
      while (at < into.length) {
        const bytes = await readAt(fd, into, at, offset + at);
        if (bytes === 0) break;
        at += bytes;
      }
      into.fill(0, at);
    });
    if (!found) into.fill(0);
    return found;
  }

  async write(path: string, data: Uint8Array, offset: number): Promise<void> {
    await this.#change(path, async (fd) => {
      for (let at = 0; at < data.length; ) at += await writeAt(fd, data, at, offset + at);
    });
  }

  /** Bytes of the file; null when there is none. */
  async size(path: string): Promise<number | null> {
    return sizeOf(path);
  }

  async truncate(path: string, size: number): Promise<void> {
    await this.#change(path, (fd) => calls.ftruncate(fd, size));
  }

  /** Makes an empty file; names never come again, so one that is there is damage. */
  async create(path: string): Promise<void> {
    const fd = await this.#make(path, constants.O_EXCL);
    this.#open.set(path, { fd: Promise.resolve(fd), users: 0 });
    await this.#closeIdle();
  }

  /** Takes an existing file for new, so that the next flush makes its name durable; one that is missing is made, empty. */
  async keep(path: string): Promise<void> {
    if (!(await this.#with(path, async () => {}))) await calls.close(await this.#make(path));
    this.#dirty.add(path);
    this.#newName(path);
  }

  /** Makes `to` with the content of `from`, sharing its blocks where the file system can. */
  async copy(from: string, to: string): Promise<void> {
    try {
      await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      this.#dirty.add(to);
      this.#dirtyDirectories.add(dirname(to));
    } catch (error) {
      throw asFailure(error, to);
    }
  }

  /** Makes this one file durable, its name as well: a new file, which the caller removes when that fails. */
  async sync(path: string): Promise<void> {
    await this.#sync(path);
    await syncDirectory(dirname(path));
  }

  /**
   * Makes everything that was written durable; after the flushes before it, since these take what they flush. Once that
   * failed, it fails for good: files have to be opened anew, and what was written since the last flush to be written again.
   */
  syncAll(): Promise<void> {
    const flush = this.#flushing.then(() => this.#syncDirty());
    this.#flushing = flush.catch(() => {});
    return flush;
  }

  async #syncDirty(): Promise<void> {
    const paths = [...this.#dirty].map((path) => () => this.#sync(path));
    const directories = [...this.#dirtyDirectories].map((path) => () => syncDirectory(path));
    this.#dirty = new Set();
    this.#dirtyDirectories = new Set();
    await this.#durably(() => inParallel([...paths, ...directories], filesAtOnce, (sync) => sync()));
  }

  async #durably(action: () => Promise<void>): Promise<void> {
    if (this.#lost !== null) {
      const message = 'what was written to the image since its last flush may be lost, since a flush has failed';
      const hint = 'close the image, open it again, and write that again';
      throw new RbdeltaError('io', message, { cause: this.#lost, hint });
    }
    try {
      await action();
    } catch (error) {
      this.#lost ??= error;
      throw error;
    }
  }

  /** Removes files that no record names any longer. A crash before it is done leaves files that `sweep` finds. */
  async remove(paths: readonly string[]): Promise<void> {
    await inParallel(paths, filesAtOnce, async (path) => {
      const file = this.#open.get(path);
      if (file?.users === 0) {
        this.#open.delete(path);
        await calls.close(await file.fd);
      }
      this.#dirty.delete(path);
      await unlink(path).catch((error: unknown) => {
        if (!isErrno(error, 'ENOENT')) throw asFailure(error, path);
      });
    });
  }

  /** Waits for who uses a file. Afterwards none can be read or written. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    if (this.#users > 0) await new Promise<void>((done) => (this.#lastLeft = done));
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await calls.close(await file.fd).catch(() => {});
  }

  async #sync(path: string): Promise<void> {
    await this.#with(path, calls.fdatasync);
  }

  async #change(path: string, action: (fd: number) => Promise<unknown>): Promise<void> {
    try {
      if (!(await this.#with(path, action))) throw gone(path);
    } finally {
      // not before: a flush that is under way may have passed this file already
      this.#dirty.add(path);
    }
  }

  async #make(path: string, exclusive = 0): Promise<number> {
    const make = () => calls.open(path, constants.O_RDWR | constants.O_CREAT | exclusive, 0o644);
    let fd: number;
    try {
      fd = await make();
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw asFailure(error, path);
      await this.#makeDirectory(dirname(path));
      fd = await make().catch((again: unknown) => {
        throw asFailure(again, path);
      });
    }
    this.#dirty.add(path);
    this.#dirtyDirectories.add(dirname(path));
    return fd;
  }

  async #makeDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true }).catch((error: unknown) => {
      throw asFailure(error, path);
    });
    this.#newName(path);
  }

  /** The directories of the image, of its pool and of all objects may be new as well: each has its name in the one above. */
  #newName(path: string): void {
    let above = path;
    for (let level = 0; level < 4; level += 1) {
      above = dirname(above);
      this.#dirtyDirectories.add(above);
    }
  }

  /** False when the file does not exist. */
  async #with(path: string, action: (fd: number) => Promise<unknown>): Promise<boolean> {
    if (this.#closing !== null) throw new TypeError(`${path} is closed`);
    let file = this.#open.get(path);
    if (file === undefined) {
      file = { fd: calls.open(path, this.#writable ? 'r+' : 'r'), users: 0 };
    }
    // last used last
    this.#open.delete(path);
    this.#open.set(path, file);
    file.users += 1;
    this.#users += 1;
    try {
      const fd = await file.fd;
      await action(fd);
      return true;
    } catch (error) {
      if (await isOpen(file)) throw asFailure(error, path);
      if (this.#open.get(path) === file) this.#open.delete(path);
      if (isErrno(error, 'ENOENT')) return false;
      throw asFailure(error, path);
    } finally {
      file.users -= 1;
      await this.#closeIdle().finally(() => {
        this.#users -= 1;
        if (this.#users === 0) this.#lastLeft();
      });
    }
  }

  async #closeIdle(): Promise<void> {
    while (this.#open.size > openFiles) {
      const idle = [...this.#open].find(([, file]) => file.users === 0);
      if (idle === undefined) return;
      this.#open.delete(idle[0]);
      await calls.close(await idle[1].fd);
    }
  }
}

const gone = (path: string): RbdeltaError =>
  new RbdeltaError('corrupt', `the file ${path} of an object is gone`, { hint: 'restore the image from a backup' });

const syncDirectory = (path: string): Promise<void> =>
  fsyncDirectory(path).catch((error: unknown) => {
    throw asFailure(error, path);
  });

/** Removes the whole directory of an image. */
export const removeDirectory = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

/** Bytes of a file; 0 when there is none. */
export const bytesOf = async (path: string): Promise<number> => (await sizeOf(path)) ?? 0;

async function sizeOf(path: string): Promise<number | null> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return null;
    throw asFailure(error, path);
  }
}

const readAt = (fd: number, into: Uint8Array, at: number, position: number): Promise<number> =>
  new Promise((done, failed) => {
    read(fd, into, at, into.length - at, position, (error, bytes) => (error ? failed(error) : done(bytes)));
  });

const writeAt = (fd: number, data: Uint8Array, at: number, position: number): Promise<number> =>
  new Promise((done, failed) => {
    write(fd, data, at, data.length - at, position, (error, bytes) => (error ? failed(error) : done(bytes)));
  });

const isOpen = (file: OpenFile): Promise<boolean> =>
  file.fd.then(
    () => true,
    () => false,
  );

const asFailure = (error: unknown, path: string): unknown => {
  if (!(error instanceof Error) || !('code' in error) || error instanceof RbdeltaError) return error;
  const code = codeOfErrno(String(error.code));
  const hint = code === 'noSpace' ? { hint: 'free some space on this disk, then run it again' } : {};
  return new RbdeltaError(code, `the local pool cannot use ${path}: ${error.message}`, { cause: error, ...hint });
};
