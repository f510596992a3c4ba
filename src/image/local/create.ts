// Making and removing images of the local pool: each is one transaction; files follow a removal.

import { randomBytes } from 'node:crypto';
import { printable } from '../../bytes/text.ts';
import { geometryOf, objectCount } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import {
  defaultFeatures,
  feature,
  namesOfFeatures,
  objectPrefixOf,
  opFeature,
  type RbdHeader,
  utimeFromMs,
} from '../../format/rbd-header.ts';
import type { CloneOptions, CreateOptions } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { dropLocks, refuseLocked } from './advisory-locks.ts';
import { attachChild, leaveParent } from './clones.ts';
import { imageDirectory, removeDirectory } from './files.ts';
import { addToDirectory, idOfName, putTrashRecord, removeFromDirectory } from './directory.ts';
import {
  findImage,
  findSnapshot,
  hasFeature,
  headerKey,
  type ImageRef,
  loadHeader,
  readOmap,
  setOperation,
  storeHeader,
} from './header.ts';
import { dropLock, isKnown, makeKnown, refuseOpen } from './lock.ts';
import { checkObjectCount, mapKey, removeMap, resizeMap } from './object-maps.ts';
import { ObjectTable } from './objects.ts';
import { checkName, checkNamespace, poolIdOf } from './pools.ts';
import type { Store } from './store.ts';
import { dropTrims } from './trim.ts';
import { dropUnflushed } from './unflushed.ts';
import { tidyParent } from './writable.ts';

/** Orders that rbd takes: objects of 4 KiB to 32 MiB. */
export const orders = { least: 12, most: 25, default: 22 } as const;

/** Features that the local pool keeps, or that it can at least carry in a header without doing anything about them. */
const supported =
  feature.layering |
  feature.striping |
  feature.exclusiveLock |
  feature.objectMap |
  feature.fastDiff |
  feature.deepFlatten |
  feature.dataPool;

/** Throws `notFound` for pool or namespace, `exists`, `invalid` for options that rbd refuses, `tooLarge`. */
export function createImage(store: Store, spec: ImageSpec, options: CreateOptions): void {
  store.transact(() => addImage(store, spec, options, () => {}));
}

/**
 * A new image that shows the snapshot which `parent` names, with its order, features and metadata unless told otherwise.
 * As rbd, format 1 asks for protection and for one namespace, either of them for layering.
 */
export function cloneImage(store: Store, parent: ImageSpec, child: ImageSpec, options: CloneOptions): void {
  store.transact(() => addClone(store, parent, child, options));
}

function addClone(store: Store, parent: ImageSpec, child: ImageSpec, options: CloneOptions): void {
  if (parent.snap === null) throw new RbdeltaError('invalid', 'a clone is made from a snapshot');
  const from = findImage(store, parent);
  const header = loadHeader(store, from);
  const snap = findSnapshot(header, from, parent.snap);
  const { cloneFormat = 1, ...rest } = options;
  const features = options.features ?? header.features & supported & ~(feature.striping | feature.dataPool);
  const label = printable(`${from.pool}/${from.name}@${snap.name}`);
  const refuse = (message: string, hint: string) => {
    throw new RbdeltaError('invalid', message, { hint });
  };
  if (!hasFeature(header, feature.layering) || (features & feature.layering) === 0) {
    refuse('both a parent and its clone need the feature layering', 'create them with --image-feature layering,…');
  }
  if (cloneFormat === 1 && snap.protection !== 'protected') {
    refuse(
      `cannot clone ${label}: it is not protected`,
      `rbdelta snap protect ${label}; or --rbd-default-clone-format 2`,
    );
  }
  if (cloneFormat === 1 && parent.namespace !== child.namespace) {
    throw new RbdeltaError('crossDevice', `cannot clone ${label} into another namespace with a clone of format 1`, {
      hint: '--rbd-default-clone-format 2',
    });
  }
  const { order, stripeUnit, stripeCount } = header;
  const created = { order, stripeUnit, stripeCount, ...rest, features, size: snap.size };
  if (2 ** created.order % created.stripeUnit !== 0) {
    refuse(
      `the stripe unit ${created.stripeUnit} of ${label} does not divide the object size`,
      'leave --object-size out',
    );
  }
  addImage(store, child, created, (image, made) => {
    const link = { pool: from.poolId, namespace: from.namespace, imageId: from.id, snapId: snap.id };
    made.parent = { ...link, overlap: snap.size };
    made.metadata = new Map(header.metadata);
    attachChild(store, link, image, cloneFormat);
    if (cloneFormat === 2) setOperation(made, opFeature.cloneChild, true);
  });
}

type NewImage = Pick<ImageRef, 'poolId' | 'namespace' | 'id' | 'name'>;

/** In a transaction. `complete` is called before the header is stored. */
function addImage(
  store: Store,
  spec: ImageSpec,
  options: CreateOptions,
  complete: (image: NewImage, header: RbdHeader) => void,
): void {
  if (spec.snap !== null) throw new RbdeltaError('invalid', 'an image is created without a snapshot');
  checkName(spec.image, 'image');
  const poolId = poolIdOf(store, spec.pool);
  checkNamespace(store, poolId, spec.namespace);
  const dataPoolId = options.dataPool === undefined ? poolId : poolIdOf(store, options.dataPool);
  const ownData = dataPoolId !== poolId;
  const header = newHeader(options, ownData ? dataPoolId : null);
  checkFree(store, poolId, spec, spec.image);
  let id: string;
  do {
    id = randomBytes(6).toString('hex');
    header.objectPrefix = objectPrefixOf(id, ownData ? poolId : null);
  } while (isKnown(store, dataPoolId, header.objectPrefix));
  makeKnown(store, dataPoolId, header.objectPrefix);
  const image = { poolId, namespace: spec.namespace, id, name: spec.image };
  complete(image, header);
  addToDirectory(store, image);
  storeHeader(store, image, header);
  if (hasFeature(header, feature.objectMap)) {
    resizeMap(store, mapKey(image, null), objectCount(geometryOf(header)));
  }
}

/** Throws `exists` where an image has the name. In the transaction that gives it to another one. */
export function checkFree(store: Store, poolId: number, spec: ImageSpec, name: string): void {
  if (idOfName(store, { poolId, namespace: spec.namespace }, name) === null) return;
  throw new RbdeltaError('exists', `image '${printable(name)}' already exists in pool '${printable(spec.pool)}'`);
}

/** Another name in the same pool and namespace; its writer does not mind. */
export function renameImage(store: Store, spec: ImageSpec, name: string): void {
  store.transact(() => {
    const image = findImage(store, spec);
    refuseLocked(store, image);
    checkName(name, 'image');
    checkFree(store, image.poolId, spec, name);
    removeFromDirectory(store, image);
    addToDirectory(store, { ...image, name });
  });
}

/**
 * An image by its name, or by its id in the trash. Throws `notEmpty` when it has snapshots, `busy` when it is open to
 * write. A crash after the transaction leaves the image's files: `sweep` finds them.
 */
export async function removeImage(store: Store, spec: ImageSpec): Promise<void> {
  if (spec.snap !== null) throw new RbdeltaError('invalid', 'to remove an image, name it without a snapshot');
  await removeFound(store, () => findImage(store, spec));
}

/** Removes the image that `find` finds, which is called in the transaction that removes it. */
export async function removeFound(store: Store, find: () => ImageRef): Promise<void> {
  const { image, parent } = store.transact(() => {
    const image = find();
    refuseOpen(store, image);
    refuseLocked(store, image);
    const header = loadHeader(store, image);
    refuseSnapshots(image, header);
    const { parent } = header;
    leaveParent(store, image, header);
    dropImage(store, image);
    return { image, parent };
  }, 'frees');
  await removeDirectory(imageDirectory(store.dir, image.dataPoolId, image.prefix));
  if (parent !== null) await tidyParent(store, parent);
}

function refuseSnapshots(image: ImageRef, { snapshots }: RbdHeader): void {
  if (snapshots.length === 0) return;
  const inTrash = snapshots.every((snap) => snap.namespace.type === 'trash');
  const message = `image '${printable(image.name)}' has ${snapshots.length} snapshots${inTrash ? ' with clones' : ''}, and cannot be removed with them`;
  throw new RbdeltaError('notEmpty', message, {
    hint: inTrash ? 'rbdelta children --all shows the clones: flatten or remove them' : 'rbdelta snap purge',
  });
}

/** Forgets an image and all that belongs to it, but for its files. In a transaction. */
export function dropImage(store: Store, image: ImageRef): void {
  for (const { id } of loadHeader(store, image).snapshots) removeMap(store, mapKey(image, id));
  removeMap(store, mapKey(image, null));
  removeFromDirectory(store, image);
  putTrashRecord(store, image, image.id, null);
  for (const key of readOmap(store, headerKey(image)).keys()) void store.omap.remove(headerKey(image, key));
  new ObjectTable(store, image).clear();
  dropTrims(store, image);
  dropUnflushed(store, image);
  dropLock(store, image);
  dropLocks(store, image);
}

function newHeader(options: CreateOptions, dataPoolId: number | null): RbdHeader {
  const { size, order = orders.default } = options;
  const refuse = (message: string, hint?: string) => {
    throw new RbdeltaError('invalid', message, hint === undefined ? {} : { hint });
  };
  if (!Number.isSafeInteger(size) || size < 0) refuse(`an image cannot have ${size} bytes`);
  if (!Number.isInteger(order) || order < orders.least || order > orders.most) {
    refuse(`the order of an image is ${orders.least} to ${orders.most}, not ${order}`);
  }
  const objectBytes = 2 ** order;
  const stripeCount = options.stripeCount ?? 1;
  const stripeUnit = stripeCount === 1 ? objectBytes : (options.stripeUnit ?? objectBytes);
  if (!Number.isInteger(stripeCount) || stripeCount < 1) refuse(`the stripe count cannot be ${stripeCount}`);
  if (!Number.isInteger(stripeUnit) || stripeUnit < 1 || objectBytes % stripeUnit !== 0) {
    refuse(`the stripe unit ${stripeUnit} does not divide the object size ${objectBytes}`);
  }
  const striped = stripeUnit !== objectBytes || stripeCount !== 1;
  if (options.mirrorMode !== undefined) {
    throw new RbdeltaError('unsupported', 'the local pool mirrors no images', {
      hint: 'leave the mode of mirroring out',
    });
  }
  let features = options.features ?? defaultFeatures;
  if ((features & ~supported) !== 0 || features > 0xffffffff) {
    const names = namesOfFeatures(features - (features & supported)).join(', ');
    throw new RbdeltaError('unsupported', `the local pool has no images with the features ${names}`);
  }
  // these two follow from the other options, whatever is asked for
  features = (features & ~(feature.striping | feature.dataPool)) | (striped ? feature.striping : 0);
  if (dataPoolId !== null) features |= feature.dataPool;
  const needs = (one: number, other: number, text: string) => {
    if ((features & one) !== 0 && (features & other) === 0) refuse(text, 'add it, or leave the other out');
  };
  needs(feature.objectMap, feature.exclusiveLock, 'the feature object-map needs exclusive-lock');
  needs(feature.fastDiff, feature.objectMap, 'the feature fast-diff needs object-map');
  const now = utimeFromMs(Date.now());
  const header: RbdHeader = {
    size,
    order,
    features,
    objectPrefix: '',
    snapSeq: 0,
    created: now,
    accessed: now,
    modified: now,
    flags: 0,
    stripeUnit,
    stripeCount,
    dataPoolId,
    opFeatures: 0,
    parent: null,
    snapshots: [],
    snapChildren: new Map(),
    metadata: new Map(),
    group: null,
    snapLimit: null,
    migration: null,
  };
  if (hasFeature(header, feature.objectMap)) checkObjectCount(objectCount(geometryOf(header)));
  return header;
}
