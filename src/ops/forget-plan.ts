// What has to be done so that some points of an image can go: who builds on them gets another base first. Pure.

import { RbdeltaError } from '../error.ts';
import type { CatalogEntry } from '../format/repository.ts';

export interface Rebasing {
  point: CatalogEntry;
  /** The point that it will build on; null: it becomes a full. */
  base: CatalogEntry | null;
  /** Points whose content becomes part of it, oldest first. */
  absorbs: CatalogEntry[];
}

export interface ForgetPlan {
  /** Oldest first. */
  remove: CatalogEntry[];
  rebase: Rebasing[];
}

/** `points` are all of the image. `corrupt` where the base of a point is not among them. */
export function planForget(points: readonly CatalogEntry[], ids: ReadonlySet<string>): ForgetPlan {
  const byId = new Map(points.map((point) => [point.id, point]));
  const baseOf = (point: CatalogEntry): CatalogEntry | null => {
    if (point.base === null) return null;
    const base = byId.get(point.base);
    if (base !== undefined) return base;
    throw new RbdeltaError('corrupt', `${point.id} builds on ${point.base}, which is not there`, {
      hint: 'rbdelta repo check tells what is affected',
    });
  };
  const rebase: Rebasing[] = [];
  for (const point of points) {
    if (ids.has(point.id) || point.base === null || !ids.has(point.base)) continue;
    const absorbs: CatalogEntry[] = [];
    let base = baseOf(point);
    while (base !== null && ids.has(base.id)) {
      absorbs.unshift(base);
      base = baseOf(base);
    }
    rebase.push({ point, base, absorbs });
  }
  return { remove: points.filter(({ id }) => ids.has(id)), rebase };
}
