// Object maps of consecutive versions folded into one answer: which objects changed. Rule: formats/object-map/spec.md

import { chunkBytes, type FoldKernel, foldKernel } from './fold-kernel.ts';

/** Objects [first, end). `data`: exist now, and may have changed; `zero`: had data once, and do not exist now. */
export interface ObjectRun {
  first: number;
  end: number;
  kind: 'data' | 'zero';
}

/** States of `count` objects, two bits each, object 0 in the top bits of byte 0: what `decodeObjectMap` gives. */
export interface PackedStates {
  count: number;
  states: Uint8Array;
}

/**
 * Two bits an object here as well, where a map has its state. Low bit: there is data now. High bit: it was changed
 * since the start. So 0 is a hole, 1 unchanged data, 2 a hole that had data, 3 changed data.
 */
const lowBits = 0x55555555;
const highBits = 0xaaaaaaaa | 0;

/**
 * The fold. `count` is the number of objects of the *end* version, and stays it: objects past the end of a smaller
 * version in between count as non-existent there, so what a shrink cut off is known as changed after a later grow.
 * (Ceph shortens its vector at such a version and forgets.) Start with `start` or `full`, then `next` for each later
 * version by rising snapshot id, the end last. Memory: two bits an object.
 */
export class ObjectFold {
  readonly count: number;
  readonly #words: Int32Array;
  readonly #bytes: Uint8Array;

  constructor(count: number) {
    this.count = count;
    this.#words = new Int32Array(Math.ceil(count / 64) * 4);
    this.#bytes = new Uint8Array(this.#words.buffer);
  }

  /** The map of the version where the diff starts, which has `objects` objects: what lies behind them is ignored. */
  start(map: PackedStates, objects: number): void {
    this.#each(map, objects, ({ start }, bytes) => start(bytes));
  }

  /** The end version's map, where the diff starts at the beginning of time: what exists is data. */
  full(map: PackedStates, objects: number): void {
    this.#bytes.fill(0);
    this.next(map, objects, true);
  }

  /** The map of the next version, which has `objects` objects; `isEnd` tells that it is the last. */
  next(map: PackedStates, objects: number, isEnd: boolean): void {
    this.#each(map, objects, ({ next }, bytes) => next(bytes, isEnd ? -1 : 0));
  }

  /** Objects [first, end) that are holes now and had no data at the start count as holes that had. */
  markHoles(first: number, end: number): void {
    for (let object = first; object < Math.min(end, this.count); object++) {
      const shift = 6 - 2 * (object & 3);
      const byte = this.#bytes[object >> 2]!;
      if (((byte >> shift) & 3) === 0) this.#bytes[object >> 2] = byte | (2 << shift);
    }
  }

  /** Objects [first, end) count as changed, whatever the maps say. */
  markChanged(first: number, end: number): void {
    for (let object = first; object < Math.min(end, this.count); object++) {
      this.#bytes[object >> 2] = this.#bytes[object >> 2]! | (2 << (6 - 2 * (object & 3)));
    }
  }

  /** Whether the object exists in the version folded last. */
  exists(object: number): boolean {
    return (((this.#bytes[object >> 2] ?? 0) >> (6 - 2 * (object & 3))) & 1) === 1;
  }

  /** How many objects changed. */
  changedCount(): { data: number; zero: number } {
    let [data, zero] = [0, 0];
    for (const word of this.#words) {
      const changed = (word >>> 1) & lowBits;
      if (changed === 0) continue;
      data += bitCount(changed & word);
      zero += bitCount(changed & ~word);
    }
    return { data, zero };
  }

  /** What changed among objects [first, end), ascending; neighbours of one kind are one run. */
  *changed(first = 0, end = this.count): Generator<ObjectRun, void, undefined> {
    let run: ObjectRun | null = null as ObjectRun | null;
    const words = this.#words;
    const last = Math.min(end, this.count);
    for (let base = first - (first & 15); base < last; base += 16) {
      const word = words[base >> 4]!;
      if ((word & highBits) === 0) continue;
      if (run?.end === base && word === (run.kind === 'data' ? -1 : highBits) && base + 16 <= last) {
        run.end = base + 16;
        continue;
      }
      const states = bigEndian(word); // so that leading bits are the first objects
      for (let i: number = first > base ? first - base : 0; i < 16; ) {
        i += Math.clz32((states & highBits) << (2 * i)) >> 1;
        const object: number = base + i;
        if (i >= 16 || object >= last) break;
        const state: number = (states >>> (30 - 2 * i)) & 3;
        // as long as the state repeats: leading zeros after removing it
        const different: number = (states ^ (state === 3 ? -1 : highBits)) << (2 * i);
        i = Math.min(16, i + (Math.clz32(different) >> 1));
        const stop = Math.min(base + i, last);
        const kind: ObjectRun['kind'] = state === 3 ? 'data' : 'zero';
        if (run?.end === object && run.kind === kind) {
          run.end = stop;
        } else {
          if (run !== null) yield run;
          run = { first: object, end: stop, kind };
        }
      }
    }
    if (run !== null) yield run;
  }

  /** Calls `fold` for all states, a chunk at a time, with the map beside them: zeros where it has no objects. */
  #each(map: PackedStates, objects: number, fold: (kernel: FoldKernel, bytes: number) => void): void {
    const kernel = foldKernel();
    const covered = Math.min(map.count, objects, this.count);
    const coveredBytes = Math.ceil(covered / 4);
    for (let from = 0; from < this.#bytes.length; from += chunkBytes) {
      const states = this.#bytes.subarray(from, from + chunkBytes);
      const part = map.states.subarray(Math.min(from, coveredBytes), Math.min(from + states.length, coveredBytes));
      kernel.map.set(part);
      kernel.map.fill(0, part.length);
      const lastByte = (covered >> 2) - from;
      if ((covered & 3) !== 0 && lastByte >= 0 && lastByte < part.length) {
        kernel.map[lastByte] = kernel.map[lastByte]! & (0xff00 >> (2 * (covered & 3)));
      }
      kernel.state.set(states);
      fold(kernel, states.length);
      states.set(states.length === chunkBytes ? kernel.state : kernel.state.subarray(0, states.length));
    }
  }
}

const bigEndian = (word: number): number =>
  (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);

const bitCount = (word: number): number => {
  let count = word - ((word >>> 1) & lowBits);
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
};
