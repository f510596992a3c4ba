// Writing to the data objects of an image: in place, or to a new file where a snapshot still needs the old bytes.

import { RbdeltaError } from '../../error.ts';
import type { Extent } from '../../diff/extent.ts';
import type { Geometry } from '../../diff/striping.ts';
import { EXISTS, NONEXISTENT, type ObjectState } from '../../format/object-map.ts';
import type { OpenImage } from './image.ts';
import type { HeadMap } from './object-maps.ts';
import { objectBytesBefore, objectsOf, piecesOf } from './objects.ts';
import { inParallel } from './parallel.ts';
import {
  beforeChange,
  changesOverlap,
  type DataObject,
  filesOf,
  isHeadOwn,
  type Ranges,
  type SnapContext,
} from './snapset.ts';
import type { Put } from './store.ts';
import { Turns } from './turns.ts';

/** How many objects one call works on at once. */
export const objectsAtOnce = 16;

/**
 * The writer of one image. Who uses it holds the image's lock.
 *
 * What a crash leaves, at any point: the store names, for each object, files that are whole. A new file is complete
 * before the record names it; where it takes over what a flush has made durable, it is durable itself. A file that is
 * written in place is named by no snapshot, and what the write takes from overlap and object map is durable before it.
 * Files that no record names are removed after the record is durable; a crash leaves them behind: `sweep` finds them.
 */
export class ObjectWriter {
  readonly #opened: OpenImage;
  readonly #map: HeadMap | null;
  readonly #session: number;
  readonly #turns = new Turns<number>();
  #files = 0;
  #failure: unknown = null;
  /** As of the last change to the snapshots: set by who makes it. */
  context: SnapContext;

  constructor(opened: OpenImage, session: number, map: HeadMap | null, context: SnapContext) {
    this.#opened = opened;
    this.#session = session;
    this.#map = map;
    this.context = context;
  }

  async write(geometry: Geometry, offset: number, data: Uint8Array): Promise<void> {
    this.#check();
    const pieces = piecesOf(geometry, { offset, length: data.length });
    await inParallel(pieces, objectsAtOnce, ({ objectNo, objectOffset, start, length }) =>
      this.#writeObject(objectNo, objectOffset, data.subarray(start, start + length)),
    );
  }

  /** What RBD does for write_zeroes: whole objects are removed, tails cut off, other ranges zeroed in place. */
  async zero(geometry: Geometry, range: Extent): Promise<void> {
    this.#check();
    const { objects } = this.#opened;
    const end = range.offset + range.length;
    const numbers: number[] = [];
    for (const [objectNo, { head }] of objects.range(...objectsOf(geometry, range))) {
      if (head !== null) numbers.push(objectNo);
    }
    await inParallel(numbers, objectsAtOnce, async (objectNo) => {
      const from = objectBytesBefore(geometry, objectNo, range.offset);
      const to = objectBytesBefore(geometry, objectNo, end);
      if (from < to) {
        await this.#turns.alone(objectNo, () => this.#zeroObject(objectNo, from, to, geometry.objectBytes));
      }
    });
  }

  /**
   * A new file with the first `size` bytes of the object's head, durable: for a change that many objects make together.
   * The caller names it in a record, or removes it.
   */
  async cutCopy(objectNo: number, head: string, size: number): Promise<string> {
    const { files } = this.#opened;
    const file = this.#newFile();
    const path = files.path(objectNo, file);
    try {
      await files.copy(files.path(objectNo, head), path);
      await files.truncate(path, size);
      await files.sync(path);
    } catch (error) {
      await files.remove([path]);
      throw error;
    }
    return file;
  }

  /** Removes the files that `before` names and `after` does not. */
  async drop(objectNo: number, before: DataObject | null, after: DataObject | null): Promise<void> {
    const kept = filesOf(after);
    const dropped = [...filesOf(before)].filter((file) => !kept.has(file));
    const { files } = this.#opened;
    if (dropped.length > 0) await files.remove(dropped.map((file) => files.path(objectNo, file)));
  }

  async headBytes(objectNo: number, object: DataObject): Promise<number> {
    const { files } = this.#opened;
    return object.head === null ? 0 : files.size(files.path(objectNo, object.head));
  }

  async #writeObject(objectNo: number, offset: number, data: Uint8Array): Promise<void> {
    const { objects, files } = this.#opened;
    const written = [offset, data.length];
    const ready = await this.#turns.shared(objectNo, async () => {
      const object = objects.get(objectNo);
      if (object === null || !this.#isReady(objectNo, object, written)) return false;
      await files.write(files.path(objectNo, object.head!), data, offset);
      return true;
    });
    if (ready) return;
    await this.#turns.alone(objectNo, () => this.#writeAlone(objectNo, offset, data));
  }

  /** Whether nothing but the file has to change. */
  #isReady(objectNo: number, object: DataObject, changed: Ranges): boolean {
    return (
      isHeadOwn(object, this.context) &&
      !changesOverlap(object, changed) &&
      (this.#map === null || this.#map.state(objectNo) === EXISTS)
    );
  }

  async #writeAlone(objectNo: number, offset: number, data: Uint8Array): Promise<void> {
    const { objects, files } = this.#opened;
    const object = objects.get(objectNo) ?? { seq: 0, head: null, clones: [] };
    const headBytes = await this.headBytes(objectNo, object);
    const written = [offset, data.length];
    if (isHeadOwn(object, this.context)) {
      await this.#prepareInPlace(objectNo, object, written);
      await files.write(files.path(objectNo, object.head!), data, offset);
      return;
    }
    const whole = offset === 0 && data.length >= headBytes;
    await this.#replaceHead(objectNo, object, headBytes, written, whole, (path) => files.write(path, data, offset));
  }

  async #zeroObject(objectNo: number, from: number, to: number, objectBytes: number): Promise<void> {
    const { objects } = this.#opened;
    const object = objects.get(objectNo);
    if (object === null || object.head === null) return;
    const headBytes = await this.headBytes(objectNo, object);
    if (from === 0 && to === objectBytes) await this.#removeHead(objectNo, object, headBytes);
    // a cut at the object's very end also lengthens a shorter object, as RADOS does
    else if (to === objectBytes || (to >= headBytes && from < headBytes)) {
      await this.#cutHead(objectNo, object, headBytes, from);
    } else if (from < headBytes) await this.#writeAlone(objectNo, from, Buffer.alloc(to - from));
  }

  async #cutHead(objectNo: number, object: DataObject, headBytes: number, size: number): Promise<void> {
    const { files } = this.#opened;
    const cut = size < headBytes ? [size, headBytes - size] : [];
    if (isHeadOwn(object, this.context)) {
      await this.#prepareInPlace(objectNo, object, cut);
      await files.truncate(files.path(objectNo, object.head!), size);
      return;
    }
    await this.#replaceHead(objectNo, object, headBytes, cut, size === 0, (path) => files.truncate(path, size));
  }

  async #removeHead(objectNo: number, object: DataObject, headBytes: number): Promise<void> {
    const before = beforeChange(object, this.context, headBytes, [0, headBytes]);
    const after = before.clones.length === 0 ? null : { ...before, head: null };
    await this.#commit(objectNo, after, NONEXISTENT);
    await this.#opened.store.flushed();
    await this.drop(objectNo, object, after);
  }

  /** Object map and overlap say that the range changed, durably, before it does. */
  async #prepareInPlace(objectNo: number, object: DataObject, changed: Ranges): Promise<void> {
    if (this.#isReady(objectNo, object, changed)) return;
    await this.#commit(objectNo, beforeChange(object, this.context, 0, changed), EXISTS);
    await this.#opened.store.flushed();
  }

  /** Gives the object a new file that `change` completes; it starts empty, or as a copy of the head. */
  async #replaceHead(
    objectNo: number,
    object: DataObject,
    headBytes: number,
    changed: Ranges,
    startsEmpty: boolean,
    change: (path: string) => Promise<void>,
  ): Promise<void> {
    const { files } = this.#opened;
    const file = this.#newFile();
    const path = files.path(objectNo, file);
    try {
      if (object.head === null || startsEmpty) await files.create(path);
      else await files.copy(files.path(objectNo, object.head), path);
      await change(path);
      // the old file may hold what was flushed; a new object holds nothing yet that has to last
      if (object.head !== null) await files.sync(path);
      await this.#commit(objectNo, { ...beforeChange(object, this.context, headBytes, changed), head: file }, EXISTS);
    } catch (error) {
      await files.remove([path]);
      throw error;
    }
  }

  /** Puts record and state of an object together. A failure leaves the image as it was, and the writer unusable. */
  async #commit(objectNo: number, object: DataObject | null, state: ObjectState): Promise<void> {
    const { objects, store } = this.#opened;
    try {
      this.#check();
      const puts: Put[] = [objects.put(objectNo, object)];
      if (this.#map !== null && this.#map.state(objectNo) !== state) puts.push(this.#map.set(objectNo, state));
      await store.committed(puts);
    } catch (error) {
      this.#failure ??= error;
      throw error;
    }
  }

  #check(): void {
    if (this.#failure === null) return;
    const message = `image '${this.#opened.image.name}' takes no more writes, since one could not be recorded`;
    throw new RbdeltaError('io', message, { cause: this.#failure, hint: 'close the image and open it again' });
  }

  #newFile(): string {
    this.#files += 1;
    return `${this.#session.toString(16)}-${this.#files.toString(16)}`;
  }
}
