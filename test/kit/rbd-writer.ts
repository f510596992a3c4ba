// Changes Ceph images by Ceph's own hand (its Python binding), so that what rbdelta reads was not written by rbdelta.

import { type ChildProcessWithoutNullStreams, spawn } from 'node:child_process';
import { createInterface } from 'node:readline';

/** Feature bits of an image, for `create` and `clone`. */
export const features = {
  layering: 1,
  striping: 2,
  exclusiveLock: 4,
  objectMap: 8,
  fastDiff: 16,
  deepFlatten: 32,
} as const;
export const usualFeatures = 0x3d;

/** Images are `[namespace/]image` of the writer's pool; they stay open until `close`. */
export class RbdWriter {
  readonly #child: ChildProcessWithoutNullStreams;
  readonly #answers: AsyncIterator<string>;
  #stderr = '';
  #turn: Promise<unknown> = Promise.resolve();

  constructor(conf: string, pool: string) {
    this.#child = spawn('/usr/bin/python3', ['test/kit/rbd-writer.py', conf, pool]);
    this.#child.stderr.on('data', (text: Buffer) => (this.#stderr += text.toString()));
    this.#answers = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  /** One command at a time, in the order of the calls. */
  #ask(command: Record<string, unknown>): Promise<unknown> {
    const turn = this.#turn.then(async () => {
      this.#child.stdin.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await this.#answers.next();
      if (done === true) throw new Error(`rbd-writer ended: ${this.#stderr}`);
      const answer = JSON.parse(value) as { ok?: unknown; error?: string };
      if (answer.error !== undefined) throw new Error(`${JSON.stringify(command).slice(0, 200)}: ${answer.error}`);
      return answer.ok;
    });
    this.#turn = turn.catch(() => undefined);
    return turn;
  }

  async #do(name: string, image: string, options: Record<string, unknown> = {}): Promise<void> {
    await this.#ask({ do: name, image, ...options });
  }

  create(
    image: string,
    options: {
      size: number;
      order?: number;
      features?: number;
      stripeUnit?: number;
      stripeCount?: number;
      dataPool?: string;
    },
  ): Promise<void> {
    return this.#do('create', image, { features: usualFeatures, ...options });
  }

  clone(parent: string, snap: string, image: string): Promise<void> {
    return this.#do('clone', image, { parent, snap, features: usualFeatures });
  }

  write(image: string, offset: number, data: Uint8Array): Promise<void> {
    return this.#do('write', image, { offset, data: Buffer.from(data).toString('base64') });
  }

  /** `length` times the same byte. */
  fill(image: string, offset: number, length: number, byte: number): Promise<void> {
    return this.#do('fill', image, { offset, length, byte });
  }

  /** As a guest does: librbd drops what is smaller than its granularity (64 KiB). */
  discard(image: string, offset: number, length: number): Promise<void> {
    return this.#do('discard', image, { offset, length });
  }

  writeZeroes(image: string, offset: number, length: number): Promise<void> {
    return this.#do('writeZeroes', image, { offset, length });
  }

  resize(image: string, size: number): Promise<void> {
    return this.#do('resize', image, { size });
  }

  createSnapshot(image: string, name: string): Promise<void> {
    return this.#do('createSnapshot', image, { name });
  }

  removeSnapshot(image: string, name: string): Promise<void> {
    return this.#do('removeSnapshot', image, { name });
  }

  protectSnapshot(image: string, name: string): Promise<void> {
    return this.#do('protectSnapshot', image, { name });
  }

  unprotectSnapshot(image: string, name: string): Promise<void> {
    return this.#do('unprotectSnapshot', image, { name });
  }

  rollback(image: string, name: string): Promise<void> {
    return this.#do('rollback', image, { name });
  }

  setFeatures(image: string, bits: number, enabled: boolean): Promise<void> {
    return this.#do('setFeatures', image, { features: bits, enabled });
  }

  /** Takes the exclusive lock, and gives it to nobody who asks, until `close`. */
  lock(image: string): Promise<void> {
    return this.#do('lock', image);
  }

  flush(image: string): Promise<void> {
    return this.#do('flush', image);
  }

  async read(image: string, offset: number, length: number): Promise<Buffer> {
    return Buffer.from((await this.#ask({ do: 'read', image, offset, length })) as string, 'base64');
  }

  async id(image: string): Promise<string> {
    return (await this.#ask({ do: 'id', image })) as string;
  }

  async flags(image: string): Promise<number> {
    return (await this.#ask({ do: 'flags', image })) as number;
  }

  async snapshots(image: string): Promise<{ id: number; name: string; size: number }[]> {
    return (await this.#ask({ do: 'listSnapshots', image })) as { id: number; name: string; size: number }[];
  }

  close(image: string): Promise<void> {
    return this.#do('close', image);
  }

  remove(image: string): Promise<void> {
    return this.#do('remove', image);
  }

  async end(): Promise<void> {
    const gone = new Promise((resolve) => this.#child.once('close', resolve));
    this.#child.stdin.end();
    await gone;
  }
}
