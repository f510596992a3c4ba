// A store in a directory: a key is a path below it. A file is written under a hidden name, synced, and then named.

import { randomBytes } from 'node:crypto';
import { constants, type Stats } from 'node:fs';
import { type FileHandle, link, mkdir, open, realpath, rename, stat, unlink } from 'node:fs/promises';
import { dirname, join, resolve } from 'node:path';
import { errnoOf, ioFailure } from '../bytes/errno.ts';
import { mapOrdered } from '../bytes/ordered.ts';
import { fsyncDirectory } from '../bytes/sink.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { foldersOf, unless } from './directory-folders.ts';
import { filesBelow, foldersIn, statFile } from './directory-walk.ts';
import { existsAlready, notThere, tooLarge, tooShort } from './failures.ts';
import { checkKey, checkPrefix, folderOf, isKey } from './key.ts';
import { watchedPieces } from './pieces.ts';
import type { CopiedRange, Leftover, Store, StoredObject } from './port.ts';

/** Files looked at or removed at a time: what hides the latency of a network file system. */
const filesAtOnce = 8;
const copyBytes = 4 << 20;

/**
 * `notFound` for a directory that does not exist, `invalid` for what is none. With `create` it is made, for its owner
 * only: images hold secrets.
 */
export async function openDirectoryStore(path: string, options: { create?: boolean } = {}): Promise<Store> {
  const root = await openRoot(path, options.create === true);
  const folders = foldersOf(root);
  const at = (key: string): string => join(root, key);
  const nameOf = (key: string): string => `"${printable(key === '' ? path : join(path, key))}"`;
  const objectOf = (key: string, stats: Stats): StoredObject => ({
    key,
    bytes: stats.size,
    modifiedMs: Math.floor(stats.mtimeMs),
  });

  /** null for what is not there, or no regular file. */
  async function openObject(key: string): Promise<{ file: FileHandle; bytes: number } | null> {
    checkKey(key);
    try {
      await folders.check(folderOf(key));
      // Neither does a link lead away nor can a pipe make us wait.
      const file = await open(at(key), constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
      const stats = await file.stat();
      if (stats.isFile()) return { file, bytes: stats.size };
      await file.close();
    } catch (error) {
      if (errnoOf(error) === 'ELOOP') {
        throw new RbdeltaError('invalid', `cannot read ${nameOf(key)}: it is a symbolic link`, { cause: error });
      }
      if (errnoOf(error) !== 'ENOENT' && errnoOf(error) !== 'ENOTDIR') throw error;
    }
    return null;
  }

  /** `use` with the object, or with null; failures say what could not be done. */
  async function withObject<T>(
    key: string,
    use: (object: { file: FileHandle; bytes: number } | null) => Promise<T>,
  ): Promise<T> {
    try {
      const object = await openObject(key);
      try {
        return await use(object);
      } finally {
        await object?.file.close();
      }
    } catch (error) {
      throw ioFailure(error, `cannot read ${nameOf(key)}`);
    }
  }

  async function readRange(key: string, offset: number, into: Uint8Array, from?: FileHandle): Promise<void> {
    const read = async (file: FileHandle): Promise<void> => {
      for (let filled = 0; filled < into.length; ) {
        const { bytesRead } = await file.read(into, filled, into.length - filled, offset + filled);
        if (bytesRead === 0) throw tooShort(nameOf(key), (await file.stat()).size, offset + into.length);
        filled += bytesRead;
      }
    };
    if (from) return read(from);
    return withObject(key, (object) => {
      if (object === null) throw notThere(nameOf(key));
      return read(object.file);
    });
  }

  /** The object that `fill` writes. A crash leaves the hidden file, or the whole object, which is perhaps not durable. */
  async function make(key: string, create: boolean, fill: (file: FileHandle) => Promise<void>): Promise<StoredObject> {
    checkKey(key);
    const folder = folderOf(key);
    const hidden = at(hiddenNameOf(key));
    try {
      const file = await folders.within(folder, () => open(hidden, 'wx', 0o644));
      try {
        let stats: Stats;
        try {
          await fill(file);
          await file.sync();
          stats = await file.stat();
        } finally {
          await file.close();
        }
        if (create) await nameAsNew(hidden, at(key), nameOf(key));
        else await rename(hidden, at(key));
        await folders.sync(folder);
        return objectOf(key, stats);
      } catch (error) {
        await unlink(hidden).catch(() => {});
        await folders.prune(folder);
        throw error;
      }
    } catch (error) {
      throw ioFailure(error, `cannot write ${nameOf(key)}`);
    }
  }

  async function copy({ key, offset, length }: CopiedRange, into: FileHandle): Promise<void> {
    await withObject(key, async (object) => {
      if (object === null) throw notThere(nameOf(key));
      if (offset + length > object.bytes) throw tooShort(nameOf(key), object.bytes, offset + length);
    });
    const buffer = Buffer.allocUnsafeSlow(Math.min(length, copyBytes));
    for (let done = 0; done < length; done += buffer.length) {
      const piece = buffer.subarray(0, Math.min(buffer.length, length - done));
      await readRange(key, offset + done, piece);
      await writeWhole(into, piece);
    }
  }

  /** Generators that walk, with failures that say where. */
  async function* walking<T>(prefix: string, items: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      await folders.check(folderOf(`${prefix}x`)).catch(unless('ENOENT', 'ENOTDIR'));
      yield* items;
    } catch (error) {
      throw ioFailure(error, `cannot list ${nameOf(prefix)}`);
    }
  }

  /** Of the paths of files, those that are still there when their turn comes. */
  async function* looked(paths: AsyncIterable<string>): AsyncGenerator<{ path: string; stats: Stats }> {
    const files = mapOrdered(paths, filesAtOnce, async (path) => ({ path, stats: await statFile(at(path)) }));
    for await (const { path, stats } of files) if (stats !== null) yield { path, stats };
  }

  async function* list(prefix: string): AsyncGenerator<StoredObject> {
    const paths = filesBelow(root, folderOf(`${prefix}x`), isEntry, prefix.slice(prefix.lastIndexOf('/') + 1));
    for await (const { path, stats } of looked(paths)) yield objectOf(path, stats);
  }

  async function* hiddenFiles(prefix: string): AsyncGenerator<Leftover> {
    const wanted = (entry: string): boolean => (entry.endsWith('/') ? isEntry(entry) : keyOfHidden(entry) !== null);
    for await (const { path, stats } of looked(filesBelow(root, folderOf(`${prefix}x`), wanted))) {
      const { key, bytes, modifiedMs } = objectOf(keyOfHidden(path)!, stats);
      if (key.startsWith(prefix)) yield { id: path, key, bytes, modifiedMs };
    }
  }

  /** Removes files of one folder after another: what is gone stays gone before the next folder is touched. */
  async function removeFiles(paths: AsyncIterable<string> | Iterable<string>): Promise<number> {
    let count = 0;
    let last: string | null = null;
    const settle = async (folder: string): Promise<void> => {
      await folders.sync(folder);
      await folders.prune(folder);
    };
    const removed = mapOrdered(paths, filesAtOnce, async (path) => {
      try {
        await folders.check(folderOf(path));
        await unlink(at(path));
      } catch (error) {
        // EISDIR: a folder is no object.
        if (!['ENOENT', 'ENOTDIR', 'EISDIR'].includes(errnoOf(error) ?? '')) {
          throw ioFailure(error, `cannot remove ${nameOf(path)}`);
        }
      }
      return folderOf(path);
    });
    for await (const folder of removed) {
      if (last !== null && last !== folder) await settle(last);
      last = folder;
      count += 1;
    }
    if (last !== null) await settle(last);
    return count;
  }

  return {
    kind: 'directory',
    nameOf,
    get: (key, maxBytes) =>
      withObject(key, async (object) => {
        if (object === null) return null;
        if (object.bytes > maxBytes) throw tooLarge(nameOf(key), object.bytes, maxBytes);
        const bytes = Buffer.allocUnsafeSlow(object.bytes);
        await readRange(key, 0, bytes, object.file);
        return bytes;
      }),
    read: (key, offset, into) => readRange(key, offset, into),
    stat: (key) =>
      withObject(key, async (object) => (object === null ? null : objectOf(key, await object.file.stat()))),
    async put(key, bytes, { create = false } = {}) {
      await make(key, create, (file) => writeWhole(file, bytes));
    },
    write: (key, pieces, limits) =>
      make(key, false, async (file) => {
        for await (const piece of watchedPieces(pieces, limits, `cannot write ${nameOf(key)}`)) {
          if (piece instanceof Uint8Array) await writeWhole(file, piece);
          else await copy(piece, file);
        }
      }),
    list(prefix) {
      checkPrefix(prefix);
      return walking(prefix, list(prefix));
    },
    async *folders(folder) {
      checkFolder(folder);
      for await (const entry of walking(folder, foldersIn(root, folder, isEntry))) yield entry.slice(0, -1);
    },
    remove: (keys) => removeFiles(checked(keys)),
    leftovers(prefix) {
      checkPrefix(prefix);
      return walking(prefix, hiddenFiles(prefix));
    },
    async removeLeftover({ id }) {
      const key = keyOfHidden(id);
      if (key === null) throw new RbdeltaError('invalid', `"${printable(id)}" is not what a killed writer left`);
      await removeFiles([id]);
    },
    async nowMs() {
      const path = at(hiddenNameOf('clock'));
      try {
        const file = await open(path, 'wx', 0o600);
        try {
          // Where the file system is a network's, its server sets the time.
          await file.write('x');
          return Math.floor((await file.stat()).mtimeMs);
        } finally {
          await file.close();
          await unlink(path);
        }
      } catch (error) {
        throw ioFailure(error, `cannot write to ${nameOf('')}`);
      }
    },
    async enforcesCreate(prefix) {
      checkPrefix(prefix);
      const key = `${prefix}probe-${randomBytes(6).toString('hex')}`;
      const [first, second] = [at(hiddenNameOf(key)), at(hiddenNameOf(key))];
      try {
        await folders.within(folderOf(key), async () => (await open(first, 'wx', 0o600)).close());
        return await link(first, second).then(() => true, cannotLink);
      } catch (error) {
        throw ioFailure(error, `cannot write ${nameOf(key)}`);
      } finally {
        for (const path of [first, second]) await unlink(path).catch(() => {});
        await folders.prune(folderOf(key));
      }
    },
    async close() {},
  };
}

async function openRoot(path: string, create: boolean): Promise<string> {
  const task = `cannot open the directory "${printable(path)}"`;
  try {
    if (create) await makeRoot(resolve(path));
    const root = await realpath(path);
    if ((await stat(root)).isDirectory()) return root;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') {
      throw new RbdeltaError('notFound', `${task}: it does not exist`, { cause: error });
    }
    if (errnoOf(error) !== 'EEXIST') throw ioFailure(error, task);
  }
  throw new RbdeltaError('invalid', `${task}: it is a file`);
}

async function makeRoot(path: string): Promise<void> {
  if ((await stat(path).catch(unless('ENOENT')))?.isDirectory()) return;
  const first = await mkdir(path, { recursive: true, mode: 0o700 });
  if (first === undefined) return;
  for (let made = path; made.length >= first.length; made = dirname(made)) await fsyncDirectory(dirname(made));
}

/** Gives a file its name, which must be new, in one step. Where there are no hard links (FAT), in two: not atomic. */
async function nameAsNew(hidden: string, path: string, name: string): Promise<void> {
  try {
    await link(hidden, path);
    await unlink(hidden);
  } catch (error) {
    if (errnoOf(error) === 'EEXIST') throw existsAlready(name, { cause: error });
    cannotLink(error);
    if ((await statFile(path)) !== null) throw existsAlready(name);
    await rename(hidden, path);
  }
}

/** False for the failure of a file system without hard links; any other one is thrown. */
function cannotLink(error: unknown): false {
  if (['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK'].includes(errnoOf(error) ?? '')) return false;
  throw error;
}

async function writeWhole(file: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length; ) at += (await file.write(bytes, at, bytes.length - at)).bytesWritten;
}

/** A name beside the file that it is to become. */
const hiddenNameOf = (key: string): string =>
  `${folderOf(key)}.rbdelta-${randomBytes(6).toString('hex')}-${key.slice(folderOf(key).length)}`;

/** The key that a hidden file was to become; null for what is not one of ours. */
function keyOfHidden(path: string): string | null {
  const [, folder = '', name = ''] = /^(.*\/)?\.rbdelta-[0-9a-f]{12}-([^/]+)$/.exec(path) ?? [];
  return isKey(folder + name) ? folder + name : null;
}

const isEntry = (entry: string): boolean => isKey(entry.endsWith('/') ? entry.slice(0, -1) : entry);

function checkFolder(folder: string): void {
  checkPrefix(folder);
  if (folder !== '' && !folder.endsWith('/')) throw new TypeError(`"${folder}" is no folder`);
}

async function* checked(keys: AsyncIterable<string> | Iterable<string>): AsyncGenerator<string> {
  for await (const key of keys) {
    checkKey(key);
    yield key;
  }
}
