// The object maps of an image that is open to write: the head's, and those of snapshots that a copy-up changes.

import { EXISTS, EXISTS_CLEAN, type ObjectState } from '../../format/object-map.ts';
import { feature, type RbdHeader } from '../../format/rbd-header.ts';
import { hasFeature, type ImageRef } from './header.ts';
import { mapKey, OpenMap } from './object-maps.ts';
import type { Put, Store } from './store.ts';

export class ImageMaps {
  readonly #store: Store;
  readonly #image: ImageRef;
  readonly #open = new Map<number | null, OpenMap>();
  /** Whether the image has maps at all. */
  readonly kept: boolean;
  readonly fastDiff: boolean;

  constructor(store: Store, image: ImageRef, header: RbdHeader) {
    this.#store = store;
    this.#image = image;
    this.kept = hasFeature(header, feature.objectMap);
    this.fastDiff = hasFeature(header, feature.fastDiff);
  }

  /** Whether the head's map has nothing to be changed for this. */
  isState(objectNo: number, state: ObjectState): boolean {
    return !this.kept || this.#map(null).state(objectNo) === state;
  }

  /**
   * Queues what the maps must say of an object of the head, and of the snapshots (rising ids) that were given a copy of
   * what they see of the parent: as in RBD, it is new in the first of them and unchanged in the others.
   */
  put(objectNo: number, state: ObjectState, copiedFor: readonly number[]): Put[] {
    if (!this.kept) return [];
    const puts: Put[] = [];
    if (!this.isState(objectNo, state)) puts.push(this.#map(null).set(objectNo, state));
    for (const [index, snapId] of copiedFor.entries()) {
      const map = this.#map(snapId);
      const copied = index > 0 && this.fastDiff ? EXISTS_CLEAN : EXISTS;
      if (objectNo < map.count && map.state(objectNo) !== copied) puts.push(map.set(objectNo, copied));
    }
    return puts;
  }

  /** Forgets what is kept: after a transaction changed maps. */
  forget(): void {
    this.#open.clear();
  }

  #map(snapId: number | null): OpenMap {
    let map = this.#open.get(snapId);
    if (map === undefined) {
      map = new OpenMap(this.#store, mapKey(this.#image, snapId));
      this.#open.set(snapId, map);
    }
    return map;
  }
}
