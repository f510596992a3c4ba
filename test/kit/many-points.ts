// Repositories of very many points, made through the codecs: for what takes time per point.

import { encodeCatalog, encodeRepositoryFile } from '../../src/format/repository.ts';
import { encodeManifest } from '../../src/format/manifest.ts';
import { entryOf } from '../../src/repo/catalog.ts';
import { imageFolder, pointFolder } from '../../src/repo/keys.ts';
import type { Store } from '../../src/store/port.ts';
import { History, type Step } from './archive-history.ts';
import { image, memoryStore, repositoryIn } from './archive-kit.ts';
import { numbers } from './noise.ts';

const blockBytes = 65536;
const blocks = 4;
/** Puts under way at once. */
const puts = 64;

/**
 * The objects of a repository with `images` images of `points` points each: a full, and increments on it, of some sectors
 * of a tiny image. The images are alike but for their names.
 */
export async function manyPoints(images: number, points: number): Promise<Map<string, Buffer>> {
  const memory = memoryStore();
  const next = numbers(7);
  const steps: Step[] = [];
  for (let i = 0; i < points; i++) {
    const offset = Math.floor(next() * blocks * 128) * 512;
    steps.push({ size: i === 0 ? blocks * blockBytes : null, changes: [{ offset, length: 512, zero: false }] });
  }
  const shape = { frameRecords: 100, pageFrames: 100, segmentBytes: 1 << 20 };
  const { manifests } = await History.of(steps, memory, shape);
  const { id, digestKey } = repositoryIn(memory);
  const created = '2026-01-01T00:00:00.000Z';
  const key = Buffer.from(digestKey).toString('hex');
  const objects = new Map([['rbdelta.json', encodeRepositoryFile({ format: 1, id, created, digestKey: key })]]);
  for (let number = 0; number < images; number++) {
    const named = { ...image, image: `vm-${number}` };
    const own = manifests.map((manifest) => ({ ...manifest, image: { ...manifest.image, name: named.image } }));
    for (const manifest of own) {
      const from = pointFolder(image, manifest.point);
      const to = pointFolder(named, manifest.point);
      const names = [...manifest.segments.map((segment) => segment.name), manifest.index.name];
      for (const name of names) objects.set(to + name, memory.objects.get(from + name)!);
      objects.set(`${to}manifest.json`, encodeManifest(manifest));
    }
    const catalog = encodeCatalog({ format: 1, points: own.map((manifest) => entryOf(manifest)) });
    objects.set(`${imageFolder(named)}catalog.json`, catalog);
  }
  return objects;
}

/** All of them, in place of what is there. */
export async function putAll(store: Store, objects: ReadonlyMap<string, Buffer>): Promise<void> {
  const waiting = [...objects];
  const one = async (): Promise<void> => {
    for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) await store.put(next[0], next[1]);
  };
  await Promise.all(Array.from({ length: puts }, one));
}

export async function emptyStore(store: Store): Promise<void> {
  const keys: string[] = [];
  for await (const { key } of store.list('')) keys.push(key);
  await store.remove(keys);
  for await (const leftover of store.leftovers('')) await store.removeLeftover(leftover);
}
