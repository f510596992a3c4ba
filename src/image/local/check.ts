// Whether a local pool is sound: every record against those that it goes with. What a crash leaves is told apart from damage.

import { counted, nameFromBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  directoryValue,
  headerObjectName,
  idData,
  objectMapName,
  parseDirectoryKey,
  poolObject,
} from '../../format/rbd-header.ts';
import { checkChildren, checkImage, damageOf, danglingChildren, labelOf, wrongMaps } from './check-image.ts';
import { detachChild } from './clones.ts';
import type { Space } from './directory.ts';
import { removeDirectory } from './files.ts';
import { headerKey, imageById, type ImageRef, loadHeader, readOmap } from './header.ts';
import { imageIds, keyOfPool, objectOfKey, strayFiles, sweep } from './inside.ts';
import { isLocked } from './lock.ts';
import { namespaceNames, poolIdOf, poolNames } from './pools.ts';
import { keysIn, objectKey, removeRange, type Store, within } from './store.ts';
import { openToWrite } from './writable.ts';

/** `problem`: something is wrong; `leftover`: it takes space and does no harm, as after a crash; `note`: not looked at. */
export interface Finding {
  state: 'problem' | 'leftover' | 'note';
  pool: string;
  namespace: string;
  /** By name, or by id where it has none; null for what belongs to no image. */
  image: string | null;
  text: string;
  /** What to do about a problem. */
  hint?: string;
  /** It was there, and is not any more. */
  repaired: boolean;
}

export interface CheckReport {
  images: number;
  findings: Finding[];
}

const fromCopy = 'put the directory of the pool back from a copy, the database and the files of one time';

/** What a check gathers. */
export interface Checking {
  store: Store;
  poolId: number;
  pool: string;
  add: (
    state: Finding['state'],
    space: { namespace: string },
    image: string | null,
    text: string,
    hint?: string,
  ) => void;
}

/** Looks at one pool, or at all (null). Nothing is changed. Images that are open to write are noted and passed over. */
export async function checkPools(store: Store, only: string | null): Promise<CheckReport> {
  const findings: Finding[] = [];
  let images = 0;
  for (const pool of only === null ? poolNames(store) : [only]) {
    const poolId = poolIdOf(store, pool);
    const add: Checking['add'] = (
      state,
      { namespace },
      image,
      text,
      hint = state === 'problem' ? fromCopy : undefined,
    ) =>
      findings.push({ state, pool, namespace, image, text, ...(hint === undefined ? {} : { hint }), repaired: false });
    const checking = { store, poolId, pool, add };
    for (const namespace of ['', ...namespaceNames(store, poolId)]) {
      images += await checkSpace(checking, { poolId, namespace });
    }
    checkOwners(checking);
    // a lost header is what tells whose files those are
    if (findings.some((finding) => finding.state === 'problem' && finding.pool === pool)) {
      add('note', { namespace: '' }, null, 'files were not looked at, since something is wrong with the records');
      continue;
    }
    const { files, bytes } = await sweep(store, { poolId, remove: false });
    if (files > 0) {
      add('leftover', { namespace: '' }, null, `${counted(files, 'file')} of ${bytes} bytes that nothing names`);
    }
  }
  if (only === null) findings.push(...(await strayFindings(store)));
  return { images, findings };
}

/** Of files whose pool is not there. */
async function strayFindings(store: Store): Promise<Finding[]> {
  const found = (await strayFiles(store)).filter(({ files }) => files > 0);
  return found.map(({ poolId, files, bytes, isLeftover }) => {
    const what = isLeftover ? 'of a pool that is no more' : 'of a pool that the database does not know';
    return {
      state: isLeftover ? ('leftover' as const) : ('problem' as const),
      pool: String(poolId),
      namespace: '',
      image: null,
      text: `${counted(files, 'file')} of ${bytes} bytes ${what}`,
      ...(isLeftover ? {} : { hint: fromCopy }),
      repaired: false,
    };
  });
}

/** Finishes what was interrupted, makes wrong maps anew, takes away what nothing names; then looks again. */
export async function repairPools(store: Store, only: string | null): Promise<CheckReport> {
  const before = await checkPools(store, only);
  const pools = only === null ? poolNames(store) : [only];
  for (const pool of pools) {
    for (const image of imagesIn(store, poolIdOf(store, pool))) await repairImage(store, image);
  }
  const half = await checkPools(store, only);
  for (const pool of pools) {
    // where something is wrong, what nothing names may be what is missing
    if (half.findings.some((finding) => finding.state === 'problem' && finding.pool === pool)) continue;
    const poolId = poolIdOf(store, pool);
    store.transact(() => dropOwnerless(store, poolId));
    await sweep(store, { poolId, remove: true });
  }
  if (only === null && !half.findings.some(({ state }) => state === 'problem')) {
    for (const { path, isLeftover } of await strayFiles(store)) if (isLeftover) await removeDirectory(path);
  }
  const after = await checkPools(store, only);
  const same = (a: Finding) => (b: Finding) => a.pool === b.pool && a.image === b.image && a.text === b.text;
  const repaired = before.findings
    .filter((finding) => !after.findings.some(same(finding)))
    .map((finding) => ({ ...finding, repaired: true }));
  return { images: after.images, findings: [...repaired, ...after.findings] };
}

async function checkSpace(checking: Checking, space: Space): Promise<number> {
  const { store, poolId, add } = checking;
  checkDirectory(checking, space);
  const ids = knownIds(store, space);
  for (const id of ids) {
    if (!hasHeader(store, space, id)) {
      add('problem', space, id, `the header of image ${id} is gone`);
      continue;
    }
    const image = imageById(store, poolId, space.namespace, id);
    checkChildren(checking, image);
    if (isLocked(store, image)) add('note', space, labelOf(image), 'it is open to write: passed over');
    else await checkImage(checking, image);
  }
  return ids.length;
}

/** Ids that anything tells of: an image that has lost its name is one all the same. */
function knownIds(store: Store, space: Space): string[] {
  const directory = [...readOmap(store, objectKey(space.poolId, space.namespace, poolObject.directory)).keys()];
  const listed = directory.map(parseDirectoryKey).flatMap((key) => (key?.kind === 'id' ? key.of : []));
  return [...new Set([...listed, ...imageIds(store, space)])];
}

/** Names, ids and the objects `rbd_id.*` must tell the same. */
function checkDirectory({ store, poolId, add }: Checking, space: Space): void {
  const directory = readOmap(store, objectKey(poolId, space.namespace, poolObject.directory));
  const idOf = new Map<string, string>();
  const nameOf = new Map<string, string>();
  for (const [key, value] of directory) {
    const parsed = parseDirectoryKey(key);
    if (parsed?.kind === 'name') idOf.set(parsed.of, directoryValue.decode(value));
    if (parsed?.kind === 'id') nameOf.set(parsed.of, directoryValue.decode(value));
  }
  for (const [name, id] of idOf) {
    if (nameOf.get(id) !== name) add('problem', space, name, `the directory has the name for ${id}, not the other way`);
  }
  for (const [id, name] of nameOf) {
    if (idOf.get(name) !== id) add('problem', space, name, `the directory has the id ${id}, not the other way`);
  }
  const prefix = objectKey(poolId, space.namespace, 'rbd_id.').subarray(0, -1);
  const named = new Map<string, string>();
  for (const { key, value } of store.content.getRange(within(prefix))) {
    named.set(nameFromBytes(Buffer.from(key).subarray(prefix.length, -1)), idData.decode(value));
  }
  for (const name of new Set([...idOf.keys(), ...named.keys()])) {
    if (idOf.get(name) !== named.get(name)) add('problem', space, name, `rbd_id and rbd_directory are not the same`);
  }
}

/** Headers, maps and records of objects that belong to no image. */
function checkOwners({ store, poolId, add }: Checking): void {
  for (const [namespace, object] of ownerless(store, poolId)) {
    add('leftover', { namespace }, null, `object ${printable(object)} belongs to no image`);
  }
}

function ownerless(store: Store, poolId: number): [string, string][] {
  const names = ['', ...namespaceNames(store, poolId)];
  const known = new Set<string>();
  for (const namespace of names) {
    for (const id of knownIds(store, { poolId, namespace })) {
      known.add(`${namespace}\0${headerObjectName(id)}`);
      if (!hasHeader(store, { poolId, namespace }, id)) continue;
      known.add(`${namespace}\0${objectMapName(id, null)}`);
      const { snapshots } = loadHeader(store, { poolId, namespace, id, name: '' });
      for (const snap of snapshots) known.add(`${namespace}\0${objectMapName(id, snap.id)}`);
    }
  }
  // data may be of images whose headers are in other pools
  for (const pool of poolNames(store)) {
    for (const image of imagesIn(store, poolIdOf(store, pool))) {
      if (image.dataPoolId === poolId) known.add(`${image.namespace}\0${image.prefix}`);
    }
  }
  const found = new Map<string, [string, string]>();
  const range = { start: keyOfPool(poolId), end: keyOfPool(poolId + 1) };
  for (const table of [store.omap, store.maps, store.objects]) {
    for (const key of keysIn(table, range)) {
      const [namespace, object] = objectOfKey(key);
      const label = `${namespace}\0${object}`;
      if (known.has(label) || !/^rbd_(header|object_map|data)\./.test(object)) continue;
      found.set(label, [namespace, object]);
    }
  }
  return [...found.values()];
}

/** In a transaction. */
function dropOwnerless(store: Store, poolId: number): void {
  for (const [namespace, object] of ownerless(store, poolId)) {
    const range = within(objectKey(poolId, namespace, object));
    for (const table of [store.omap, store.maps, store.objects]) removeRange(table, range);
  }
}

async function repairImage(store: Store, image: ImageRef): Promise<void> {
  if ((await damageOf(store, image)).length > 0) return;
  store.transact(() => {
    for (const { spec, child, format } of danglingChildren(store, image)) detachChild(store, spec, child, format);
  });
  let opened: Awaited<ReturnType<typeof openToWrite>>;
  try {
    // to open it finishes what was interrupted
    opened = await openToWrite(store, specOf(image));
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'busy') return;
    throw error;
  }
  try {
    for (const { name } of wrongMaps(store, image)) await opened.rebuildObjectMap(name);
  } finally {
    await opened.close();
  }
}

const specOf = ({ pool, namespace, id }: ImageRef) => ({ pool, namespace, image: '', id, snap: null });

/** With those in the trash, without those that have lost their header. */
const imagesIn = (store: Store, poolId: number): ImageRef[] =>
  ['', ...namespaceNames(store, poolId)].flatMap((namespace) =>
    knownIds(store, { poolId, namespace })
      .filter((id) => hasHeader(store, { poolId, namespace }, id))
      .map((id) => imageById(store, poolId, namespace, id)),
  );

const hasHeader = (store: Store, space: Space, id: string): boolean =>
  store.omap.doesExist(headerKey({ ...space, id, name: '' }, 'size'));
