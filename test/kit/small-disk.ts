// A disk that is soon full: a file system of few MiB, mounted for a test. Only root may.

import { closeSync, ftruncateSync, openSync, rmSync, writeSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run, succeed } from './command.ts';

const pageBytes = 4096;

export interface SmallDisk {
  path: string;
  unmount(): Promise<void>;
}

/** A text when it cannot be: why. */
export async function smallDisk(mebibytes: number): Promise<SmallDisk | string> {
  const path = await mkdtemp(join(tmpdir(), 'rbdelta-disk-'));
  const { status, stderr } = await run('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m`, 'tmpfs', path]);
  if (status !== 0) {
    await rm(path, { recursive: true });
    const why = `a small disk cannot be mounted here: ${stderr.trim()}`;
    // CI is root, and would have tested nothing
    if (process.env['CI']) throw new Error(why);
    return why;
  }
  return {
    path,
    async unmount() {
      // a test that failed may have files open there
      await succeed('umount', ['-l', path]);
      await rm(path, { recursive: true });
    },
  };
}

/** Takes all that the disk has, but for some pages of 4 KiB. Returns what gives it back. */
export function fill(disk: string, pages = 0): () => void {
  const filler = join(disk, 'filler');
  const file = openSync(filler, 'w');
  let bytes = 0;
  for (const piece of [64 * pageBytes, pageBytes]) {
    try {
      for (;;) bytes += writeSync(file, Buffer.alloc(piece, 1), 0, piece, bytes);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    }
  }
  ftruncateSync(file, Math.max(0, bytes - pages * pageBytes));
  closeSync(file);
  return () => rmSync(filler, { force: true });
}
