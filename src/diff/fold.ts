// Object maps of consecutive versions folded into one answer: which objects changed. Rule: formats/object-map/spec.md

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
    this.#each(map, objects, startWords);
  }

  /** The end version's map, where the diff starts at the beginning of time: what exists is data. */
  full(map: PackedStates, objects: number): void {
    this.#bytes.fill(0);
    this.next(map, objects, true);
  }

  /** The map of the next version, which has `objects` objects; `isEnd` tells that it is the last. */
  next(map: PackedStates, objects: number, isEnd: boolean): void {
    this.#each(map, objects, (states, words) => nextWords(states, words, isEnd));
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
    return (stateOf(this.#bytes, object) & 1) === 1;
  }

  /**
   * Up to `most` objects, spread over the image, that are unchanged data here although a map of `objects` objects calls
   * them dirty (exists or pending, not clean).
   */
  unchangedButDirty(map: PackedStates, objects: number, most: number): number[] {
    const found: number[] = [];
    const share = Math.ceil(this.count / most);
    this.#each(map, objects, (states, words, first) => {
      for (let i = 0; i < states.length; i += glance) {
        if ((words[i]! & words[i + 1]! & words[i + 2]! & words[i + 3]!) === -1) continue; // all clean
        for (let k = i; k < i + glance; k++) {
          const hits = states[k]! & ~(states[k]! >>> 1) & (words[k]! ^ (words[k]! >>> 1)) & lowBits;
          for (let left = bigEndian(hits); left !== 0; ) {
            const leading = Math.clz32(left);
            left &= ~(0x80000000 >>> leading);
            const object = first + 16 * k + (leading >> 1);
            // about one of each share of the image
            if (found.length < most && object >= found.length * share) found.push(object);
          }
        }
      }
      return found.length < most;
    });
    return found;
  }

  /** How many objects changed. */
  changedCount(): { data: number; zero: number } {
    let [data, zero] = [0, 0];
    const words = this.#words;
    for (let i = 0; i < words.length; i += glance) {
      if (((words[i]! | words[i + 1]! | words[i + 2]! | words[i + 3]!) & highBits) === 0) continue;
      for (let k = i; k < i + glance; k++) {
        const word = words[k]!;
        const changed = (word >>> 1) & lowBits;
        data += bitCount(changed & word);
        zero += bitCount(changed & ~word);
      }
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

  /**
   * Calls `visit` for all states, a chunk at a time, with the map beside them (zeros where it has no objects) and the
   * number of the first object, until it gives false.
   */
  #each(
    map: PackedStates,
    objects: number,
    visit: (states: Int32Array, map: Int32Array, first: number) => boolean | void,
  ): void {
    const chunk = new Int32Array(chunkWords); // the map's bytes do not lie on the borders of words
    const bytes = new Uint8Array(chunk.buffer);
    const covered = Math.min(map.count, objects, this.count);
    const coveredBytes = Math.ceil(covered / 4);
    for (let from = 0; from < this.#bytes.length; from += bytes.length) {
      const part = map.states.subarray(Math.min(from, coveredBytes), Math.min(from + bytes.length, coveredBytes));
      bytes.set(part);
      bytes.fill(0, part.length);
      const lastByte = (covered >> 2) - from;
      if ((covered & 3) !== 0 && lastByte >= 0 && lastByte < part.length) {
        bytes[lastByte] = bytes[lastByte]! & (0xff00 >> (2 * (covered & 3)));
      }
      const states = this.#words.subarray(from / 4, from / 4 + chunkWords);
      if (visit(states, chunk, from * 4) === false) return;
    }
  }
}

const chunkWords = 8 << 10;

/** Sixteen objects a word. A pending one (its delete is under way) counts as changed. */
const startWords = (states: Int32Array, map: Int32Array): void => {
  for (let i = 0; i < states.length; i++) {
    const low = map[i]!;
    const high = low >>> 1;
    states[i] = ((high & ~low & lowBits) << 1) | ((low | high) & lowBits);
  }
};

/** Most of a map is unchanged data: so many words are looked at together (the vectors are padded to it). */
const glance = 4;

/**
 * Changed: changed before; or dirty (exists or pending, not clean); or there now and not before, or the other way round.
 * A hole stays a hole before the end is reached: only whether it has data in the end counts.
 */
const nextWords = (states: Int32Array, map: Int32Array, isEnd: boolean): void => {
  for (let i = 0; i < states.length; i += glance) {
    const isClean = (map[i]! & map[i + 1]! & map[i + 2]! & map[i + 3]!) === -1;
    if (
      isClean &&
      states[i] === lowBits &&
      states[i + 1] === lowBits &&
      states[i + 2] === lowBits &&
      states[i + 3] === lowBits
    ) {
      continue;
    }
    for (let k = i; k < i + glance; k++) {
      const state = states[k]!;
      const low = map[k]!;
      const high = low >>> 1;
      const exists = (low | high) & lowBits;
      const changed = ((state >>> 1) | (low ^ high) | (state ^ exists)) & lowBits;
      const notHole = (state | (state >>> 1)) & lowBits;
      states[k] = ((changed << 1) | exists) & (isEnd ? -1 : notHole | (notHole << 1));
    }
  }
};

const stateOf = (packed: Uint8Array, object: number): number =>
  ((packed[object >> 2] ?? 0) >> (6 - 2 * (object & 3))) & 3;

const bigEndian = (word: number): number =>
  (word << 24) | ((word & 0xff00) << 8) | ((word >>> 8) & 0xff00) | (word >>> 24);

const bitCount = (word: number): number => {
  let count = word - ((word >>> 1) & lowBits);
  count = (count & 0x33333333) + ((count >>> 2) & 0x33333333);
  return Math.imul((count + (count >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
};
