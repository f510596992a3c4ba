// A small but whole model of an RBD image in memory: objects, snapshots, object maps, parents, striping. It is written
// from RBD's rules and not from our code, so that what our code makes of it can be trusted.

import type { Extent } from '../../src/diff/extent.ts';
import { RbdeltaError } from '../../src/error.ts';
import { encodeObjectMap, setObjectState } from '../../src/format/object-map.ts';
import type { Image, ImageInfo, Snapshot } from '../../src/image/port.ts';

const [none, exists, pending, clean] = [0, 1, 2, 3] as const;
type State = typeof none | typeof exists | typeof pending | typeof clean;

export interface ModelOptions {
  size: number;
  order?: number;
  stripeUnit?: number;
  stripeCount?: number;
  features?: number;
  parent?: { image: ModelImage; snap: string };
}

/** The state of the head, or what a snapshot keeps of it. */
interface Version {
  size: number;
  /** Bytes of an object up to its length; what is missing behind them is zero. */
  objects: Map<number, Uint8Array>;
  map: State[];
  flags: number;
  overlap: number | null;
  /** The map object itself; a test may take it away or put another one in its place. */
  mapObject: 'as the states say' | 'missing' | Uint8Array;
}

interface ModelSnapshot extends Version {
  id: number;
  name: string;
  namespace: Snapshot['namespace'];
}

export class ModelImage {
  readonly head: Version;
  snapshots: ModelSnapshot[] = [];
  readonly order: number;
  readonly stripeUnit: number;
  readonly stripeCount: number;
  features: number;
  /** How often each method of the port was called, over all opened versions. */
  readonly calls = { info: 0, objectMap: 0, changedExtents: 0, read: 0, parent: 0, close: 0 };
  /** Runs before each call; a test changes the world here, or throws. */
  before: (call: keyof ModelImage['calls']) => void = () => {};
  readonly #parent: NonNullable<ModelOptions['parent']> | null;
  #nextId = 4;

  constructor(options: ModelOptions) {
    this.order = options.order ?? 12;
    this.stripeCount = options.stripeCount ?? 1;
    this.stripeUnit = options.stripeUnit ?? this.objectBytes;
    this.features = options.features ?? 0x3d;
    this.#parent = options.parent ?? null;
    const overlap = this.#parent && Math.min(options.size, this.#parent.image.version(this.#parent.snap).size);
    this.head = { size: 0, objects: new Map(), map: [], flags: 0, overlap, mapObject: 'as the states say' };
    this.resize(options.size);
  }

  get objectBytes(): number {
    return 2 ** this.order;
  }

  write(offset: number, bytes: Uint8Array): void {
    this.#inObjects({ offset, length: bytes.length }, (no, at, length, from) => {
      this.#store(no, at, bytes.subarray(from - offset, from - offset + length));
    });
  }

  /** As RBD's write_zeroes: an object that is covered whole goes, one that loses its tail is cut. */
  zero(offset: number, length: number): void {
    this.#inObjects({ offset, length }, (no, at, part) => {
      const object = this.head.objects.get(no);
      const shown = this.#shownByParent(no);
      const stop = at + part;
      if (at === 0 && stop >= this.#bytesOf(no)) {
        if (shown > 0 && !object) this.#copyUp(no);
        if (shown > 0) this.#put(no, new Uint8Array(0));
        else if (object) this.#put(no, null);
      } else if (object || shown > 0) {
        const old = object ?? this.#copyUp(no);
        if (stop >= old.length && at <= old.length) this.#put(no, old.slice(0, at));
        else if (at < old.length) this.#store(no, at, new Uint8Array(part));
        else this.#put(no, old);
      }
    });
  }

  resize(size: number): void {
    const old = this.head.size;
    const count = this.#count(size);
    for (const no of this.head.objects.keys()) {
      if (no >= count) this.head.objects.delete(no);
    }
    if (size < old) {
      // objects that reach past the end are cut
      for (const [no, bytes] of this.head.objects) {
        const kept = this.#bytesOf(no, size);
        if (bytes.length <= kept) continue;
        this.head.objects.set(no, bytes.slice(0, kept));
        this.head.map[no] = exists;
      }
      if (this.head.overlap !== null) this.head.overlap = Math.min(this.head.overlap, size);
    }
    this.head.size = size;
    this.head.map.length = Math.min(this.head.map.length, count);
    while (this.head.map.length < count) this.head.map.push(none);
  }

  snapshot(name: string, namespace: Snapshot['namespace'] = 'user'): void {
    const { head } = this;
    this.snapshots.push({ ...copy(head), id: this.#nextId, name, namespace });
    this.#nextId += 1 + (this.#nextId % 3);
    head.map = head.map.map((state) => (state === exists ? clean : state));
  }

  /** The map of what goes is added to the next newer one: what changed up to here changed up to there. */
  removeSnapshot(name: string): void {
    const index = this.snapshots.findIndex((snapshot) => snapshot.name === name);
    const [gone] = this.snapshots.splice(index, 1);
    const next = this.snapshots[index] ?? this.head;
    next.map = next.map.map((state, no) => {
      const before = gone?.map[no];
      return state === clean && (before === exists || before === undefined) ? exists : state;
    });
    if (gone && gone.flags !== 0) next.flags |= gone.flags;
  }

  /** As Ceph does it: the head gets the snapshot's map as it is, though it says "clean" of what changed since. */
  rollback(name: string): void {
    const target = this.version(name);
    this.resize(target.size);
    this.head.objects.clear();
    for (const [no, bytes] of target.objects) this.head.objects.set(no, bytes);
    this.head.map = [...target.map];
    this.head.overlap = target.overlap;
  }

  version(name: string | null): Version {
    const found = name === null ? this.head : this.snapshots.find((snapshot) => snapshot.name === name);
    if (!found) throw new RbdeltaError('notFound', `no snapshot ${name}`);
    return found;
  }

  content(name: string | null): Uint8Array {
    const version = this.version(name);
    const content = new Uint8Array(version.size);
    const behind = this.#parent?.image.content(this.#parent.snap).subarray(0, version.overlap ?? 0);
    if (behind) content.set(behind.subarray(0, version.size));
    this.#inObjects({ offset: 0, length: version.size }, (no, at, length, offset) => {
      const bytes = version.objects.get(no);
      if (!bytes) return;
      content.fill(0, offset, offset + length);
      content.set(bytes.subarray(at, at + length), offset);
    });
    return content;
  }

  open(name: string | null): Image {
    const count = (call: keyof ModelImage['calls']) => {
      this.calls[call] += 1;
      this.before(call);
    };
    const id = name === null ? null : (this.snapshots.find((snapshot) => snapshot.name === name)?.id ?? -1);
    if (id === -1) throw new RbdeltaError('notFound', `no snapshot ${name}`);
    const opened = (): Version => this.snapshots.find((snapshot) => snapshot.id === id) ?? this.head;
    return {
      kind: 'local',
      info: async () => {
        count('info');
        return this.#info(id);
      },
      objectMap: async (snapId) => {
        count('objectMap');
        const version = snapId === null ? this.head : this.snapshots.find((snapshot) => snapshot.id === snapId);
        if (!version || version.mapObject === 'missing') return null;
        if (version.mapObject !== 'as the states say') return version.mapObject;
        const states = new Uint8Array(Math.ceil(version.map.length / 4));
        for (const [no, state] of version.map.entries()) setObjectState(states, no, state);
        return encodeObjectMap(version.map.length, states);
      },
      changedExtents: async (from, range, emit) => {
        count('changedExtents');
        for (const [offset, length, data] of this.#listed(from === null ? null : this.version(from), opened(), range)) {
          emit(offset, length, data);
        }
      },
      read: async (offset, into) => {
        count('read');
        const gone = name !== null && !this.snapshots.some((snapshot) => snapshot.id === id);
        if (gone) into.fill(0);
        else into.set(this.content(name).subarray(offset, offset + into.length));
      },
      parent: async () => {
        count('parent');
        return this.#parent && this.#parent.image.open(this.#parent.snap);
      },
      close: async () => count('close'),
    };
  }

  #info(id: number | null): ImageInfo {
    const snapshots: Snapshot[] = this.snapshots.map((snapshot) => ({
      id: snapshot.id,
      name: snapshot.name,
      size: snapshot.size,
      protection: 'unprotected',
      flags: snapshot.flags,
      namespace: snapshot.namespace,
      createdMs: null,
      parentOverlap: snapshot.overlap,
    }));
    const version = this.snapshots.find((snapshot) => snapshot.id === id) ?? this.head;
    const parent = this.#parent;
    return {
      id: 'model',
      name: 'image',
      pool: 'volumes',
      namespace: '',
      format: 2,
      size: version.size,
      order: this.order,
      stripeUnit: this.stripeUnit,
      stripeCount: this.stripeCount,
      features: this.features,
      opFeatures: 0,
      flags: version.flags,
      objectPrefix: 'rbd_data.model',
      dataPool: null,
      createdMs: null,
      modifiedMs: null,
      accessedMs: null,
      parent: parent && {
        pool: 'volumes',
        namespace: '',
        image: 'parent',
        imageId: 'parent',
        snap: parent.snap,
        snapId: 1,
        overlap: version.overlap ?? 0,
      },
      snapshotLimit: null,
      snapshots,
      snapshot: snapshots.find((snapshot) => snapshot.id === id) ?? null,
    };
  }

  /** What listing the clones of each object tells: [offset, length, exists], ascending. */
  #listed(from: Version | null, to: Version, range: Extent): [number, number, boolean][] {
    const found: [number, number, boolean][] = [];
    const end = Math.min(range.offset + range.length, to.size);
    const whole = this.#count(Math.max(to.size, from?.size ?? 0));
    for (let no = 0; no < whole; no++) {
      for (const [at, length, data] of this.#objectChanges(no, from, to)) {
        this.#inImage(no, at, length, (offset, part) => {
          const [start, stop] = [Math.max(offset, range.offset), Math.min(offset + part, end)];
          if (stop > start) found.push([start, stop - start, data]);
        });
      }
    }
    found.sort((a, b) => a[0] - b[0]);
    return found;
  }

  #objectChanges(no: number, from: Version | null, to: Version): [number, number, boolean][] {
    const [a, b] = [from?.objects.get(no), to.objects.get(no)];
    const shown = from === null ? this.#shownByParent(no, to) : 0;
    if (!b) return a ? [[0, a.length, false]] : shown > 0 ? [[0, shown, true]] : [];
    if (from === null && b.length === 0) return [[0, this.objectBytes, true]];
    if (!a) return [b.length === 0 ? [0, this.objectBytes, false] : [0, b.length, true]];
    const changes: [number, number, boolean][] = [];
    for (let at = 0; a !== b && at < b.length; at++) {
      if (a[at] === b[at]) continue;
      const last = changes.at(-1);
      if (last && last[0] + last[1] === at) last[1] += 1;
      else changes.push([at, 1, true]);
    }
    if (b.length < a.length) changes.push([b.length, a.length - b.length, false]);
    return changes;
  }

  #store(no: number, at: number, bytes: Uint8Array): void {
    const old = this.head.objects.get(no) ?? this.#copyUp(no);
    const object = new Uint8Array(Math.max(old.length, at + bytes.length));
    object.set(old);
    object.set(bytes, at);
    this.#put(no, object);
  }

  #put(no: number, bytes: Uint8Array | null): void {
    if (bytes) this.head.objects.set(no, bytes);
    else this.head.objects.delete(no);
    this.head.map[no] = bytes ? exists : none;
  }

  /** What the parent shows in an object that the clone does not have. */
  #fromParent(no: number, version: Version): Uint8Array {
    const parent = this.#parent;
    const object = new Uint8Array(this.#shownByParent(no, version));
    if (!parent || object.length === 0) return object;
    const content = parent.image.content(parent.snap).subarray(0, version.overlap ?? 0);
    this.#inImage(no, 0, object.length, (offset, length, at) => {
      object.set(content.subarray(offset, offset + length), at);
    });
    return object;
  }

  /** Before the first write to an object: snapshots that show the parent there get its data as well, the oldest first. */
  #copyUp(no: number): Uint8Array {
    let state: State = exists;
    for (const snapshot of this.snapshots) {
      if (snapshot.objects.has(no) || this.#shownByParent(no, snapshot) === 0) continue;
      snapshot.objects.set(no, this.#fromParent(no, snapshot));
      snapshot.map[no] = state;
      state = clean;
    }
    return this.#fromParent(no, this.head);
  }

  /** How many bytes of an object, from its start, lie in the overlap (with striping: up to the last that does). */
  #shownByParent(no: number, version: Version = this.head): number {
    return this.#bytesOf(no, Math.min(version.overlap ?? 0, version.size));
  }

  #bytesOf(no: number, size = this.head.size): number {
    let bytes = 0;
    this.#inImage(no, 0, this.objectBytes, (offset, length, at) => {
      if (offset < size) bytes = at + Math.min(length, size - offset);
    });
    return bytes;
  }

  #count(size: number): number {
    let count = 0;
    const period = this.objectBytes * this.stripeCount;
    for (let no = 0; no < Math.ceil(size / period) * this.stripeCount; no++) {
      if (this.#bytesOf(no, size) > 0) count = no + 1;
    }
    return count;
  }

  /** Each piece of an extent of the image: object, offset in it, length, offset in the image. */
  #inObjects(extent: Extent, visit: (no: number, at: number, length: number, offset: number) => void): void {
    const unit = this.stripeUnit;
    const perObject = this.objectBytes / unit;
    // neighbours in the image that are neighbours in the object are one piece
    let last: [number, number, number, number] | null = null;
    const stop = extent.offset + extent.length;
    for (let offset = extent.offset; offset < stop; ) {
      const block = Math.floor(offset / unit);
      const stripe = Math.floor(block / this.stripeCount);
      const no = Math.floor(stripe / perObject) * this.stripeCount + (block % this.stripeCount);
      const at = (stripe % perObject) * unit + (offset % unit);
      const length = Math.min(unit - (offset % unit), stop - offset);
      if (last && last[0] === no && last[1] + last[2] === at) last[2] += length;
      else {
        if (last) visit(...last);
        last = [no, at, length, offset];
      }
      offset += length;
    }
    if (last) visit(...last);
  }

  #inImage(no: number, at: number, length: number, visit: (offset: number, length: number, at: number) => void): void {
    const unit = this.stripeUnit;
    const perObject = this.objectBytes / unit;
    const [set, position] = [Math.floor(no / this.stripeCount), no % this.stripeCount];
    for (let inside = at; inside < at + length; ) {
      const stripe = set * perObject + Math.floor(inside / unit);
      const part = Math.min(unit - (inside % unit), at + length - inside);
      visit((stripe * this.stripeCount + position) * unit + (inside % unit), part, inside);
      inside += part;
    }
  }
}

const copy = (version: Version): Version => ({
  ...version,
  objects: new Map(version.objects),
  map: [...version.map],
});
