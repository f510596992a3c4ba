// Whether one image of a local pool is sound: its snapshots, its objects and their files, its maps, its parent and clones.

import { mapOrdered } from '../../bytes/ordered.ts';
import { counted, printable } from '../../bytes/text.ts';
import { geometryOf, objectCount } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import { feature, flag, type ParentSpec, type RbdHeader } from '../../format/rbd-header.ts';
import type { Checking } from './check.ts';
import { type ChildRef, childIds, childrenOf, cloneFormatOf, oldChildren } from './clones.ts';
import { imageDirectory, ObjectFiles } from './files.ts';
import { hasFeature, headerKey, type ImageRef, loadHeader } from './header.ts';
import { wrongObjects } from './map-check.ts';
import { ObjectTable } from './objects.ts';
import { type DataObject, subtract } from './snapset.ts';
import { orphansOf } from './snapshots.ts';
import type { Store } from './store.ts';
import { openTrims } from './trim.ts';
import { isUnflushed } from './unflushed.ts';

/** How many objects have their files looked at at once. */
const filesAtOnce = 32;

/** Everything but parent and clones. The image is not open to write. Maps are only held against records that are right. */
export async function checkImage({ store, add }: Checking, image: ImageRef): Promise<void> {
  const label = labelOf(image);
  const tell = (state: 'problem' | 'leftover', text: string) => add(state, image, label, text);
  for (const id of openTrims(store, image)) tell('leftover', `the removal of snapshot ${id} is not finished`);
  for (const snap of orphansOf(loadHeader(store, image))) {
    tell('leftover', `snapshot ${snap.id} in the trash has lost its last clone`);
  }
  const damage = await damageOf(store, image);
  const hint = damage.length > 0 ? damageHint(store, image) : '';
  for (const text of damage) add('problem', image, label, text, hint);
  if (damage.length > 0) return;
  for (const { name, wrong } of wrongMaps(store, image)) {
    const whose = name === null ? 'the head' : `snapshot '${printable(name)}'`;
    const text = `the object map of ${whose} is wrong about ${counted(wrong, 'object')}`;
    add('problem', image, label, text, 'rbdelta pool check --repair makes it anew');
  }
}

/** Who else reads what is damaged, and where to get it from. */
function damageHint(store: Store, image: ImageRef): string {
  const nameOf = (one: { pool: string; namespace: string; name: string }) =>
    printable([one.pool, one.namespace, one.name].filter((part) => part !== '').join('/'));
  const label = nameOf({ ...image, name: labelOf(image) });
  const clones = childrenOf(store, image, null).map((child) => nameOf({ ...child, name: child.image || child.id }));
  const also = clones.length === 0 ? '' : ` (its clones read from it: ${clones.join(', ')})`;
  return `restore ${label}${also} from a backup under another name: rbdelta restore; a snapshot that can still be read can be copied: rbdelta cp`;
}

/** What is wrong with snapshots, records of objects, or files: nothing else tells what would be right. */
export async function damageOf(store: Store, image: ImageRef): Promise<string[]> {
  const header = loadHeader(store, image);
  const damage: string[] = [];
  const ids = header.snapshots.map((snap) => snap.id);
  if (ids.some((id, i) => id <= (ids[i - 1] ?? 0) || id > header.snapSeq)) {
    damage.push(`ids of snapshots do not rise up to ${header.snapSeq}: ${ids.join(', ')}`);
  }
  const known = new Set([...ids, ...openTrims(store, image)]);
  const files = new ObjectFiles(imageDirectory(store.dir, image.dataPoolId, image.prefix), false);
  const damageOfFiles = async (objectNo: number, object: DataObject): Promise<string[]> => {
    const found: string[] = [];
    for (const { id, size, file } of object.clones) {
      const bytes = await files.size(files.path(objectNo, file));
      if (bytes === null && size > 0) found.push(`the file of clone ${id} is gone: ${files.path(objectNo, file)}`);
      else if ((bytes ?? 0) !== size) found.push(`clone ${id} has ${size} bytes, and its file ${bytes}`);
    }
    const { head } = object;
    if (head === null || (await files.size(files.path(objectNo, head))) !== null) return found;
    if (!isUnflushed(store, image, objectNo, head)) found.push(`its file is gone: ${files.path(objectNo, head)}`);
    return found;
  };
  const objects = new ObjectTable(store, image).range(0, Number.MAX_SAFE_INTEGER);
  const looked = mapOrdered(objects, filesAtOnce, async ([objectNo, object]) => {
    const wrong = wrongRecord(header, known, object);
    return [...(wrong === null ? [] : [wrong]), ...(await damageOfFiles(objectNo, object))].map(
      (text) => `object ${objectNo}: ${text}`,
    );
  });
  for await (const found of looked) damage.push(...found);
  return damage;
}

/** Maps that are wrong, where the records of objects are right, and not flagged as such: of snapshots by name, of the head (null). */
export function wrongMaps(store: Store, image: ImageRef): { name: string | null; wrong: number }[] {
  const header = loadHeader(store, image);
  if (!hasFeature(header, feature.objectMap)) return [];
  const versions = [
    { id: null, name: null, size: header.size, flags: header.flags },
    ...header.snapshots.filter((snap) => snap.namespace.type === 'user'),
  ];
  return versions
    .filter(({ flags }) => (flags & flag.objectMapInvalid) === 0)
    .map(({ id, name, size }) => {
      const count = objectCount(geometryOf(header, size));
      return { name, wrong: wrongObjects(store, image, id, count, hasFeature(header, feature.fastDiff)) };
    })
    .filter(({ wrong }) => wrong > 0);
}

function wrongRecord(header: RbdHeader, snaps: ReadonlySet<number>, object: DataObject): string | null {
  const { clones, seq } = object;
  if (object.head === null && clones.length === 0) return 'it has neither a head nor clones';
  if (seq > header.snapSeq) return `it was written after snapshot ${seq}, which never was`;
  let before = 0;
  for (const clone of clones) {
    if (clone.id <= before || clone.id > seq) return `clone ${clone.id} is not in its place`;
    const lost = clone.snaps.filter((id) => !snaps.has(id));
    if (lost.length > 0) return `clone ${clone.id} serves snapshots that are not there: ${lost.join(', ')}`;
    if (clone.snaps.length === 0) return `clone ${clone.id} serves no snapshot`;
    if (clone.snaps.some((id) => id <= before || id > clone.id)) return `clone ${clone.id} serves what others serve`;
    if (subtract(clone.overlap, [0, clone.size]).length > 0) return `clone ${clone.id} overlaps past its end`;
    before = clone.id;
  }
  return null;
}

/** Parent and clones must know each other. */
export function checkChildren({ store, add }: Checking, image: ImageRef): void {
  const header = loadHeader(store, image);
  const { parent } = header;
  const wrong = parent === null ? null : wrongParent(store, parent, image, cloneFormatOf(header));
  if (wrong !== null) add('problem', image, labelOf(image), wrong);
  for (const { child } of danglingChildren(store, image)) {
    add('leftover', image, labelOf(image), `it lists image ${child.id} as a clone, which is none`);
  }
}

function wrongParent(store: Store, parent: ParentSpec, child: ImageRef, format: 1 | 2): string | null {
  const { pool, namespace, imageId, snapId } = parent;
  const header = headerOf(store, { poolId: pool, namespace, id: imageId });
  if (header === null) return `its parent ${imageId} is gone`;
  if (!header.snapshots.some(({ id }) => id === snapId))
    return `its parent ${imageId} has no snapshot ${snapId} any more`;
  return isListed(store, parent, child, format) ? null : `its parent ${imageId} does not list it among its clones`;
}

interface Dangling {
  spec: ParentSpec;
  child: ChildRef;
  format: 1 | 2;
}

/** Who is listed as a clone of the image and is none. */
export function danglingChildren(store: Store, image: ImageRef): Dangling[] {
  const header = loadHeader(store, image);
  const specOf = (snapId: number): ParentSpec => ({
    pool: image.poolId,
    namespace: image.namespace,
    imageId: image.id,
    snapId,
  });
  const listed = header.snapshots.flatMap(({ id }): Dangling[] => [
    ...oldChildren(store, image, id).map((child) => ({ spec: specOf(id), child, format: 1 as const })),
    ...(header.snapChildren.get(id) ?? []).map(({ pool, namespace, imageId }) => ({
      spec: specOf(id),
      child: { poolId: pool, namespace, id: imageId },
      format: 2 as const,
    })),
  ]);
  return listed.filter(({ spec, child }) => {
    const parent = headerOf(store, child)?.parent;
    return parent == null || parent.imageId !== spec.imageId || parent.snapId !== spec.snapId;
  });
}

function isListed(store: Store, parent: ParentSpec, child: ChildRef, format: 1 | 2): boolean {
  if (format === 1) return childIds(store, child, parent).includes(child.id);
  const header = headerOf(store, { poolId: parent.pool, namespace: parent.namespace, id: parent.imageId });
  return header?.snapChildren.get(parent.snapId)?.some(({ imageId }) => imageId === child.id) ?? false;
}

/** Null for an image that is not there. */
function headerOf(store: Store, image: ChildRef): RbdHeader | null {
  if (!store.omap.doesExist(headerKey({ ...image, name: '' }, 'size'))) return null;
  try {
    return loadHeader(store, { ...image, name: image.id });
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'notFound') return null;
    throw error;
  }
}

export const labelOf = (image: Pick<ImageRef, 'name' | 'id'>): string => (image.name === '' ? image.id : image.name);
