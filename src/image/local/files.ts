// The files with the bytes of an image's data objects: a bounded set of open ones, and which of them are not yet durable.

import { constants, close, fdatasync, ftruncate, open, read, write } from 'node:fs';
import { copyFile, mkdir, rm, stat, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { RbdeltaError, codeOfErrno } from '../../error.ts';
import { isErrno, syncDirectory } from './store.ts';

const calls = {
  open: promisify(open),
  close: promisify(close),
  fdatasync: promisify(fdatasync),
  ftruncate: promisify(ftruncate),
};

/** How many files of an image stay open. */
const openFiles = 256;
/** How many files are made durable at once. */
const syncs = 8;
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
  return join(dir, 'objects', String(dataPoolId), image);
};

/** Files are named by the object and by what the record of the object says; a missing file is one without content. */
export class ObjectFiles {
  readonly #dir: string;
  readonly #writable: boolean;
  readonly #open = new Map<string, OpenFile>();
  #dirty = new Set<string>();
  #dirtyDirectories = new Set<string>();

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
    this.#dirty.add(path);
    const found = await this.#with(path, async (fd) => {
      for (let at = 0; at < data.length; ) at += await writeAt(fd, data, at, offset + at);
    });
    if (!found) throw new RbdeltaError('corrupt', `the local pool is damaged: ${path} is missing`);
  }

  /** Bytes of the file; 0 when there is none. */
  async size(path: string): Promise<number> {
    return bytesOf(path);
  }

  async truncate(path: string, size: number): Promise<void> {
    this.#dirty.add(path);
    await this.#with(path, (fd) => calls.ftruncate(fd, size));
  }

  /** Makes an empty file; names never come again, so one that is there is damage. */
  async create(path: string): Promise<void> {
    const make = () => calls.open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o644);
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
    this.#open.set(path, { fd: Promise.resolve(fd), users: 0 });
    this.#dirty.add(path);
    this.#dirtyDirectories.add(dirname(path));
    await this.#closeIdle();
  }

  /** Makes `to` with the content of `from`, sharing its blocks where the file system can; nothing when `from` is missing. */
  async copy(from: string, to: string): Promise<void> {
    try {
      await copyFile(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
      this.#dirty.add(to);
      this.#dirtyDirectories.add(dirname(to));
    } catch (error) {
      if (!isErrno(error, 'ENOENT')) throw asFailure(error, to);
      await this.create(to);
    }
  }

  /** Makes this one file durable, its name as well. */
  async sync(path: string): Promise<void> {
    await this.#sync(path);
    await syncDirectory(dirname(path));
  }

  /** Makes everything that was written durable. */
  async syncAll(): Promise<void> {
    const paths = this.#dirty;
    const directories = this.#dirtyDirectories;
    this.#dirty = new Set();
    this.#dirtyDirectories = new Set();
    try {
      await inParallel(paths, (path) => this.#sync(path));
      await inParallel(directories, syncDirectory);
    } catch (error) {
      for (const path of paths) this.#dirty.add(path);
      for (const path of directories) this.#dirtyDirectories.add(path);
      throw error;
    }
  }

  /** Removes files that no record names any longer. A crash before it is done leaves files that `sweep` finds. */
  async remove(paths: Iterable<string>): Promise<void> {
    await inParallel(paths, async (path) => {
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

  async close(): Promise<void> {
    const files = [...this.#open.values()];
    this.#open.clear();
    for (const file of files) await calls.close(await file.fd).catch(() => {});
  }

  async #sync(path: string): Promise<void> {
    await this.#with(path, calls.fdatasync);
  }

  async #makeDirectory(path: string): Promise<void> {
    await mkdir(path, { recursive: true });
    // the image's directory and its parents may be new as well
    for (const above of [dirname(path), dirname(dirname(path)), dirname(dirname(dirname(path)))]) {
      this.#dirtyDirectories.add(above);
    }
  }

  /** False when the file does not exist. */
  async #with(path: string, action: (fd: number) => Promise<unknown>): Promise<boolean> {
    let file = this.#open.get(path);
    if (file === undefined) {
      file = { fd: calls.open(path, this.#writable ? 'r+' : 'r'), users: 0 };
    }
    // last used last
    this.#open.delete(path);
    this.#open.set(path, file);
    file.users += 1;
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
      await this.#closeIdle();
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

/** Removes the whole directory of an image. */
export const removeDirectory = (path: string): Promise<void> => rm(path, { recursive: true, force: true });

/** Bytes of a file; 0 when there is none. */
export async function bytesOf(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return 0;
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

async function inParallel<T>(items: Iterable<T>, action: (item: T) => Promise<unknown>): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const failures: unknown[] = [];
  const lane = async () => {
    for (let item = iterator.next(); item.done !== true; item = iterator.next()) {
      await action(item.value).catch((error: unknown) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: syncs }, lane));
  if (failures.length > 0) throw failures[0];
}
