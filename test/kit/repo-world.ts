// A repository in a directory and a local pool beside it: what tests of backup and restore stand on.

import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster, CreateOptions, Image, WritableImage } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { type BackupOptions, type BackupResult, backup } from '../../src/ops/backup.ts';
import { imageSource } from '../../src/ops/backup-source.ts';
import type { ImageName } from '../../src/repo/keys.ts';
import { initRepository, openRepository, type Repository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';

export interface RepoWorld {
  dir: string;
  /** The directory of the repository. */
  repoDir: string;
  cluster: Cluster;
  repository: Repository;
  /** A new image, opened to write; closed with the world. */
  image(name: string, size: number, options?: Partial<CreateOptions>): Promise<WritableImage>;
  /** A point of its head; points of one image come a second apart. */
  backup(name: string, options?: Partial<BackupOptions>): Promise<BackupResult>;
  /** All bytes of an image, at a snapshot if there is an @ in the name. */
  content(name: string): Promise<Buffer>;
  /** Paths of the files of the repository, from its directory. */
  files(): Promise<string[]>;
  /** The repository as it is now, opened anew. */
  reopen(): Promise<Repository>;
  close(): Promise<void>;
}

export const specOf = (name: string): ImageSpec => {
  const [image = '', snap = null] = name.split('@');
  return { pool: 'rbd', namespace: '', image, snap };
};
export const nameOf = (image: string): ImageName => ({ pool: 'rbd', namespace: '', image });

export async function makeRepoWorld(): Promise<RepoWorld> {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-repo-'));
  const repoDir = join(dir, 'repo');
  const pool = await openLocalPool(join(dir, 'pool'));
  await pool.createPool('rbd');
  const store = await openDirectoryStore(repoDir, { create: true });
  const repository = await initRepository(store, Date.now());
  const opened = new Map<string, WritableImage>();
  let nowMs = Date.UTC(2026, 10, 22, 12);
  return {
    dir,
    repoDir,
    cluster: pool,
    repository,
    async image(name, size, options = {}) {
      await pool.create(specOf(name), { size, order: 16, ...options });
      const image = await pool.openToWrite(specOf(name));
      opened.set(name, image);
      return image;
    },
    async backup(name, options = {}) {
      // Who is open to write holds the lock of a local image.
      await opened.get(name)?.close();
      opened.delete(name);
      nowMs += 1000;
      const at = nowMs;
      return backup(repository, imageSource(pool, specOf(name)), {
        version: '0.0.0',
        nowMs: () => at,
        ...options,
      });
    },
    async content(name) {
      return contentOf(await pool.open(specOf(name)));
    },
    async files() {
      const entries = await readdir(repoDir, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name).slice(repoDir.length + 1))
        .sort();
    },
    async reopen() {
      return openRepository(await openDirectoryStore(repoDir));
    },
    async close() {
      for (const image of opened.values()) await image.close();
      await store.close();
      await pool.close();
      await rm(dir, { recursive: true });
    },
  };
}

export async function contentOf(image: Image): Promise<Buffer> {
  try {
    const { size } = await image.info();
    const bytes = Buffer.alloc(size);
    if (size > 0) await image.read(0, bytes);
    return bytes;
  } finally {
    await image.close();
  }
}
