// What is there when a backup begins: snapshots of the image, points of the repository.

import { hostname } from 'node:os';
import { RbdeltaError } from '../error.ts';
import type { Manifest } from '../format/manifest.ts';
import type { CatalogEntry } from '../format/repository.ts';
import type { WritableImage } from '../image/port.ts';
import { readManifest, readPoints } from '../repo/catalog.ts';
import type { Repository } from '../repo/repository.ts';
import type { Situation } from './backup-plan.ts';
import type { BackupSource } from './backup-source.ts';

export interface SituationOptions {
  nowMs?: () => number;
  /** Told of points that cannot be read. */
  onNotice?: (text: string) => void;
}

/** `head` is opened if it is not given. */
export async function situationOf(
  repository: Repository,
  source: BackupSource,
  options: SituationOptions,
  head: WritableImage | null = null,
): Promise<Situation> {
  const { points, manifest } = await readablePoints(repository, source, options);
  const opened = head ?? (source.head === null ? null : await source.head());
  try {
    const info = opened === null ? null : await opened.info();
    return {
      repository: repository.id,
      name: source.name,
      info,
      points,
      manifest,
      host: hostname(),
      nowMs: (options.nowMs ?? Date.now)(),
    };
  } finally {
    if (head === null) await opened?.close();
  }
}

/** Up to the newest one whose manifest can be read: what is behind it cannot be built on, nor is it lost by that. */
async function readablePoints(
  repository: Repository,
  source: BackupSource,
  { onNotice }: SituationOptions,
): Promise<{ points: CatalogEntry[]; manifest: Manifest | null }> {
  const tell = (point: string, error: RbdeltaError): void =>
    onNotice?.(`the point ${point} of ${source.name} is passed over: ${error.message}`);
  const points = await readPoints(repository, source.image, tell);
  for (let newest = points.at(-1); newest !== undefined; newest = points.at(-1)) {
    try {
      const manifest = await readManifest(repository, source.image, newest.id);
      if (manifest !== null) return { points, manifest };
    } catch (error) {
      if (!(error instanceof RbdeltaError && (error.code === 'corrupt' || error.code === 'unsupported'))) throw error;
      tell(newest.id, error);
    }
    points.pop();
  }
  return { points, manifest: null };
}
