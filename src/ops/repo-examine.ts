// One image of a repository as its files tell it: which points are whole, what does not belong there.

import { isDeepStrictEqual } from 'node:util';
import { mapOrdered } from '../bytes/ordered.ts';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { type Manifest, manifestName } from '../format/manifest.ts';
import { type CatalogEntry, decodeCatalog, type Intent, limits, type Proof } from '../format/repository.ts';
import { catalogKey, entryOf, isOfContent, readManifest } from '../repo/catalog.ts';
import { readIntent } from '../repo/intent.ts';
import { type ImageName, imageFolder, isPointId, pointFolder, textOf } from '../repo/keys.ts';
import { type FoundLock, listLocks } from '../repo/lock.ts';
import { isOfFiles, proofTimes, readProofs } from '../repo/proofs.ts';
import type { Repository } from '../repo/repository.ts';
import type { StoredObject } from '../store/port.ts';

export interface ExaminedPoint {
  id: string;
  /** What is wrong with the point itself; null: nothing that its metadata tells of. */
  damage: string | null;
  /** What puts that right without a loss; null where nothing does. */
  remedy: string | null;
  /** The damaged or missing point that it builds on, though nothing is wrong with itself. */
  lacks: string | null;
  /** What `repo verify` found when it last looked, of each level that did not find the point good. */
  failed: Proof[];
  /** null if it cannot be read. */
  manifest: Manifest | null;
  /** Only the catalog still tells of it. */
  isGone: boolean;
  /** Neither a manifest that can be read nor the catalog tells what it is: no command can name it. */
  isUnknown: boolean;
}

export interface Files {
  point: string;
  keys: string[];
  bytes: number;
}

export interface Examined {
  image: ImageName;
  /** By id. Those that a pending removal names are not among them. */
  points: ExaminedPoint[];
  /** What the catalog must be; and how it differs, null: not at all. */
  catalog: CatalogEntry[];
  catalogDiffers: string | null;
  /** A newer rbdelta wrote it: it is not ours to replace. */
  catalogIsNewer: boolean;
  /** Files of points that never came to be: no manifest, no entry in the catalog, nothing builds on them. */
  unfinished: Files[];
  /** Files of points that exist, of kinds that we write, which their manifests do not name. */
  unnamed: Files[];
  /** `proofs.json` that cannot be read. */
  damagedProofs: { key: string; error: RbdeltaError }[];
  intents: Intent[];
  damagedIntents: { key: string; error: RbdeltaError }[];
  locks: FoundLock[];
  /** Keys of nothing that we know. */
  foreign: string[];
}

/** Manifests fetched at the same time. */
const requests = 16;

const operations = ['backup', 'delete', 'rewrite'] as const;

/** What a writer of archives calls its files. */
const ourFile = /^[\w%+-]*(?:\d{6}\.rbdiff\.zst|\d{6}\.index|index)$/;

/** `files` are all below the image's folder, as they were listed. */
export async function examineImage(
  repository: Repository,
  image: ImageName,
  files: readonly StoredObject[],
): Promise<Examined> {
  const { folders, foreign, hasLocks } = sorted(image, files);
  const { intents, damagedIntents } = await intentsOf(repository, image, files);
  const leaving = new Set(intents.flatMap((one) => (one.operation === 'delete' ? one.points : [])));
  const rewritten = new Set(intents.flatMap((one) => (one.operation === 'rewrite' ? [one.point] : [])));
  const awaited = new Set(intents.flatMap((one) => (one.operation === 'backup' ? [one.point] : [])));
  const written = await catalogOf(repository, image, files);
  const known = new Map(written.entries.filter(({ id }) => !leaving.has(id)).map((entry) => [entry.id, entry]));

  const found: Examined = {
    image,
    points: [],
    catalog: [],
    catalogDiffers: null,
    catalogIsNewer: written.isNewer,
    unfinished: [],
    unnamed: [],
    damagedProofs: [],
    intents,
    damagedIntents,
    locks: hasLocks ? await listLocks(repository, image) : [],
    foreign,
  };
  const looked = mapOrdered(folders, requests, async ([id, names]) => ({
    id,
    names,
    ...(await manifestOf(repository, image, id, names)),
    ...(await proofsOf(repository, image, id, names)),
  }));
  const unfinished: Files[] = [];
  for await (const { id, names, manifest, damage, remedy, isNewer, proofs, failed, damagedProofs } of looked) {
    if (leaving.has(id)) continue;
    const folder = pointFolder(image, id);
    if (damagedProofs !== null) found.damagedProofs.push({ key: `${folder}proofs.json`, error: damagedProofs });
    if (manifest === null && damage === null) {
      if (!awaited.has(id)) unfinished.push(filesOf(folder, id, names, [...names.keys()]));
      continue;
    }
    const isUnknown = manifest === null && !isNewer && !known.has(id);
    const wrong = damage ?? missingFile(manifest, names) ?? damageIn(failed);
    found.points.push({ id, manifest, damage: wrong, remedy, lacks: null, failed, isGone: false, isUnknown });
    if (manifest === null) {
      const entry = known.get(id);
      if (entry !== undefined) found.catalog.push(entry);
      continue;
    }
    found.catalog.push(entryOf(manifest, proofs ?? known.get(id)?.proofs));
    const named = namesOf(manifest);
    const others = [...names.keys()].filter((name) => !named.has(name));
    const ours = others.filter((name) => ourFile.test(name));
    found.foreign.push(...others.filter((name) => !ourFile.test(name)).map((name) => folder + name));
    if (ours.length > 0 && !rewritten.has(id) && !awaited.has(id)) found.unnamed.push(filesOf(folder, id, names, ours));
  }
  settleLost(found, unfinished, known, folders);
  followChains(found.points);
  found.catalog.sort((a, b) => (a.id < b.id ? -1 : 1));
  found.catalogDiffers = written.failure ?? difference([...known.values()], found.catalog, awaited);
  return found;
}

/** The folders of points with their files, and what is of no kind that we know. */
function sorted(image: ImageName, files: readonly StoredObject[]) {
  const folders = new Map<string, Map<string, number>>();
  const foreign: string[] = [];
  const root = imageFolder(image);
  let hasLocks = false;
  for (const { key, bytes } of files) {
    const [folder = '', name, ...deeper] = key.slice(root.length).split('/');
    if (name !== undefined && deeper.length === 0 && isPointId(folder)) {
      const names = folders.get(folder) ?? new Map<string, number>();
      folders.set(folder, names.set(name, bytes));
    } else if (folder === 'lock' && name?.endsWith('.json') && deeper.length === 0) hasLocks = true;
    else if (key !== catalogKey(image) && !isIntent(folder, name, deeper)) foreign.push(key);
  }
  return { folders, foreign, hasLocks };
}

const isIntent = (folder: string, name: string | undefined, deeper: readonly string[]): boolean =>
  folder === 'intent' && deeper.length === 0 && operations.some((one) => name === `${one}.json`);

async function intentsOf(repository: Repository, image: ImageName, files: readonly StoredObject[]) {
  const keys = new Set(files.map(({ key }) => key));
  const intents: Intent[] = [];
  const damagedIntents: Examined['damagedIntents'] = [];
  for (const operation of operations) {
    const key = `${imageFolder(image)}intent/${operation}.json`;
    if (!keys.has(key)) continue;
    const intent = await contentOr(readIntent(repository, image, operation));
    if (intent instanceof RbdeltaError) damagedIntents.push({ key, error: intent });
    else if (intent !== null) intents.push(intent);
  }
  return { intents, damagedIntents };
}

async function catalogOf(
  { store }: Repository,
  image: ImageName,
  files: readonly StoredObject[],
): Promise<{ entries: CatalogEntry[]; failure: string | null; isNewer: boolean }> {
  const key = catalogKey(image);
  const bytes = files.some((file) => file.key === key) ? await store.get(key, limits.catalogBytes) : null;
  if (bytes === null) return { entries: [], failure: null, isNewer: false };
  try {
    return { entries: decodeCatalog(bytes, store.nameOf(key)).points, failure: null, isNewer: false };
  } catch (error) {
    if (!isOfContent(error)) throw error;
    return { entries: [], failure: error.message, isNewer: error.code === 'unsupported' };
  }
}

async function manifestOf(
  repository: Repository,
  image: ImageName,
  id: string,
  names: ReadonlyMap<string, number>,
): Promise<{ manifest: Manifest | null; damage: string | null; remedy: string | null; isNewer: boolean }> {
  const whole = { damage: null, remedy: null, isNewer: false };
  if (!names.has(manifestName)) return { manifest: null, ...whole };
  const manifest = await contentOr(readManifest(repository, image, id));
  if (manifest instanceof RbdeltaError) {
    const { message, hint, code } = manifest;
    return { manifest: null, damage: message, remedy: hint ?? null, isNewer: code === 'unsupported' };
  }
  if (manifest === null || manifest.repository === repository.id) return { manifest, ...whole };
  const damage = `its manifest is of the repository ${manifest.repository}, which is not this one, ${repository.id}`;
  const remedy = 'nothing of it is lost: put the rbdelta.json of that repository back, or the point where it belongs';
  return { manifest, damage, remedy, isNewer: false };
}

async function proofsOf(
  repository: Repository,
  image: ImageName,
  id: string,
  names: ReadonlyMap<string, number>,
): Promise<{ proofs: CatalogEntry['proofs'] | null; failed: Proof[]; damagedProofs: RbdeltaError | null }> {
  if (!names.has('proofs.json')) return { proofs: null, failed: [], damagedProofs: null };
  const proofs = await contentOr(readProofs(repository, image, id));
  if (proofs instanceof RbdeltaError) return { proofs: {}, failed: [], damagedProofs: proofs };
  if (proofs === null) return { proofs: null, failed: [], damagedProofs: null };
  return { proofs: proofTimes(proofs.proofs), failed: proofs.proofs.filter(({ ok }) => !ok), damagedProofs: null };
}

/** In words: that of the files, which no list shows. */
function damageIn(failed: readonly Proof[]): string | null {
  const proof = failed.find(({ level }) => isOfFiles(level));
  return proof === undefined ? null : foundBy(proof);
}

export const foundBy = ({ level, finished, what }: Proof): string =>
  `verify --level ${level} found at ${finished}: ${what}`;

/** A file that cannot be understood is a result, too; what fails on the way to it is not. */
const contentOr = <T>(reading: Promise<T>): Promise<T | RbdeltaError> =>
  reading.catch((error: unknown) => {
    if (isOfContent(error)) return error;
    throw error;
  });

/** Everything that the manifest names is there, with its length; else what is not. */
export function missingFile(manifest: Manifest | null, names: ReadonlyMap<string, number>): string | null {
  if (manifest === null) return null;
  const wrong: string[] = [];
  for (const { name, bytes } of [...manifest.segments, manifest.index]) {
    const found = names.get(name);
    if (found === undefined) wrong.push(`${name} is missing`);
    else if (found !== bytes) wrong.push(`${name} has ${found} bytes, ${bytes} by the manifest`);
  }
  return wrong.length > 3 ? `${wrong[0]}; and so on, ${counted(wrong.length, 'file')}` : wrong.join('; ') || null;
}

const namesOf = (manifest: Manifest): Set<string> =>
  new Set([manifestName, 'proofs.json', manifest.index.name, ...manifest.segments.map(({ name }) => name)]);

const filesOf = (folder: string, point: string, names: ReadonlyMap<string, number>, keys: string[]): Files => ({
  point,
  keys: keys.map((name) => folder + name),
  bytes: keys.reduce((sum, name) => sum + (names.get(name) ?? 0), 0),
});

/**
 * The catalog is written after a manifest and before its removal: an entry without a manifest is a point that was lost,
 * and what is left of its files is no rubbish. Neither is what another point builds on.
 */
function settleLost(
  found: Examined,
  unfinished: readonly Files[],
  known: ReadonlyMap<string, CatalogEntry>,
  folders: ReadonlyMap<string, unknown>,
): void {
  const bases = new Set(found.points.map(({ manifest }) => manifest?.base?.point));
  for (const files of unfinished) {
    const entry = known.get(files.point);
    if (entry === undefined && !bases.has(files.point)) found.unfinished.push(files);
    else {
      const damage = 'its manifest is missing';
      const isUnknown = entry === undefined;
      found.points.push({
        id: files.point,
        damage,
        remedy: null,
        lacks: null,
        failed: [],
        manifest: null,
        isGone: false,
        isUnknown,
      });
      if (entry !== undefined) found.catalog.push(entry);
    }
  }
  for (const { id } of known.values()) {
    if (!folders.has(id))
      found.points.push({
        id,
        damage: 'all its files are missing',
        remedy: null,
        lacks: null,
        failed: [],
        manifest: null,
        isGone: true,
        isUnknown: false,
      });
  }
  found.points.sort((a, b) => (a.id < b.id ? -1 : 1));
}

/** Each point needs the one that it was made from, in the very state that it had then. */
function followChains(points: readonly ExaminedPoint[]): void {
  const byId = new Map(points.map((point) => [point.id, point]));
  for (const point of points) {
    const { base = null } = point.manifest ?? {};
    const below = base === null ? undefined : byId.get(base.point);
    if (base === null || point.damage !== null || below?.manifest == null) continue;
    if (below.manifest.fingerprint === base.fingerprint) continue;
    point.damage = `it was made from another state of ${base.point} than the one that is there`;
  }
  // What is known of each: not looked at twice, however the links go.
  const lacks = new Map<string, string | null>();
  for (const start of points) {
    const way = new Set<string>();
    let verdict: string | null = null;
    for (let id: string | null = start.id; id !== null; ) {
      const point = byId.get(id);
      const settled = lacks.get(id);
      if (point === undefined || point.damage !== null || way.has(id)) verdict = id;
      else if (settled !== undefined) verdict = settled;
      if (verdict !== null || point === undefined || settled !== undefined) break;
      way.add(id);
      id = point.manifest?.base?.point ?? null;
    }
    for (const id of way) lacks.set(id, verdict);
  }
  for (const point of points) if (point.damage === null) point.lacks = lacks.get(point.id) ?? null;
}

/** `awaited`: of an interrupted backup, whose entry the next one writes. */
function difference(
  written: readonly CatalogEntry[],
  right: readonly CatalogEntry[],
  awaited: ReadonlySet<string>,
): string | null {
  const byId = new Map(written.map((entry) => [entry.id, entry]));
  const wrong: string[] = [];
  for (const entry of right) {
    const found = byId.get(entry.id);
    byId.delete(entry.id);
    if (found === undefined ? !awaited.has(entry.id) : !isDeepStrictEqual(found, entry)) wrong.push(entry.id);
  }
  wrong.push(...byId.keys());
  if (wrong.length === 0) return null;
  return `it is not what the manifests tell, of ${counted(wrong.length, 'point')}: ${wrong.slice(0, 3).join(', ')}`;
}

/** What can be done about a damaged point. If it is to go, those that build on it go with it. */
export function remedyFor(
  { image, points }: Pick<Examined, 'image' | 'points'>,
  { id, damage, failed, isGone, remedy }: ExaminedPoint,
): string {
  if (remedy !== null) return remedy;
  if (isGone) return 'rbdelta repo repair takes it out of the catalog';
  const name = textOf(image);
  const above = points.filter(({ lacks }) => lacks === id);
  const names = [id, ...above.slice(0, 4).map((point) => point.id)].map((one) => `${name}@${one}`);
  const more = above.length > 4 ? `, and so on: ${counted(above.length, 'point')} that build on it` : '';
  const forget = `rbdelta repo forget REPO ${names.join(' ')}${more}`;
  const proof = failed.find((one) => foundBy(one) === damage);
  return proof === undefined
    ? forget
    : `rbdelta repo verify --level ${proof.level} REPO ${name}@${id} looks again; what stays damaged goes: ${forget}`;
}
