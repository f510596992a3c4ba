// What lies below a directory, in the order of keys.

import type { Stats } from 'node:fs';
import { lstat, opendir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../bytes/errno.ts';

/** A part of a path: a file's name, or a folder's with `/`. What it refuses is passed over, with all below it. */
export type Wanted = (entry: string) => boolean;

/**
 * The files below `folder` (relative to `root`, ends with `/` or is ''), as paths relative to `root`, sorted by bytes.
 * In the folder itself only entries that begin with `rest`. Symbolic links, sockets and the like are passed over; so is
 * what goes away meanwhile. Holds the names of one folder at each depth.
 */
export async function* filesBelow(root: string, folder: string, wanted: Wanted, rest = ''): AsyncGenerator<string> {
  for (const entry of await sortedEntries(root, folder, wanted)) {
    if (!entry.startsWith(rest)) continue;
    if (entry.endsWith('/')) yield* filesBelow(root, folder + entry, wanted);
    else yield folder + entry;
  }
}

/** The folders in `folder` with a file below them, with `/`, in the same order. */
export async function* foldersIn(root: string, folder: string, wanted: Wanted): AsyncGenerator<string> {
  for (const entry of await sortedEntries(root, folder, (name) => name.endsWith('/') && wanted(name))) {
    if (await hasFile(root, folder + entry, wanted)) yield entry;
  }
}

async function hasFile(root: string, folder: string, wanted: Wanted): Promise<boolean> {
  const inner: string[] = [];
  for await (const entry of entriesOf(root, folder, wanted)) {
    if (!entry.endsWith('/')) return true;
    inner.push(entry);
  }
  for (const entry of inner) if (await hasFile(root, folder + entry, wanted)) return true;
  return false;
}

/** A folder counts with its `/`: so do the keys below it. As names are ASCII, the order of strings is that of bytes. */
async function sortedEntries(root: string, folder: string, wanted: Wanted): Promise<string[]> {
  const entries: string[] = [];
  for await (const entry of entriesOf(root, folder, wanted)) entries.push(entry);
  return entries.sort((a, b) => (a < b ? -1 : 1));
}

async function* entriesOf(root: string, folder: string, wanted: Wanted): AsyncGenerator<string> {
  try {
    for await (const entry of await opendir(join(root, folder), { bufferSize: 1000 })) {
      const name = entry.isDirectory() ? `${entry.name}/` : entry.name;
      if ((entry.isDirectory() || entry.isFile()) && wanted(name)) yield name;
    }
  } catch (error) {
    const errno = errnoOf(error);
    // Where a file system is mounted, root alone may look into this one.
    const foreign = folder === 'lost+found/' && errno === 'EACCES';
    if (errno !== 'ENOENT' && errno !== 'ENOTDIR' && !foreign) throw error;
  }
}

/** Of a regular file; null for anything else and for nothing. */
export async function statFile(path: string): Promise<Stats | null> {
  try {
    const stats = await lstat(path);
    return stats.isFile() ? stats : null;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return null;
    throw error;
  }
}
