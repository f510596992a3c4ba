// The head of an image, opened to write through librbd, which takes and hands over the exclusive lock by itself.

import { printable } from '../../bytes/text.ts';
import type { Progress, WritableImage } from '../port.ts';
import { cName } from './connection.ts';
import { check } from './errno.ts';
import { CephImage } from './image.ts';
import type { FunctionName } from './native.ts';
import { throttled } from './progress.ts';

/** librbd makes a request for every object of a range at once. */
const zeroesAtOnceBytes = 2 ** 30;

export class CephWritableImage extends CephImage implements WritableImage {
  async write(offset: number, data: Uint8Array): Promise<void> {
    if (data.length === 0) return;
    const { pointer, label } = this.opened;
    const result = await this.submit(data, (completion) =>
      this.native.call('rbd_aio_write', pointer, offset, data.length, data, completion),
    );
    check(result, () => `write ${data.length} bytes at ${offset} of ${label}`);
  }

  /** Never a discard: librbd drops those that are smaller than 64 KiB. */
  async writeZeroes(offset: number, length: number): Promise<void> {
    const { pointer, label } = this.opened;
    for (let at = offset, end = offset + length; at < end; at += zeroesAtOnceBytes) {
      const piece = Math.min(zeroesAtOnceBytes, end - at);
      const result = await this.submit(null, (completion) =>
        this.native.call('rbd_aio_write_zeroes', pointer, at, piece, completion, 0, 0),
      );
      check(result, () => `clear ${piece} bytes at ${at} of ${label}`);
    }
  }

  async flush(): Promise<void> {
    const { pointer, label } = this.opened;
    const result = await this.submit(null, (completion) => this.native.call('rbd_aio_flush', pointer, completion));
    check(result, () => `flush ${label}`);
  }

  async resize(size: number, onProgress?: Progress): Promise<void> {
    const doing = `resize ${this.opened.label} to ${size} bytes`;
    if (!onProgress) return await this.#change(doing, 'rbd_resize', size);
    return await this.#change(doing, 'rbd_resize2', size, true, throttled(onProgress), null);
  }

  async createSnapshot(name: string): Promise<void> {
    return await this.#change(this.#snap('make', name), 'rbd_snap_create', cName(name, 'snapshot'));
  }

  async removeSnapshot(name: string, onProgress?: Progress): Promise<void> {
    const doing = this.#snap('remove', name);
    if (!onProgress) return await this.#change(doing, 'rbd_snap_remove', cName(name, 'snapshot'));
    return await this.#change(doing, 'rbd_snap_remove2', cName(name, 'snapshot'), 0, throttled(onProgress), null);
  }

  async protectSnapshot(name: string): Promise<void> {
    return await this.#change(this.#snap('protect', name), 'rbd_snap_protect', cName(name, 'snapshot'));
  }

  async unprotectSnapshot(name: string): Promise<void> {
    return await this.#change(this.#snap('unprotect', name), 'rbd_snap_unprotect', cName(name, 'snapshot'));
  }

  async rollback(name: string, onProgress?: Progress): Promise<void> {
    const doing = `roll ${this.opened.label} back to the snapshot '${printable(name)}'`;
    if (!onProgress) return await this.#change(doing, 'rbd_snap_rollback', cName(name, 'snapshot'));
    const report = throttled(onProgress);
    return await this.#change(doing, 'rbd_snap_rollback_with_progress', cName(name, 'snapshot'), report, null);
  }

  /** A change of the image as a whole: a blocking call of librbd that takes the handle first. */
  #change(doing: string, name: FunctionName, ...args: unknown[]): Promise<void> {
    return this.use(async () => {
      check(await this.native.callAsync(name, this.opened.pointer, ...args), doing);
    });
  }

  #snap(verb: string, name: string): string {
    return `${verb} the snapshot '${printable(name)}' of ${this.opened.label}`;
  }
}
