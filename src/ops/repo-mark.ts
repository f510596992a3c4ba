// `repo pin`, `repo unpin`, `repo tag`: what a person says of a point, in its manifest and in the catalog.

import { RbdeltaError } from '../error.ts';
import { encodeManifest, type Manifest, manifestName } from '../format/manifest.ts';
import { readManifest } from '../repo/catalog.ts';
import { finishIntents, finishRewrite } from '../repo/finish-intents.ts';
import { writeIntent } from '../repo/intent.ts';
import { type ImageName, pointFolder } from '../repo/keys.ts';
import { takeLock } from '../repo/lock.ts';
import type { Repository } from '../repo/repository.ts';
import { goneMeanwhile } from './repo-show.ts';

export interface Marks {
  /** Absent: as it is. */
  pinned?: boolean;
  addTags?: readonly string[];
  removeTags?: readonly string[];
}

export interface MarkOptions {
  operation: string;
  /** Of rbdelta. */
  version: string;
  waitMs?: number;
  dryRun?: boolean;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
}

export interface Marked {
  changed: boolean;
  pinned: boolean;
  tags: string[];
}

/** Under the lock of the image; the manifest is replaced at once, then the catalog follows. */
export async function markPoint(
  repository: Repository,
  image: ImageName,
  point: string,
  marks: Marks,
  options: MarkOptions,
): Promise<Marked> {
  if (options.dryRun) return outcome(...changedBy(await needed(repository, image, point), marks));
  const lock = await takeLock(repository, image, options);
  try {
    await finishIntents(repository, image, options.onNotice);
    const [before, after] = changedBy(await needed(repository, image, point), marks);
    const marked = outcome(before, after);
    if (marked.changed) {
      const about = { nowMs: Date.now(), version: options.version };
      await writeIntent(repository, image, { operation: 'rewrite', point }, about);
      await lock.assertHeld();
      await repository.store.put(`${pointFolder(image, point)}${manifestName}`, encodeManifest(after));
    }
    // Also of one that is marked so already: the catalog may not have followed then.
    await finishRewrite(repository, image, point);
    return marked;
  } finally {
    await lock.release();
  }
}

async function needed(repository: Repository, image: ImageName, point: string): Promise<Manifest> {
  const manifest = await readManifest(repository, image, point);
  if (manifest === null) throw goneMeanwhile(image, point);
  return manifest;
}

function changedBy(before: Manifest, { pinned, addTags = [], removeTags = [] }: Marks): [Manifest, Manifest] {
  for (const tag of addTags) {
    if (tag !== '' && Buffer.byteLength(tag) <= 128) continue;
    throw new RbdeltaError('invalid', 'a tag has 1 to 128 bytes');
  }
  const tags = [...new Set([...before.tags, ...addTags])].filter((tag) => !removeTags.includes(tag));
  if (tags.length > 1000) throw new RbdeltaError('tooLarge', `a point has at most 1000 tags, not ${tags.length}`);
  return [before, { ...before, tags, pinned: pinned ?? before.pinned }];
}

const outcome = (before: Manifest, { pinned, tags }: Manifest): Marked => ({
  changed: pinned !== before.pinned || tags.join('\0') !== before.tags.join('\0'),
  pinned,
  tags,
});
