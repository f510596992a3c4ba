// The folders of a directory store: made durably, removed when empty, none of them a symbolic link.

import { mkdir, realpath, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { errnoOf } from '../bytes/errno.ts';
import { fsyncDirectory } from '../bytes/sink.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { folderOf } from './key.ts';

/** Folders are relative to the root and end with `/`; '' is the root. Errors are those of the file system. */
export interface Folders {
  /** Durable when it resolves. */
  make(folder: string): Promise<void>;
  /** Refuses as `invalid` a way that leads through a symbolic link. ENOENT where there is none. */
  check(folder: string): Promise<void>;
  /** What was made or removed in it survives a crash. A folder that went away is fine. */
  sync(folder: string): Promise<void>;
  /** Removes it and those above it as long as they are empty. Never the root, and never fails for what is left. */
  prune(folder: string): Promise<void>;
  /** `action` in a folder made for it; again if another process, which found it empty, removes it meanwhile. */
  within<T>(folder: string, action: () => Promise<T>): Promise<T>;
}

/** `root` is a real path. */
export function foldersOf(root: string): Folders {
  /** What we know to be durable, so that it is not synced for each file. */
  const durable = new Set<string>();
  const at = (folder: string): string => join(root, folder);

  const folders: Folders = {
    async make(folder) {
      if (folder === '' || durable.has(folder)) return;
      const parent = folderOf(folder);
      await folders.make(parent);
      await mkdir(at(folder)).catch(unless('EEXIST'));
      await folders.check(folder);
      await fsyncDirectory(at(parent));
      durable.add(folder);
    },
    async check(folder) {
      if (folder === '') return;
      const path = at(folder.slice(0, -1));
      const real = await realpath(path);
      if (real === path) return;
      const hint = 'a link to another disk is not followed: mount that disk there';
      throw new RbdeltaError('invalid', `"${printable(path)}" leads through a symbolic link to "${printable(real)}"`, {
        hint,
      });
    },
    async sync(folder) {
      await fsyncDirectory(at(folder)).catch(unless('ENOENT'));
    },
    async prune(folder) {
      for (let empty = folder; empty !== ''; empty = folderOf(empty)) {
        try {
          await rmdir(at(empty));
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT') return;
        }
        durable.delete(empty);
        await folders.sync(folderOf(empty)).catch(() => {});
      }
    },
    async within(folder, action) {
      for (let attempt = 1; ; attempt++) {
        try {
          await folders.make(folder);
          await folders.check(folder);
          return await action();
        } catch (error) {
          if (errnoOf(error) !== 'ENOENT' || attempt === 20) throw error;
          durable.clear();
        }
      }
    },
  };
  return folders;
}

/** A handler that lets one failure pass. */
export const unless =
  (...errnos: string[]) =>
  (error: unknown): void => {
    if (!errnos.includes(errnoOf(error) ?? '')) throw error;
  };
