// Waits for librbd's asynchronous I/O without a thread: librbd signals an eventfd, which the event loop watches.

import { closeSync, readSync } from 'node:fs';
import { RbdeltaError } from '../../error.ts';
import { check } from './errno.ts';
import type { Native, Pointer } from './native.ts';

const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;
/** What librbd is told that the descriptor is. */
const EVENT_TYPE_EVENTFD = 2;
const batch = 64;

/** The I/O in flight of one image handle. */
export class Completions {
  readonly #native: Native;
  readonly #image: Pointer;
  readonly #fd: number;
  readonly #watcher: ReturnType<Native['onReadable']>;
  readonly #finished = new BigUint64Array(batch);
  readonly #counter = Buffer.alloc(8);
  /** By completion. `memory` is what librbd reads or writes: it must not be collected before it is done. */
  readonly #inFlight = new Map<Pointer, { done: (result: number) => void; memory: Uint8Array | null }>();
  #idle: (() => void)[] = [];

  constructor(native: Native, image: Pointer) {
    this.#native = native;
    this.#image = image;
    this.#fd = native.call('eventfd', 0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (this.#fd < 0) throw new RbdeltaError('io', 'cannot make an eventfd to wait for librbd: too many open files');
    try {
      check(
        native.call('rbd_set_image_notification', image, this.#fd, EVENT_TYPE_EVENTFD),
        'watch the I/O of the image',
      );
      this.#watcher = native.onReadable(this.#fd, () => this.#collect());
    } catch (error) {
      closeSync(this.#fd);
      throw error;
    }
    this.#watcher.unref();
  }

  /** Starts one operation and resolves to what it returned (negative for a failure). */
  run(submit: (completion: Pointer) => number, memory: Uint8Array | null = null): Promise<number> {
    const out: [Pointer | null] = [null];
    check(this.#native.call('rbd_aio_create_completion', null, null, out), 'start I/O');
    const completion = out[0]!;
    return new Promise((resolve) => {
      if (this.#inFlight.size === 0) this.#watcher.ref();
      this.#inFlight.set(completion, { done: resolve, memory });
      const result = submit(completion);
      // Refused at once: it will not be signalled.
      if (result < 0) this.#settle(completion, result);
    });
  }

  /** Resolves when nothing is in flight. */
  async settled(): Promise<void> {
    if (this.#inFlight.size > 0) await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  /** Waits for what is in flight. The image is to be closed afterwards, and nothing may be started any more. */
  async close(): Promise<void> {
    await this.settled();
    this.#watcher.stop();
  }

  /** Only after the image was closed: until then librbd may still write to it. */
  release(): void {
    closeSync(this.#fd);
  }

  #collect(): void {
    try {
      readSync(this.#fd, this.#counter);
    } catch {
      // EAGAIN: an earlier turn has emptied it.
    }
    for (;;) {
      const count = check(
        this.#native.call('rbd_poll_io_events', this.#image, this.#finished, batch),
        'collect finished I/O',
      );
      for (let i = 0; i < count; i++) {
        const completion = this.#finished[i]!;
        this.#settle(completion, this.#native.call('rbd_aio_get_return_value', completion));
      }
      if (count < batch) return;
    }
  }

  #settle(completion: Pointer, result: number): void {
    const operation = this.#inFlight.get(completion);
    this.#inFlight.delete(completion);
    this.#native.call('rbd_aio_release', completion);
    if (this.#inFlight.size === 0) {
      this.#watcher.unref();
      for (const resolve of this.#idle.splice(0)) resolve();
    }
    operation?.done(result);
  }
}
