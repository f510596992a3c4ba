// A history of an image, byte by byte, and the points that backups would have made of it.

import { blockBytes } from '../../src/format/archive-index.ts';
import type { Manifest } from '../../src/format/manifest.ts';
import {
  digestOf,
  fingerprintOf,
  type MadeRecord,
  type MemoryStore,
  pointId,
  putPoint,
  repositoryIn,
  type Shape,
} from './archive-kit.ts';

/** What happens until the next point. */
export interface Step {
  /** null: as before. */
  size: number | null;
  /** In turn; what is past the size does nothing. */
  changes: { offset: number; length: number; zero: boolean }[];
}

export class History {
  readonly manifests: Manifest[] = [];
  /** The content of the image at each point. */
  readonly states: Buffer[] = [];
  /** Of the newest state, of blocks that are not zero. */
  digests = new Map<number, Uint8Array>();

  static async of(steps: readonly Step[], memory: MemoryStore, shape?: Shape): Promise<History> {
    const history = new History();
    for (const step of steps) await history.#add(step, memory, shape);
    return history;
  }

  get state(): Buffer {
    return this.states.at(-1)!;
  }

  get newest(): Manifest {
    return this.manifests.at(-1)!;
  }

  async #add({ size, changes }: Step, memory: MemoryStore, shape?: Shape): Promise<void> {
    const number = this.manifests.length;
    const before = this.states.at(-1) ?? Buffer.alloc(0);
    const state = Buffer.alloc(size ?? before.length);
    state.set(before.subarray(0, state.length));
    /** 0: untouched, 1: data, 2: zeros. */
    const told = new Uint8Array(state.length);
    const change = (offset: number, end: number, zero: boolean): void => {
      const stop = Math.min(end, state.length);
      if (offset >= stop) return;
      told.fill(zero ? 2 : 1, offset, stop);
      // at each place of each point another byte, so that a wrong place or point shows
      if (zero) state.fill(0, offset, stop);
      else for (let at = offset; at < stop; at++) state[at] = ((at * 7 + (at >> 8) + number * 41) % 255) + 1;
    };
    for (const { offset, length, zero } of changes) change(offset, offset + length, zero);
    // the block that a shrink cut is another one now
    const cut = Math.floor(state.length / blockBytes);
    if (state.length < before.length && state.length % blockBytes !== 0 && this.digests.has(cut)) {
      for (let at = cut * blockBytes; at < state.length; at++) told[at] ||= state[at] === 0 ? 2 : 1;
    }

    const records: MadeRecord[] = [];
    for (let at = 0; at < told.length; ) {
      let end = at + 1;
      while (end < told.length && told[end] === told[at]) end += 1;
      const data = told[at] === 1 ? Buffer.from(state.subarray(at, end)) : null;
      if (told[at] !== 0) records.push({ offset: at, length: end - at, data });
      at = end;
    }
    const { digestKey } = repositoryIn(memory);
    const blocks = new Map<number, Uint8Array | null>();
    for (const { offset, length } of records) {
      const end = Math.ceil((offset + length) / blockBytes);
      for (let block = Math.floor(offset / blockBytes); block < end; block++) {
        if (!blocks.has(block)) blocks.set(block, digestOf(digestKey, state, block));
      }
    }
    for (const block of this.digests.keys()) {
      if (block * blockBytes >= state.length) this.digests.delete(block);
    }
    for (const [block, digest] of blocks) {
      if (digest === null) this.digests.delete(block);
      else this.digests.set(block, digest);
    }
    const fingerprint = fingerprintOf(digestKey, this.digests);
    const base = this.manifests.at(-1) ?? null;
    const point = { id: pointId(number), base, size: state.length, records, blocks, fingerprint };
    this.manifests.push(await putPoint(memory, point, shape));
    this.states.push(state);
  }
}
