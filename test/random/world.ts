// A random past for an image, and the truth about it: every step is done to the image and to plain bytes in memory.

import { numbers, noise } from '../kit/noise.ts';

/** What a history does to an image; a Ceph one is changed by Ceph's own hand, a local one by the local pool. */
export interface Past {
  write(offset: number, data: Uint8Array): Promise<void>;
  /** May or may not make zeros of it: `read` tells. */
  discard(offset: number, length: number): Promise<void>;
  writeZeroes(offset: number, length: number): Promise<void>;
  resize(size: number): Promise<void>;
  createSnapshot(name: string): Promise<void>;
  removeSnapshot(name: string): Promise<void>;
  rollback(name: string): Promise<void>;
  /** Of a clone that is to leave its parent at some time. */
  flatten?(): Promise<void>;
  read(offset: number, length: number): Promise<Uint8Array>;
}

export interface Truth {
  head: Buffer;
  /** In the order of their making. */
  snapshots: Map<string, Buffer>;
}

const resized = (bytes: Buffer, size: number): Buffer => {
  const result = Buffer.alloc(size);
  bytes.copy(result);
  return result;
};

export class RandomHistory {
  readonly truth: Truth;
  /** What was done, in words, for a failure's message. */
  readonly log: string[] = [];
  readonly #past: Past;
  readonly #next: () => number;
  readonly #maxSize: number;
  readonly #objectBytes: number;
  #made = 0;
  #flattened = false;

  /** `head` is what the image reads as now. */
  constructor(past: Past, seed: number, options: { head: Buffer; maxSize: number; objectBytes: number }) {
    this.#past = past;
    this.#next = numbers(seed);
    this.#maxSize = options.maxSize;
    this.#objectBytes = options.objectBytes;
    this.truth = { head: options.head, snapshots: new Map() };
  }

  /** An integer in [low, high]. */
  pick(low: number, high: number): number {
    return low + Math.floor(this.#next() * (high - low + 1));
  }

  /** A few changes, then a snapshot; resolves to its name. `keep` is not removed. */
  async round(keep: string): Promise<string> {
    await this.change(keep);
    return this.snapshot();
  }

  /** A few changes. */
  async change(keep: string): Promise<void> {
    for (let steps = this.pick(1, 6); steps > 0; steps--) await this.#step(keep);
    if (this.#past.flatten && !this.#flattened && this.pick(1, 15) === 1) {
      this.log.push('flatten');
      await this.#past.flatten();
      this.#flattened = true;
    }
  }

  async snapshot(): Promise<string> {
    const name = `r${++this.#made}`;
    this.log.push(`snap create ${name}`);
    await this.#past.createSnapshot(name);
    this.truth.snapshots.set(name, Buffer.from(this.truth.head));
    return name;
  }

  async #step(keep: string): Promise<void> {
    const { truth } = this;
    const chance = this.#next();
    if (chance < 0.45) await this.#write();
    else if (chance < 0.6) await this.#clear('discard');
    else if (chance < 0.75) await this.#clear('writeZeroes');
    else if (chance < 0.88) {
      const size = this.#next() < 0.3 ? this.pick(1, 8) * this.#objectBytes : this.pick(1, this.#maxSize);
      this.log.push(`resize ${size}`);
      await this.#past.resize(size);
      truth.head = resized(truth.head, size);
    } else {
      const names = [...truth.snapshots.keys()];
      const name = names[this.pick(0, names.length - 1)];
      if (name === undefined) return;
      if (chance < 0.96) {
        if (name === keep) return;
        this.log.push(`snap rm ${name}`);
        await this.#past.removeSnapshot(name);
        truth.snapshots.delete(name);
      } else {
        this.log.push(`snap rollback ${name}`);
        await this.#past.rollback(name);
        truth.head = Buffer.from(truth.snapshots.get(name) ?? []);
      }
    }
  }

  /** A range of the head: often small, often at the border of an object, sometimes large. */
  #range(): { offset: number; length: number } {
    const size = this.truth.head.length;
    const border = this.#next() < 0.4;
    const offset = border
      ? Math.min(size - 1, this.pick(0, Math.floor(size / this.#objectBytes)) * this.#objectBytes)
      : this.pick(0, size - 1);
    const most = [4096, 512, 70_000, this.#objectBytes, 3 * this.#objectBytes][this.pick(0, 4)] ?? 1;
    const length = this.#next() < 0.5 ? most : this.pick(1, most);
    return { offset, length: Math.min(length, size - offset) };
  }

  async #write(): Promise<void> {
    const { offset, length } = this.#range();
    // Zeros are written too, and what is there already.
    const kind = this.pick(0, 9);
    const same = this.truth.head.subarray(offset, offset + length);
    const data = kind === 0 ? Buffer.alloc(length) : kind === 1 ? Buffer.from(same) : noise(this.pick(1, 1e9), length);
    this.log.push(`write ${offset}~${length}${kind === 0 ? ' zeros' : kind === 1 ? ' the same' : ''}`);
    await this.#past.write(offset, data);
    data.copy(this.truth.head, offset);
  }

  async #clear(how: 'discard' | 'writeZeroes'): Promise<void> {
    const { offset, length } = this.#range();
    this.log.push(`${how} ${offset}~${length}`);
    await this.#past[how](offset, length);
    if (how === 'writeZeroes') this.truth.head.fill(0, offset, offset + length);
    // A discard may leave what it cannot free: then the image itself is the truth.
    else Buffer.from(await this.#past.read(offset, length)).copy(this.truth.head, offset);
  }
}
