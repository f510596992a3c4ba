// The files of data objects: what a flush has made durable, and what becomes of one that is missing.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { ObjectFiles } from '../../../src/image/local/files.ts';

type Done = (error: Error | null) => void;
type Call = (fd: number, done: Done) => void;

/** What stands between the code and the disk. */
const disk = vi.hoisted(() => ({
  paths: new Map<number, string>(),
  synced: [] as string[],
  /** Called before each sync of a file; a rejection is its failure. */
  beforeSync: async (): Promise<void> => {},
  beforeWrite: async (): Promise<void> => {},
}));

vi.mock('node:fs', async (load) => {
  const real = await load<typeof import('node:fs')>();
  const syncing =
    (sync: Call): Call =>
    (fd, done) => {
      disk.beforeSync().then(() => {
        disk.synced.push(disk.paths.get(fd) ?? '');
        sync(fd, done);
      }, done);
    };
  return {
    ...real,
    open: (path: string, flags: number | string, ...rest: unknown[]) => {
      const done = rest.pop() as (error: Error | null, fd: number) => void;
      real.open(path, flags, rest[0] as number | undefined, (error, fd) => {
        if (!error) disk.paths.set(fd, path);
        done(error, fd);
      });
    },
    fsync: syncing(real.fsync),
    fdatasync: syncing(real.fdatasync),
    write: (...args: Parameters<typeof real.write>) => {
      void disk.beforeWrite().then(() => real.write(...args));
    },
  };
});

let dir: string;
let files: ObjectFiles;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-files-'));
  files = new ObjectFiles(join(dir, 'objects', '1', 'image'), true);
  path = files.path(0, '1-1');
  disk.synced = [];
  disk.beforeSync = async () => {};
  disk.beforeWrite = async () => {};
});
afterEach(async () => {
  await files.close();
  await rm(dir, { recursive: true });
});

/** A promise, and what resolves it. */
function gate(): { open: () => void; passed: Promise<void> } {
  let open = () => {};
  const passed = new Promise<void>((resolve) => (open = resolve));
  return { open, passed };
}
const soon = (): Promise<void> => new Promise((done) => setTimeout(done, 20));

describe('a flush', () => {
  beforeEach(async () => {
    await files.create(path);
    await files.write(path, Buffer.from('data'), 0);
  });

  test('makes files and the names of new ones durable', async () => {
    await files.syncAll();
    // every directory up to the pool's own, as all below it are new
    for (const above of ['.', '..', '../..', '../../..', '../../../..', '../../../../..']) {
      expect(disk.synced).toContain(join(path, above));
    }
  });

  test('that starts while another is under way does not resolve before what that one took is durable', async () => {
    const { open, passed } = gate();
    disk.beforeSync = () => passed;
    const first = files.syncAll();
    let resolved = false;
    const second = files.syncAll().then(() => (resolved = true));
    await soon();
    expect(resolved).toBe(false);
    open();
    await Promise.all([first, second]);
    expect(disk.synced).toContain(path);
  });

  test('that follows a failed one fails as well: the system has given up what it could not write', async () => {
    let fails = true;
    disk.beforeSync = async () => {
      if (fails) throw Object.assign(new Error('EIO: i/o error'), { code: 'EIO' });
    };
    const first = files.syncAll();
    const second = files.syncAll();
    await expect(first).rejects.toMatchObject({ code: 'io' });
    await expect(second).rejects.toMatchObject({ code: 'io' });
    fails = false;
    await expect(files.syncAll()).rejects.toThrow('may be lost');
  });

  test('covers a write that was under way when the flush before it began', async () => {
    await files.syncAll();
    const { open, passed } = gate();
    disk.beforeWrite = () => passed;
    const writing = files.write(path, Buffer.from('late'), 0);
    await soon();
    await files.syncAll();
    open();
    await writing;
    disk.synced = [];
    await files.syncAll();
    expect(disk.synced).toEqual([path]);
  });
});

describe('a file that is missing', () => {
  test('is made where it is to be kept, and the flush after it makes its name durable', async () => {
    await files.keep(path);
    expect(await readFile(path, 'latin1')).toBe('');
    await files.syncAll();
    expect(disk.synced).toContain(path);
    expect(disk.synced).toContain(join(path, '..'));
  });

  test('is neither made by a read nor by a write', async () => {
    expect(await files.size(path)).toBe(null);
    expect(await files.read(path, Buffer.alloc(4), 0)).toBe(false);
    await expect(files.write(path, Buffer.from('ab'), 0)).rejects.toMatchObject({ code: 'corrupt' });
    await expect(files.truncate(path, 100)).rejects.toMatchObject({ code: 'corrupt' });
    await expect(readFile(path)).rejects.toMatchObject({ code: 'ENOENT' });
  });

  test('is kept as it is when it is there, and becomes durable as a new one does', async () => {
    await files.create(path);
    await files.write(path, Buffer.from('data'), 0);
    await files.syncAll();
    disk.synced = [];
    await files.keep(path);
    await files.syncAll();
    expect(await readFile(path, 'latin1')).toBe('data');
    expect(disk.synced).toContain(path);
    expect(disk.synced).toContain(join(path, '..', '..', '..', '..'));
  });
});

test('closing waits for what uses the files; afterwards they cannot be used', async () => {
  await files.create(path);
  const { open, passed } = gate();
  disk.beforeWrite = () => passed;
  let written = false;
  const writing = files.write(path, Buffer.from('data'), 0).then(() => (written = true));
  await soon();
  const closing = files.close().then(() => expect(written).toBe(true));
  await soon();
  open();
  await Promise.all([writing, closing]);
  await expect(files.write(path, Buffer.from('x'), 0)).rejects.toThrow(TypeError);
  await expect(files.read(path, Buffer.alloc(1), 0)).rejects.toThrow(TypeError);
});
