// What a writer that was killed had begun to remove or to rewrite: finished. Spec: formats/repository/spec.md

import { isDeepStrictEqual } from 'node:util';
import { counted } from '../bytes/text.ts';
import { type Manifest, manifestName } from '../format/manifest.ts';
import { entryOf, readCatalog, readManifest, updateCatalog, withEntry } from './catalog.ts';
import { clearIntent, readIntent } from './intent.ts';
import { type ImageName, imageFolder, pointFolder, textOf } from './keys.ts';
import { dropProofs } from './proofs.ts';
import type { Repository } from './repository.ts';

/** The files of a point that no manifest names, but the point has. */
const others = [manifestName, 'proofs.json'];

/** Finishes deletes and rewrites, first of all whoever takes the lock. Those of a backup need the image: see `backup`. */
export async function finishIntents(
  repository: Repository,
  image: ImageName,
  onNotice: (text: string) => void = () => {},
): Promise<void> {
  const [removal, rewrite] = await Promise.all([
    readIntent(repository, image, 'delete'),
    readIntent(repository, image, 'rewrite'),
  ]);
  if (removal !== null) {
    await removePoints(repository, image, removal.points);
    await clearIntent(repository, image, 'delete');
    onNotice(`finished removing ${counted(removal.points.length, 'point')} of ${textOf(image)}`);
  }
  if (rewrite !== null) {
    const name = `the point ${rewrite.point} of ${textOf(image)}`;
    const isRewritten = await finishRewrite(repository, image, rewrite.point);
    onNotice(isRewritten ? `finished rewriting ${name}` : `removed what an interrupted rewriting of ${name} had left`);
  }
}

/**
 * What follows the manifest of a point that was written anew; without one, or with the old one, it is as it was. Whether the
 * catalog had the old one still.
 */
export async function finishRewrite(repository: Repository, image: ImageName, point: string): Promise<boolean> {
  let isNew = false;
  const manifest = await readManifest(repository, image, point);
  if (manifest !== null) {
    const known = (await readCatalog(repository, image)).find(({ id }) => id === point);
    const entry = entryOf(manifest, known?.proofs);
    isNew = !isDeepStrictEqual(entry, known);
    // A mark changes nothing of what was proved.
    if (known !== undefined && isDeepStrictEqual({ ...entry, tags: known.tags, pinned: known.pinned }, known)) {
      if (isNew) await updateCatalog(repository, image, withEntry(entry));
    } else {
      // first: as long as the catalog has the old point, who finds the intent does this again
      await dropProofs(repository, image, point);
      await updateCatalog(repository, image, withEntry(entryOf(manifest)));
    }
  }
  await removeUnnamed(repository, image, point, manifest);
  await clearIntent(repository, image, 'rewrite');
  return isNew;
}

/** The catalog first, then the manifests, then all else: a point is never there in part. Under the lock, with an intent. */
export async function removePoints(repository: Repository, image: ImageName, ids: readonly string[]): Promise<void> {
  const { store } = repository;
  const gone = new Set(ids);
  // A backup that died when all was stored but its last steps must not make the point again.
  const backup = await readIntent(repository, image, 'backup');
  if (backup !== null && gone.has(backup.point)) await clearIntent(repository, image, 'backup');
  await updateCatalog(repository, image, (points) => points.filter(({ id }) => !gone.has(id)));
  await store.remove(ids.map((id) => `${pointFolder(image, id)}${manifestName}`));
  await store.remove(filesOf(repository, image, ids));
  await removeTemporary(repository, image, ids);
}

/** Files in the folder of a point that its manifest does not name. All of them where there is no manifest. */
export async function removeUnnamed(
  repository: Repository,
  image: ImageName,
  point: string,
  manifest: Manifest | null,
): Promise<void> {
  const named = new Set(
    manifest === null ? [] : [...others, manifest.index.name, ...manifest.segments.map(({ name }) => name)],
  );
  await repository.store.remove(filesOf(repository, image, [point], (name) => !named.has(name)));
  await removeTemporary(repository, image, [point]);
}

/** What never became an object. */
async function removeTemporary({ store }: Repository, image: ImageName, points: readonly string[]): Promise<void> {
  for await (const leftover of below(image, points, (prefix) => store.leftovers(prefix)))
    await store.removeLeftover(leftover);
}

async function* filesOf(
  { store }: Repository,
  image: ImageName,
  points: readonly string[],
  isWanted: (name: string) => boolean = () => true,
): AsyncGenerator<string, void, undefined> {
  const objects = below(image, points, (prefix) => store.list(prefix));
  for await (const { key } of objects) if (isWanted(key.slice(key.lastIndexOf('/') + 1))) yield key;
}

/** More points than this are looked for in one list of the whole image: a page of a list shows hundreds. */
const listedAlone = 16;

/** What is in the folders of the points. */
async function* below<T extends { key: string }>(
  image: ImageName,
  points: readonly string[],
  list: (prefix: string) => AsyncIterable<T>,
): AsyncGenerator<T, void, undefined> {
  const folders = new Set(points.map((point) => pointFolder(image, point)));
  const prefixes = folders.size > listedAlone ? [imageFolder(image)] : folders;
  for (const prefix of prefixes) {
    for await (const one of list(prefix)) if (folders.has(one.key.slice(0, one.key.lastIndexOf('/') + 1))) yield one;
  }
}
