// Layers one over the other, swept in rising order: at each place the highest that has something there shows.

/**
 * One of the layers: a series of items that rise and do not overlap, of which the sweep sees one at a time. The series is
 * fetched bit by bit: while `ready` is false, `start` is only known to be no more than that of the next item, and `end` is
 * the same.
 */
export interface Layer {
  /** Of two layers the one with the higher rank shows. No two have the same. */
  readonly rank: number;
  /** Infinite when there is no further item. */
  start: number;
  end: number;
  ready: boolean;
  /** Moves on to the first item that ends behind `at`, or to where something must be fetched to know it. */
  seek(at: number): void;
  /** Fetches what is missing while `ready` is false; `seek` again afterwards. */
  load(): Promise<void>;
}

/** `from` to `to` shows the layer's item. Neighbours may be parts of the same item. */
export type Emit<L> = (layer: L, from: number, to: number) => void;

/**
 * The sweep costs the logarithm of the number of layers for each item, and nothing for layers that have nothing near. It
 * is not asynchronous itself: millions of items would wait for nothing.
 *
 *     for (;;) {
 *       const stopped = sweep.run(end, emit, isFull);
 *       if (stopped === 'done') break;
 *       if (stopped === 'blocked') await sweep.load();
 *     }
 */
export class Sweep<L extends Layer> {
  /** Everything below has been told. */
  at: number;
  /** Layers whose item begins behind `at`, by its start. */
  readonly #upcoming: Heap<L>;
  /** Layers whose item began, by rank; one that something hides may be behind. */
  readonly #begun: Heap<L>;
  /** Layers that must be loaded before the sweep can go on. */
  #blocked: L[] = [];

  constructor(layers: Iterable<L>, at: number) {
    this.at = at;
    this.#upcoming = new Heap((a, b) => a.start < b.start);
    this.#begun = new Heap((a, b) => a.rank > b.rank);
    for (const layer of layers) this.#sort(layer);
  }

  /** Goes on to `end`, or until a layer has to be loaded, or `isFull` says after an `emit` that it is enough. */
  run(end: number, emit: Emit<L>, isFull: () => boolean): 'done' | 'blocked' | 'full' {
    const upcoming = this.#upcoming;
    const begun = this.#begun;
    for (;;) {
      if (this.at >= end) return 'done';
      let next = upcoming.top;
      while (next !== undefined && next.start <= this.at) {
        upcoming.pop();
        this.#sort(next);
        next = upcoming.top;
      }
      if (this.#blocked.length > 0) return 'blocked';
      const top = begun.top;
      if (top === undefined) {
        this.at = next === undefined ? end : Math.min(end, next.start);
        continue;
      }
      if (top.end <= this.at) {
        begun.pop();
        this.#sort(top);
        continue;
      }
      let to = Math.min(top.end, end);
      while (next !== undefined && next.start < to) {
        if (next.rank > top.rank) {
          to = next.start;
          break;
        }
        // It begins below what shows: where that ends, it is looked at again.
        upcoming.pop();
        begun.push(next);
        next = upcoming.top;
      }
      emit(top, this.at, to);
      this.at = to;
      if (isFull()) return 'full';
    }
  }

  /** Goes on at `at` without telling what lies before, and finds out which layers must be loaded up to `end`. */
  skipTo(at: number, end: number): void {
    this.at = at;
    const near: L[] = [];
    for (let next = this.#upcoming.top; next !== undefined && next.start < end; next = this.#upcoming.top) {
      this.#upcoming.pop();
      near.push(next);
    }
    for (let next = this.#begun.pop(); next !== undefined; next = this.#begun.pop()) near.push(next);
    for (const layer of near) this.#sort(layer, end);
  }

  /** Loads, all at once, what the sweep is blocked by. */
  async load(): Promise<void> {
    const blocked = this.#blocked;
    await Promise.all(blocked.map((layer) => layer.load()));
    this.#blocked = [];
    for (const layer of blocked) this.#sort(layer);
  }

  /** Puts a layer where it belongs; it is blocked if it is not ready where the sweep is, or before `end` if that is given. */
  #sort(layer: L, end = 0): void {
    if (layer.end <= this.at) layer.seek(this.at);
    if (layer.start === Number.POSITIVE_INFINITY) return;
    if (!layer.ready && (layer.start <= this.at || layer.start < end)) this.#blocked.push(layer);
    else if (layer.start > this.at) this.#upcoming.push(layer);
    else this.#begun.push(layer);
  }
}

/** A binary heap; `top` is the one that comes before all others. */
class Heap<T> {
  readonly #items: T[] = [];
  readonly #before: (a: T, b: T) => boolean;

  constructor(before: (a: T, b: T) => boolean) {
    this.#before = before;
  }

  get top(): T | undefined {
    return this.#items[0];
  }

  push(item: T): void {
    const items = this.#items;
    let at = items.length;
    for (let parent = (at - 1) >> 1; at > 0 && this.#before(item, items[parent]!); parent = (at - 1) >> 1) {
      items[at] = items[parent]!;
      at = parent;
    }
    items[at] = item;
  }

  pop(): T | undefined {
    const items = this.#items;
    const top = items[0];
    const last = items.pop();
    if (last === undefined || items.length === 0) return top;
    let at = 0;
    for (let child = 1; child < items.length; child = 2 * at + 1) {
      if (child + 1 < items.length && this.#before(items[child + 1]!, items[child]!)) child += 1;
      if (!this.#before(items[child]!, last)) break;
      items[at] = items[child]!;
      at = child;
    }
    items[at] = last;
    return top;
  }
}
