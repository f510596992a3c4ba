// Writing to the data objects of an image: in place, or to a new file where a snapshot still needs the old bytes.

import { RbdeltaError } from '../../error.ts';
import type { Extent } from '../../diff/extent.ts';
import type { Geometry } from '../../diff/striping.ts';
import { EXISTS, NONEXISTENT, type ObjectState } from '../../format/object-map.ts';
import type { OpenImage } from './image.ts';
import { growthByCopy, growthByWrite, growthByZeros, shownOfParent } from './growth.ts';
import type { ImageMaps } from './image-maps.ts';
import { objectBytesBefore, objectsOf, piecesOf } from './objects.ts';
import { inParallel } from './parallel.ts';
import { type Amount, QuotaGuard } from './quota.ts';
import {
  beforeChange,
  changesOverlap,
  type DataObject,
  filesOf,
  isHeadOwn,
  type Ranges,
  type SnapContext,
} from './snapset.ts';
import { Turns } from './turns.ts';
import { forgetUnflushed, headBytesOf, noteUnflushed } from './unflushed.ts';

/** How many objects one call works on at once. */
export const objectsAtOnce = 16;

/** A new file with what an object shows of the parent. */
export interface CopyOfParent {
  file: string;
  bytes: number;
  /** The snapshots that show the same. */
  snaps: number[];
}

/**
 * The writer of one image. Who uses it holds the image's lock.
 *
 * What a crash leaves, at any point: the store names, for each object, files that are whole. A new file is complete
 * before the record names it; where it takes over what a flush has made durable, it is durable itself. A file that is
 * written in place is named by no snapshot, and what the write takes from overlap and object map is durable before it.
 * The file of a new object, and it alone, may be lost with the power until it is flushed: a note in the store says so.
 * Files that no record names are removed after the record is durable; a crash leaves them behind: `sweep` finds them.
 */
export class ObjectWriter {
  readonly #opened: OpenImage;
  readonly #maps: ImageMaps;
  readonly #session: number;
  readonly #quota: QuotaGuard;
  readonly #turns = new Turns<number>();
  /** Files of new objects that are not yet flushed, and whose they are: they are noted in the store. */
  readonly #unflushed = new Map<string, number>();
  #files = 0;
  #failure: unknown = null;
  /** As of the last change to the snapshots: set by who makes it. */
  context: SnapContext;

  constructor(opened: OpenImage, session: number, maps: ImageMaps, context: SnapContext) {
    this.#opened = opened;
    this.#quota = new QuotaGuard(opened.store, opened.image.dataPoolId);
    this.#session = session;
    this.#maps = maps;
    this.context = context;
  }

  async write(geometry: Geometry, offset: number, data: Uint8Array): Promise<void> {
    this.#check();
    const pieces = piecesOf(geometry, { offset, length: data.length });
    await this.admit(
      () => growthByWrite(this.#opened, this.context, pieces),
      () =>
        inParallel(pieces, objectsAtOnce, ({ objectNo, objectOffset, start, length }) =>
          this.#writeObject(objectNo, objectOffset, data.subarray(start, start + length)),
        ),
    );
  }

  /** Runs `action` if the pool may grow by as much; throws `quota` if not. */
  admit(growth: () => Promise<Amount>, action: () => Promise<void>): Promise<void> {
    return this.#quota.admit(growth, action);
  }

  /**
   * What RBD does for write_zeroes: whole objects are removed, tails cut off, other ranges zeroed in place. Where the
   * parent would show, an object is emptied, not removed, or made to be so.
   */
  async zero(geometry: Geometry, range: Extent): Promise<void> {
    this.#check();
    const end = range.offset + range.length;
    const parts = this.#objectsToZero(geometry, range).map((objectNo) => ({
      objectNo,
      from: objectBytesBefore(geometry, objectNo, range.offset),
      to: objectBytesBefore(geometry, objectNo, end),
    }));
    const touched = parts.filter(({ from, to }) => from < to);
    await this.admit(
      () => growthByZeros(this.#opened, this.context, touched),
      () =>
        inParallel(touched, objectsAtOnce, ({ objectNo, from, to }) =>
          this.#turns.alone(objectNo, () => this.#zeroObject(objectNo, from, to, geometry.objectBytes)),
        ),
    );
  }

  #objectsToZero(geometry: Geometry, range: Extent): number[] {
    const { objects, parent } = this.#opened;
    const [first, end] = objectsOf(geometry, range);
    const shown = Math.min(end, objectsOf(geometry, { offset: 0, length: parent?.link()?.overlap ?? 0 })[1]);
    const numbers: number[] = [];
    for (let objectNo = first; objectNo < shown; objectNo += 1) numbers.push(objectNo);
    for (const [objectNo, { head }] of objects.range(Math.max(first, shown), end)) {
      if (head !== null) numbers.push(objectNo);
    }
    return numbers;
  }

  /** Gives the object what shows through, unless it is there or nothing does: the parent may go then. */
  async copyUp(objectNo: number): Promise<void> {
    this.#check();
    const growth = () => growthByCopy(this.#opened, objectNo, this.#objectAt(objectNo));
    const copy = async () => {
      const object = this.#objectAt(objectNo);
      const copied = await this.copyOfParent(objectNo, object);
      if (copied === null) return;
      const seq = copied.snaps.length > 0 ? object.seq : this.context.seq;
      await this.#keepingFiles(objectNo, [copied.file], () =>
        this.#commit(objectNo, { ...object, seq, head: copied.file }, EXISTS, copied.snaps),
      );
    };
    await this.admit(growth, () => this.#turns.alone(objectNo, copy));
  }

  /**
   * A durable file with what the object shows of the parent, for the caller to name in a record or to remove; null where
   * the object is there, or shows zeros. The snapshots that it serves as well are those since the object's last write.
   */
  async copyOfParent(objectNo: number, object: DataObject): Promise<CopyOfParent | null> {
    const data = object.head === null ? await shownOfParent(this.#opened, objectNo) : null;
    if (data === null) return null;
    const { files } = this.#opened;
    const file = this.#newFile();
    const path = files.path(objectNo, file);
    await this.#keepingFiles(objectNo, [file], async () => {
      await files.create(path);
      await files.write(path, data, 0);
      await files.sync(path);
    });
    return { file, bytes: data.length, snaps: this.context.snaps.filter((snap) => snap > object.seq) };
  }

  /**
   * A new file with the first `size` bytes of the object's head (null: zeros), durable: for a change that many objects
   * make together.
   * The caller names it in a record, or removes it.
   */
  async cutCopy(objectNo: number, head: string | null, size: number): Promise<string> {
    const { files } = this.#opened;
    const file = this.#newFile();
    const path = files.path(objectNo, file);
    try {
      if (head === null) await files.create(path);
      else await files.copy(files.path(objectNo, head), path);
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

  headBytes(objectNo: number, object: DataObject): Promise<number> {
    return headBytesOf(this.#opened, objectNo, object);
  }

  /** All that was written is durable. */
  async flush(): Promise<void> {
    const { store, image, files } = this.#opened;
    const notes = [...this.#unflushed];
    this.#unflushed.clear();
    await files.syncAll();
    if (notes.length > 0) {
      const forget = () => notes.map(([file, objectNo]) => forgetUnflushed(store, image, objectNo, file));
      await store.commit(forget, 'frees').catch((error: unknown) => {
        // on a full disk they stay, for who opens the image next
        if (!(error instanceof RbdeltaError && error.code === 'noSpace')) throw error;
      });
    }
    await store.flushed();
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
    return isHeadOwn(object, this.context) && !changesOverlap(object, changed) && this.#maps.isState(objectNo, EXISTS);
  }

  async #writeAlone(objectNo: number, offset: number, data: Uint8Array): Promise<void> {
    const { files } = this.#opened;
    const object = this.#objectAt(objectNo);
    const headBytes = await this.headBytes(objectNo, object);
    const written = [offset, data.length];
    if (isHeadOwn(object, this.context)) {
      await this.#prepareInPlace(objectNo, object, written);
      await files.write(files.path(objectNo, object.head!), data, offset);
      return;
    }
    const change = (path: string) => files.write(path, data, offset);
    const isWhole = data.length === this.#opened.geometry.objectBytes;
    if (!(isWhole && this.context.snaps.length === 0) && (await this.#changeCopy(objectNo, object, written, change))) {
      return;
    }
    const whole = offset === 0 && data.length >= headBytes;
    await this.#replaceHead(objectNo, object, headBytes, written, whole, change);
  }

  async #zeroObject(objectNo: number, from: number, to: number, objectBytes: number): Promise<void> {
    const { files, parent, geometry } = this.#opened;
    const object = this.#objectAt(objectNo);
    const isWhole = from === 0 && to === objectBytes;
    const covered = parent?.covered(geometry, objectNo) ?? 0;
    if (object.head === null) {
      if (covered === 0) return;
      const cut = async (path: string, bytes: number) => {
        if (to === objectBytes || (to >= bytes && from < bytes)) await files.truncate(path, from);
        else if (from < bytes) await files.write(path, Buffer.alloc(to - from), from);
      };
      const changed = [from, to - from];
      // whole objects need no copy, but for snapshots
      if (!(isWhole && this.context.snaps.length === 0) && (await this.#changeCopy(objectNo, object, changed, cut)))
        return;
      await this.#replaceHead(objectNo, object, 0, changed, true, (path) => cut(path, 0));
      return;
    }
    const headBytes = await this.headBytes(objectNo, object);
    if (isWhole && covered === 0) await this.#removeHead(objectNo, object, headBytes);
    // a cut at the object's very end also lengthens a shorter object, as RADOS does
    else if (to === objectBytes || (to >= headBytes && from < headBytes)) {
      await this.#cutHead(objectNo, object, headBytes, from);
    } else if (from < headBytes) await this.#writeAlone(objectNo, from, Buffer.alloc(to - from));
  }

  /** Changes a copy of what the parent shows, which snapshots keep as it is; false where there is nothing to copy. */
  async #changeCopy(
    objectNo: number,
    object: DataObject,
    changed: Ranges,
    change: (path: string, bytes: number) => Promise<void>,
  ): Promise<boolean> {
    const copied = await this.copyOfParent(objectNo, object);
    if (copied === null) return false;
    const { files } = this.#opened;
    const own = copied.snaps.length === 0 ? copied.file : this.#newFile();
    const paths = [copied.file, own].map((file) => files.path(objectNo, file));
    await this.#keepingFiles(objectNo, [copied.file, own], async () => {
      if (own !== copied.file) await files.copy(paths[0]!, paths[1]!);
      await change(paths[1]!, copied.bytes);
      await files.sync(paths[1]!);
      const before = beforeChange({ ...object, head: copied.file }, this.context, copied.bytes, changed);
      await this.#commit(objectNo, { ...before, head: own }, EXISTS, copied.snaps);
    });
    return true;
  }

  #objectAt(objectNo: number): DataObject {
    return this.#opened.objects.get(objectNo) ?? { seq: 0, head: null, clones: [] };
  }

  /** Removes the new files when what would have named them fails. */
  async #keepingFiles(objectNo: number, names: string[], action: () => Promise<void>): Promise<void> {
    const { files } = this.#opened;
    try {
      await action();
    } catch (error) {
      await files.remove(names.map((name) => files.path(objectNo, name)));
      throw error;
    }
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
    const { files, parent } = this.#opened;
    const file = this.#newFile();
    const path = files.path(objectNo, file);
    await this.#keepingFiles(objectNo, [file], async () => {
      if (object.head === null || startsEmpty) await files.create(path);
      else await files.copy(files.path(objectNo, object.head), path);
      await change(path);
      const after = { ...beforeChange(object, this.context, headBytes, changed), head: file };
      // the old file may hold what was flushed, and so may a parent; a new object holds nothing yet that has to last
      const isNew = object.head === null && parent === null;
      if (!isNew) await files.sync(path);
      await this.#commit(objectNo, after, EXISTS, [], isNew ? file : null);
      if (isNew) this.#unflushed.set(file, objectNo);
    });
  }

  /**
   * Puts record and states of an object together; `copiedFor`: snapshots that have it now as well; `unflushed`: a new file
   * that is not yet durable. A failure leaves the image as it was, and the writer unusable.
   */
  async #commit(
    objectNo: number,
    object: DataObject | null,
    state: ObjectState,
    copiedFor: readonly number[] = [],
    unflushed: string | null = null,
  ): Promise<void> {
    const { image, objects, store } = this.#opened;
    try {
      this.#check();
      const puts = () => [
        objects.put(objectNo, object),
        ...this.#maps.put(objectNo, state, copiedFor),
        ...(unflushed === null ? [] : [noteUnflushed(store, image, objectNo, unflushed)]),
      ];
      await store.commit(puts, state === NONEXISTENT ? 'frees' : 'grows');
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
