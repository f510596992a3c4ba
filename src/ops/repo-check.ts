// `repo check`: everything that lists and metadata tell of a repository. No payload is read, nothing is changed.

import { counted, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { findImages } from '../repo/find-point.ts';
import { type ImageName, imageFolder, imageOfFolders, textOf } from '../repo/keys.ts';
import { describeLock } from '../repo/lock.ts';
import { isOfFiles } from '../repo/proofs.ts';
import type { Repository } from '../repo/repository.ts';
import type { StoredObject } from '../store/port.ts';
import { type Examined, examineImage, foundBy, remedyFor } from './repo-examine.ts';

export interface CheckFinding {
  /** `problem`: a point cannot be restored, or was not found good when it was last proved. `note`: all else. */
  state: 'problem' | 'note';
  kind:
    | 'damaged'
    | 'affected'
    | 'failed'
    | 'catalog'
    | 'proofs'
    | 'unfinished'
    | 'unnamed'
    | 'intent'
    | 'lock'
    | 'temporary'
    | 'foreign';
  /** null: of no image. */
  image: ImageName | null;
  /** null: of no point. */
  point: string | null;
  text: string;
  hint: string | null;
}

export interface CheckReport {
  images: { image: ImageName; points: number; restorable: number }[];
  /** Problems come first. */
  findings: CheckFinding[];
  /** Whether the store keeps two writers from making one object, which nothing here needs; null if that could not be tried. */
  enforcesCreate: boolean | null;
}

export interface CheckOptions {
  /** As `findImages` has it; absent: all, and what lies beside the images. */
  name?: string | null;
  signal?: AbortSignal;
  onProgress?: (images: number, objects: number) => void;
}

/** An image with problems is looked at twice: a writer may have been at it. */
export async function checkRepository(repository: Repository, options: CheckOptions = {}): Promise<CheckReport> {
  const { store } = repository;
  const { name = null, signal, onProgress } = options;
  const report: CheckReport = { images: [], findings: [], enforcesCreate: null };
  let objects = 0;
  for await (const { image, files } of imagesWithFiles(repository, name)) {
    signal?.throwIfAborted();
    objects += files.length;
    onProgress?.(report.images.length + 1, objects);
    if (image === null) {
      report.findings.push(
        ...foreignFindings(
          repository,
          null,
          files.map(({ key }) => key),
        ),
      );
      continue;
    }
    const found = await examineTwice(repository, image, files);
    const restorable = found.points.filter(({ damage, lacks }) => damage === null && lacks === null).length;
    report.images.push({ image, points: found.points.length, restorable });
    report.findings.push(...findingsOf(repository, found));
  }
  for (const image of name === null ? [null] : report.images.map((one) => one.image)) {
    report.findings.push(...(await temporaryIn(repository, image)));
  }
  report.findings.sort((a, b) => Number(a.state === 'note') - Number(b.state === 'note'));
  report.enforcesCreate = await store.enforcesCreate('').catch((error: unknown) => {
    if (error instanceof RbdeltaError) return null;
    throw error;
  });
  return report;
}

/** What is there of an image, in the end. */
export async function examineTwice(
  repository: Repository,
  image: ImageName,
  files: readonly StoredObject[],
): Promise<Examined> {
  const found = await examineImage(repository, image, files);
  const isDoubtful = found.points.some(({ damage, lacks }) => damage !== null || lacks !== null);
  return isDoubtful ? examineImage(repository, image, await listFiles(repository, image)) : found;
}

export async function listFiles({ store }: Repository, image: ImageName): Promise<StoredObject[]> {
  const files: StoredObject[] = [];
  for await (const object of store.list(imageFolder(image))) files.push(object);
  return files;
}

/** Each image with all that lies below its folder, from one list; `image` null: what is in no such folder. */
async function* imagesWithFiles(
  repository: Repository,
  name: string | null,
): AsyncGenerator<{ image: ImageName | null; files: StoredObject[] }, void, undefined> {
  if (name !== null) {
    for (const image of await findImages(repository, name)) yield { image, files: await listFiles(repository, image) };
    return;
  }
  let [folder, files]: [string, StoredObject[]] = ['', []];
  const beside: StoredObject[] = [];
  for await (const object of repository.store.list('')) {
    const [pool = '', image = '', ...rest] = object.key.split('/');
    if (rest.length === 0) {
      if (object.key !== 'rbdelta.json') beside.push(object);
      continue;
    }
    if (folder !== `${pool}/${image}`) {
      if (files.length > 0) yield { image: imageAt(folder), files };
      [folder, files] = [`${pool}/${image}`, []];
    }
    files.push(object);
  }
  if (files.length > 0) yield { image: imageAt(folder), files };
  yield { image: null, files: beside };
}

const imageAt = (folder: string): ImageName => imageOfFolders(folder.split('/')[0] ?? '', folder.split('/')[1] ?? '');

/** In words. */
export function findingsOf(repository: Repository, found: Examined): CheckFinding[] {
  const { image } = found;
  const name = printable(textOf(image));
  const all: CheckFinding[] = [];
  const add = (kind: CheckFinding['kind'], point: string | null, text: string, hint: string | null = null): void => {
    const state = kind === 'damaged' || kind === 'affected' || kind === 'failed' ? 'problem' : 'note';
    all.push({ state, kind, image, point, text, hint });
  };
  const repair = 'rbdelta repo repair puts it right';
  const isBusy = found.locks.some(({ isDead }) => !isDead);
  for (const point of found.points) {
    const { id, damage, lacks } = point;
    if (damage !== null) {
      add('damaged', id, `the point ${id} of ${name} is damaged: ${damage}`, remedyFor(found, point));
    } else if (lacks !== null) {
      add('affected', id, `the point ${id} of ${name} cannot be restored: it builds on ${lacks}`);
    }
    for (const proof of point.failed) {
      const again = `rbdelta repo verify --level ${proof.level} REPO ${name}@${id} looks again`;
      if (!isOfFiles(proof.level)) add('failed', id, `the point ${id} of ${name}: ${foundBy(proof)}`, again);
    }
  }
  if (found.catalogDiffers !== null && !isBusy && !found.points.some(({ isGone }) => isGone)) {
    if (found.catalogIsNewer) add('catalog', null, found.catalogDiffers, 'a newer rbdelta may read it');
    else add('catalog', null, `the catalog of ${name} is outdated: ${found.catalogDiffers}`, repair);
  }
  for (const { key, error } of found.damagedProofs)
    add(
      'proofs',
      key.split('/').at(-2) ?? null,
      error.message,
      'rbdelta repo repair removes it; verify proves it again',
    );
  for (const intent of found.intents) {
    const { operation, started, host } = intent;
    const what = `a ${operation} of ${name} that began at ${started} on ${printable(host)}`;
    if (isBusy) add('intent', null, `${what} is under way`);
    else if (operation === 'backup')
      add('intent', intent.point, `${what} was interrupted`, 'the next backup goes on with it');
    else add('intent', null, `${what} was interrupted`, 'rbdelta repo repair finishes it, so does the next prune');
  }
  for (const { error } of found.damagedIntents) add('intent', null, error.message, repair);
  for (const lock of found.locks) {
    const text = `${name} is locked: ${describeLock(lock)}`;
    if (lock.isDead) add('lock', null, `${text}, and is gone`, 'rbdelta repo unlock removes the lock');
    else add('lock', null, text);
  }
  if (!isBusy) {
    for (const { point, keys, bytes } of found.unfinished)
      add(
        'unfinished',
        point,
        `${counted(keys.length, 'file')} of ${name}, ${bytes} bytes, of no point: ${point}`,
        repair,
      );
    for (const { point, keys } of found.unnamed) {
      const what = `${counted(keys.length, 'file')} that its manifest does not name`;
      add('unnamed', point, `the point ${point} of ${name} has ${what}: ${keys[0]}`, repair);
    }
  }
  all.push(...foreignFindings(repository, image, found.foreign));
  return all;
}

/** Foreign files that are named one by one; a bucket may have a million. */
const foreignShown = 20;

function foreignFindings({ store }: Repository, image: ImageName | null, keys: readonly string[]): CheckFinding[] {
  const texts = keys.slice(0, foreignShown).map((key) => `${store.nameOf(key)} is none of ours; it is left alone`);
  const more = keys.length - texts.length;
  if (more > 0) texts.push(`${counted(more, 'more object')} there that are none of ours`);
  return texts.map((text) => ({ state: 'note', kind: 'foreign', image, point: null, text, hint: null }));
}

/** One finding for each folder. */
async function temporaryIn({ store }: Repository, image: ImageName | null): Promise<CheckFinding[]> {
  const byFolder = new Map<string, { count: number; bytes: number }>();
  for await (const { key, bytes } of store.leftovers(image === null ? '' : imageFolder(image))) {
    const folder = key.slice(0, key.lastIndexOf('/') + 1);
    const sum = byFolder.get(folder) ?? { count: 0, bytes: 0 };
    byFolder.set(folder, { count: sum.count + 1, bytes: sum.bytes + bytes });
  }
  return [...byFolder].map(([folder, { count, bytes }]) => {
    const text = `${counted(count, 'file')} or upload that a writer did not finish, ${bytes} bytes, in ${store.nameOf(folder)}`;
    const hint = 'rbdelta repo repair removes it, unless a writer is at it';
    return { state: 'note', kind: 'temporary', image, point: null, text, hint };
  });
}
