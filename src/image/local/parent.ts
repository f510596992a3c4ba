// What a clone shows of its parent: which snapshot, how far, and the bytes of it. Asked anew each time, since it may change.

import { type Geometry } from '../../diff/striping.ts';
import { type ParentSpec, headerValue, snapshotKey, snapshotValue } from '../../format/rbd-header.ts';
import type { Image } from '../port.ts';
import { headerKey, type ImageRef } from './header.ts';
import { imageExtents, objectBytesBefore } from './objects.ts';
import type { Store } from './store.ts';

export interface ParentLink {
  spec: ParentSpec;
  /** As many bytes of the image show the parent, where it has no object of its own. */
  overlap: number;
}

/** Opens a snapshot of a parent to read. */
export type OpenParent = (spec: ParentSpec) => Image;

/** The parent of one version of an image; its files stay open until `close`. */
export class ParentView {
  readonly #store: Store;
  readonly #keys: Buffer[];
  readonly #open: OpenParent;
  /** The values that `#link` was made of: as long as these are stored, it is the same link. */
  #values: (Buffer | undefined)[] | null = null;
  #link: ParentLink | null = null;
  #image: { of: ParentLink; image: Image } | null = null;
  readonly #opened: Image[] = [];

  constructor(store: Store, image: ImageRef, snapId: number | null, open: OpenParent) {
    this.#store = store;
    this.#keys = [headerKey(image, 'parent')];
    if (snapId !== null) this.#keys.push(headerKey(image, snapshotKey(snapId)));
    this.#open = open;
  }

  /** As of now, and the same object while nothing changes. Null: nothing of a parent shows. */
  link(): ParentLink | null {
    const values = this.#keys.map((key) => this.#store.omap.get(key));
    const known = this.#values;
    if (known !== null && values.every((value, i) => isSame(value, known[i]))) return this.#link;
    const [head, snapshot] = values;
    this.#values = values.map((value) => value && Buffer.from(value));
    this.#link = linkOf(head, snapshot, this.#keys.length > 1);
    return this.#link;
  }

  /** How many bytes of an object, its first ones, show the parent while the object is not there. */
  covered(geometry: Geometry, objectNo: number): number {
    const link = this.link();
    return link === null ? 0 : objectBytesBefore(geometry, objectNo, link.overlap);
  }

  /** Fills `into` with what shows from `offset` of the object on. */
  async read(link: ParentLink, geometry: Geometry, objectNo: number, offset: number, into: Uint8Array): Promise<void> {
    const shown = Math.max(0, Math.min(into.length, objectBytesBefore(geometry, objectNo, link.overlap) - offset));
    into.fill(0, shown);
    const image = this.image(link);
    let start = 0;
    await Promise.all(
      imageExtents(geometry, objectNo, [offset, shown]).map((extent) => {
        const part = into.subarray(start, start + extent.length);
        start += extent.length;
        return image.read(extent.offset, part);
      }),
    );
  }

  image(link: ParentLink): Image {
    if (this.#image?.of !== link) {
      this.#image = { of: link, image: this.#open(link.spec) };
      this.#opened.push(this.#image.image);
    }
    return this.#image.image;
  }

  async close(): Promise<void> {
    for (const image of this.#opened.splice(0)) await image.close();
    this.#image = null;
  }
}

const isSame = (value: Buffer | undefined, known: Buffer | undefined): boolean =>
  value === undefined || known === undefined ? value === known : value.equals(known);

function linkOf(head: Buffer | undefined, snapshot: Buffer | undefined, isSnapshot: boolean): ParentLink | null {
  const parent = head === undefined ? null : headerValue.parent.decode(head);
  const record = snapshot === undefined ? null : snapshotValue.decode(snapshot);
  const spec = record?.parent ?? parent;
  const overlap = isSnapshot ? (record?.parentOverlap ?? null) : (parent?.overlap ?? null);
  return spec === null || overlap === null || overlap === 0 ? null : { spec, overlap };
}
