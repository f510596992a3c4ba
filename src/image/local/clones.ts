// Who was cloned from whom: in the child's header, and on the parent's side in `rbd_children` (format 1) or its header (2).

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import {
  type ChildSpec,
  childrenKey,
  childrenValue,
  feature,
  opFeature,
  type ParentSpec,
  poolObject,
  type RbdHeader,
} from '../../format/rbd-header.ts';
import type { Child } from '../port.ts';
import { nameOfId } from './directory.ts';
import { hasFeature, headerKey, type ImageRef, loadHeader, setOperation, storeHeader } from './header.ts';
import { poolIdOf, poolNameOf, poolNames } from './pools.ts';
import { objectKey, type Store } from './store.ts';

/** A child as its parent's list has it, with the names that go with the ids. */
export type ChildRef = Pick<ImageRef, 'poolId' | 'namespace' | 'id'>;

/** Enters a new clone of `spec` on the parent's side. In a transaction. */
export function attachChild(store: Store, spec: ParentSpec, child: ChildRef, format: 1 | 2): void {
  if (format === 1) {
    const ids = childIds(store, child, spec);
    putChildIds(store, child, spec, [...ids, child.id].sort());
    return;
  }
  changeParent(store, spec, (header) => {
    const children = header.snapChildren.get(spec.snapId) ?? [];
    header.snapChildren.set(spec.snapId, [...children, specOf(child)].sort(byPlace));
    countChildren(header, spec.snapId);
  });
}

/** Takes a clone off the parent's side. In a transaction. */
export function detachChild(store: Store, spec: ParentSpec, child: ChildRef, format: 1 | 2): void {
  if (format === 1) {
    const ids = childIds(store, child, spec).filter((id) => id !== child.id);
    putChildIds(store, child, spec, ids);
    return;
  }
  changeParent(store, spec, (header) => {
    const isChild = ({ pool, namespace, imageId }: ChildSpec) =>
      pool === child.poolId && namespace === child.namespace && imageId === child.id;
    const left = (header.snapChildren.get(spec.snapId) ?? []).filter((one) => !isChild(one));
    if (left.length > 0) header.snapChildren.set(spec.snapId, left);
    else header.snapChildren.delete(spec.snapId);
    countChildren(header, spec.snapId);
  });
}

/** Which format of clone it is: 2 says so itself. */
export const cloneFormatOf = (header: RbdHeader): 1 | 2 => ((header.opFeatures & opFeature.cloneChild) !== 0 ? 2 : 1);

/**
 * The head no longer shows the parent; neither do snapshots, with the feature for that. Returns whether the parent has
 * lost its child. In a transaction, the header not yet stored.
 */
export function leaveParent(store: Store, image: ImageRef, header: RbdHeader): boolean {
  if (header.parent === null) return false;
  header.parent = { ...header.parent, overlap: null };
  if (hasFeature(header, feature.deepFlatten)) for (const snap of header.snapshots) snap.parentOverlap = null;
  return forgetParent(store, image, header);
}

/** Forgets the parent once nothing shows it: returns whether that was so. In a transaction, the header not yet stored. */
export function forgetParent(store: Store, image: ImageRef, header: RbdHeader): boolean {
  const { parent, snapshots } = header;
  if (parent === null || parent.overlap !== null) return false;
  if (snapshots.some((snap) => snap.parentOverlap !== null)) return false;
  detachChild(store, parent, image, cloneFormatOf(header));
  setOperation(header, opFeature.cloneChild, false);
  header.parent = null;
  return true;
}

/** Clones of one snapshot, or of all (null), sorted by name. */
export function childrenOf(store: Store, image: ImageRef, snapId: number | null): Child[] {
  const header = loadHeader(store, image);
  const snapIds = header.snapshots.map(({ id }) => id).filter((id) => snapId === null || id === snapId);
  const found = snapIds.flatMap((id) => [
    ...oldChildren(store, image, id),
    ...(header.snapChildren.get(id) ?? []).map(({ pool, namespace, imageId }) => ({
      poolId: pool,
      namespace,
      id: imageId,
    })),
  ]);
  return found.map((child) => described(store, child)).sort(byName);
}

/** Clones of format 1, in any pool: they keep their parent's snapshot protected. */
export function oldChildren(store: Store, image: ImageRef, snapId: number): ChildRef[] {
  const { poolId, namespace, id: imageId } = image;
  return poolNames(store).flatMap((pool) => {
    const space = { poolId: poolIdOf(store, pool), namespace };
    return childIds(store, space, { pool: poolId, imageId, snapId }).map((id) => ({ ...space, id }));
  });
}

/** As rbd: a snapshot with clones of format 1 stays protected. */
export function checkNoOldChildren(store: Store, image: ImageRef, snap: { id: number; name: string }): void {
  const children = oldChildren(store, image, snap.id);
  if (children.length === 0) return;
  const [first] = children.map((child) => described(store, child));
  const label = `${image.name}@${snap.name}`;
  const message = `cannot unprotect '${printable(label)}': it has ${children.length} clones, one is '${printable(first?.image ?? '')}' in pool '${printable(first?.pool ?? '')}'`;
  throw new RbdeltaError('busy', message, {
    hint: `rbdelta children ${printable(`${image.pool}/${label}`)} lists them; flatten or remove them first`,
  });
}

function described(store: Store, child: ChildRef): Child {
  const named = nameOfId(store, child, child.id);
  return {
    pool: poolNameOf(store, child.poolId) ?? String(child.poolId),
    namespace: child.namespace,
    image: named?.name ?? '',
    id: child.id,
    inTrash: named?.inTrash ?? false,
  };
}

const childrenObjectKey = (child: Pick<ChildRef, 'poolId' | 'namespace'>, parent: Omit<ParentSpec, 'namespace'>) =>
  Buffer.concat([objectKey(child.poolId, child.namespace, poolObject.children), childrenKey.encode(parent)]);

/** Clones of format 1 in one pool and namespace, by id. */
export function childIds(
  store: Store,
  space: Pick<ChildRef, 'poolId' | 'namespace'>,
  parent: Omit<ParentSpec, 'namespace'>,
) {
  const value = store.omap.get(childrenObjectKey(space, parent));
  return value === undefined ? [] : childrenValue.decode(value);
}

function putChildIds(store: Store, space: ChildRef, parent: ParentSpec, ids: string[]): void {
  const key = childrenObjectKey(space, parent);
  void (ids.length === 0 ? store.omap.remove(key) : store.omap.put(key, childrenValue.encode(ids)));
}

function changeParent(store: Store, { pool, namespace, imageId }: ParentSpec, change: (header: RbdHeader) => void) {
  const parent = { poolId: pool, namespace, id: imageId, name: '' };
  // a pool that was removed by force took its images with it
  if (!store.omap.doesExist(headerKey(parent, 'size'))) return;
  const header = loadHeader(store, parent);
  change(header);
  storeHeader(store, parent, header);
}

function countChildren(header: RbdHeader, snapId: number): void {
  for (const snap of header.snapshots) {
    if (snap.id === snapId) snap.childCount = header.snapChildren.get(snapId)?.length ?? 0;
  }
  setOperation(header, opFeature.cloneParent, header.snapChildren.size > 0);
}

const specOf = ({ poolId, namespace, id }: ChildRef): ChildSpec => ({ pool: poolId, namespace, imageId: id });

const compare = <T extends string | number>(a: T, b: T): number => (a < b ? -1 : a > b ? 1 : 0);

const byPlace = (a: ChildSpec, b: ChildSpec): number =>
  compare(a.pool, b.pool) || compare(a.namespace, b.namespace) || compare(a.imageId, b.imageId);

const byName = (a: Child, b: Child): number =>
  compare(a.pool, b.pool) || compare(a.namespace, b.namespace) || compare(a.image, b.image);
