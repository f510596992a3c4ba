// Object maps in the local pool: blocks of 4096 bytes of states, so that a change is one small put; RBD's bytes when read.

import {
  bytesFor,
  blockBytes,
  encodeObjectMap,
  limits,
  type ObjectState,
  objectState,
  setObjectState,
} from '../../format/object-map.ts';
import { objectMapName } from '../../format/rbd-header.ts';
import { RbdeltaError } from '../../error.ts';
import { objectKey, type Put, removeRange, type Store } from './store.ts';

/** Which maps: those of this image. */
export interface MapOwner {
  poolId: number;
  namespace: string;
  id: string;
}

/** Objects in one block. */
const perBlock = blockBytes * 4;
/** Keys of a map: 0 has the count, 1 and up the blocks; a block of zeros may be missing. */
const countIndex = 0;

/** The start of the keys of the map of the head (null) or of a snapshot. */
export const mapKey = (owner: MapOwner, snapId: number | null): Buffer =>
  objectKey(owner.poolId, owner.namespace, objectMapName(owner.id, snapId));

const entryKey = (map: Buffer, index: number): Buffer => {
  const key = Buffer.alloc(map.length + 4);
  key.set(map);
  key.writeUInt32BE(index, map.length);
  return key;
};

/** How many objects the map has; null when there is none. */
export function mapCount(store: Store, map: Buffer): number | null {
  const count = store.maps.get(entryKey(map, countIndex));
  return count === undefined ? null : Number(count.readBigUInt64LE(0));
}

/** The map as RBD keeps it: formats/object-map. Null when there is none. */
export function readMap(store: Store, map: Buffer): Buffer | null {
  const start = entryKey(map, countIndex);
  const end = entryKey(map, 0xffffffff);
  let count: number | null = null;
  let states = Buffer.alloc(0);
  // one range is one state of the database
  for (const { key, value } of store.maps.getRange({ start, end })) {
    const index = Buffer.from(key).readUInt32BE(map.length);
    if (index === countIndex) {
      count = Number(value.readBigUInt64LE(0));
      states = Buffer.alloc(bytesFor(count));
    } else {
      states.set(value.subarray(0, Math.max(0, states.length - (index - 1) * blockBytes)), (index - 1) * blockBytes);
    }
  }
  return count === null ? null : encodeObjectMap(count, states);
}

/** Makes a map without objects, or changes how many it has: new ones are nonexistent. In a transaction. */
export function resizeMap(store: Store, map: Buffer, count: number): void {
  const before = mapCount(store, map) ?? 0;
  const header = Buffer.alloc(8);
  header.writeBigUInt64LE(BigInt(count), 0);
  void store.maps.put(entryKey(map, countIndex), header);
  if (count >= before) return;
  const whole = Math.floor(count / perBlock);
  const cut = readBlock(store, map, whole);
  if (cut !== null) {
    for (let object = count % perBlock; object < perBlock; object += 1) setObjectState(cut, object, 0);
    void writeBlock(store, map, whole, cut);
  }
  for (let block = whole + 1; block < Math.ceil(before / perBlock); block += 1) {
    void store.maps.remove(entryKey(map, block + 1));
  }
}

/** The map of a new snapshot is that of the head; in the head, what exists is from then on unchanged. In a transaction. */
export function snapshotMap(store: Store, head: Buffer, snapshot: Buffer, fastDiff: boolean): void {
  resizeMap(store, snapshot, mapCount(store, head) ?? 0);
  forEachBlock(store, head, (block, states) => {
    void writeBlock(store, snapshot, block, states);
    if (!fastDiff) return;
    // EXISTS is 01 and EXISTS_CLEAN 11: the upper bit is set where the lower one is
    const words = wordsOf(states);
    let changed = 0;
    for (let i = 0; i < words.length; i += 1) {
      const clean = words[i]! | ((words[i]! & 0x55555555) << 1);
      changed |= clean ^ words[i]!;
      words[i] = clean;
    }
    if (changed !== 0) void writeBlock(store, head, block, states);
  });
}

/** What was changed in a snapshot that goes has changed in the next newer version. In a transaction. */
export function mergeRemovedMap(store: Store, removed: Buffer, newer: Buffer): void {
  const count = mapCount(store, removed) ?? 0;
  forEachBlock(store, newer, (block, states) => {
    const older = readBlock(store, removed, block) ?? Buffer.alloc(blockBytes);
    for (let object = Math.max(0, count - block * perBlock); object < perBlock; object += 1) {
      setObjectState(older, object, 1);
    }
    for (let i = 0; i < states.length; i += 1) {
      const changed = older[i]! & ~(older[i]! >> 1) & 0x55;
      const clean = states[i]! & (states[i]! >> 1) & 0x55;
      states[i]! &= ~((changed & clean) << 1);
    }
    void writeBlock(store, newer, block, states);
  });
}

/** In a transaction. */
export function removeMap(store: Store, map: Buffer): void {
  removeRange(store.maps, { start: entryKey(map, 0), end: entryKey(map, 0xffffffff) });
}

/** Refuses what RBD refuses: more objects than an object map may have. */
export function checkObjectCount(count: number): void {
  if (count <= limits.objects) return;
  const message = `an image of ${count} objects is more than an object map may have (${limits.objects})`;
  throw new RbdeltaError('tooLarge', message, { hint: 'use larger objects (--object-size)' });
}

/** The map of the head or of a snapshot while an image is open to write: nobody else changes it, so its blocks are kept. */
export class OpenMap {
  readonly #store: Store;
  readonly #map: Buffer;
  readonly #blocks = new Map<number, Buffer>();

  constructor(store: Store, map: Buffer) {
    this.#store = store;
    this.#map = map;
  }

  state(objectNo: number): ObjectState {
    return objectState(this.#block(objectNo), objectNo % perBlock);
  }

  /** How many objects it has. */
  get count(): number {
    return mapCount(this.#store, this.#map) ?? 0;
  }

  /** Queues the put; it becomes visible with everything that was put in the same turn of the event loop. */
  set(objectNo: number, state: ObjectState): Put {
    const block = this.#block(objectNo);
    setObjectState(block, objectNo % perBlock, state);
    return writeBlock(this.#store, this.#map, Math.floor(objectNo / perBlock), block);
  }

  /** Forgets what is kept: after a transaction changed the map. */
  forget(): void {
    this.#blocks.clear();
  }

  #block(objectNo: number): Buffer {
    const number = Math.floor(objectNo / perBlock);
    let block = this.#blocks.get(number);
    if (block === undefined) {
      block = readBlock(this.#store, this.#map, number) ?? Buffer.alloc(blockBytes);
      this.#blocks.set(number, block);
    }
    return block;
  }
}

function readBlock(store: Store, map: Buffer, block: number): Buffer | null {
  const found = store.maps.get(entryKey(map, block + 1));
  if (found === undefined) return null;
  // of its own memory, so that it can be looked at as words
  const states = Buffer.alloc(blockBytes);
  states.set(found);
  return states;
}

const wordsOf = (states: Buffer): Uint32Array =>
  new Uint32Array(states.buffer, states.byteOffset, states.length / Uint32Array.BYTES_PER_ELEMENT);

/** A copy: what is put is not yet written, and may change here before it is. */
function writeBlock(store: Store, map: Buffer, block: number, states: Buffer): Put {
  return store.maps.put(entryKey(map, block + 1), Buffer.from(states));
}

function forEachBlock(store: Store, map: Buffer, action: (block: number, states: Buffer) => void): void {
  const blocks = Math.ceil((mapCount(store, map) ?? 0) / perBlock);
  for (let block = 0; block < blocks; block += 1) {
    const states = readBlock(store, map, block);
    if (states !== null) action(block, states);
  }
}
