// A limit on bytes per second, for a source or a sink: a clock of when the next byte may pass.

import { setTimeout as sleepMs } from 'node:timers/promises';
import { RbdeltaError } from '../error.ts';
import { unlessAborted } from './errno.ts';
import type { ByteSink } from './sink.ts';
import type { ByteSource } from './source.ts';

/** What the limiter needs of time; tests give their own. */
export interface Clock {
  /** Milliseconds, rising. */
  now(): number;
  sleep(ms: number): Promise<void>;
}

const realClock: Clock = { now: () => performance.now(), sleep: (ms) => sleepMs(ms) };

/** Time that was not used may be caught up with, but only this much of it: a pause does not lead to a flood. */
const burstMs = 100;

/** Bytes go through in steps of about this much time, so that the rate is even and not only right on average. */
const stepMs = 50;

/** Writes to `sink` at `bytesPerSecond` on average. */
export function rateLimitedSink(sink: ByteSink, bytesPerSecond: number, clock: Clock = realClock): ByteSink {
  const bucket = new TokenBucket(bytesPerSecond, clock);
  return {
    ...sink,
    async write(chunks) {
      const total = chunks.reduce((sum, chunk) => sum + chunk.length, 0);
      if (total <= bucket.stepBytes) {
        await bucket.take(total);
        return sink.write(chunks);
      }
      for (const chunk of chunks) {
        for (let at = 0; at < chunk.length; at += bucket.stepBytes) {
          const step = chunk.subarray(at, at + bucket.stepBytes);
          await bucket.take(step.length);
          await sink.write([step]);
        }
      }
    },
  };
}

/** Reads from `source` at `bytesPerSecond` on average. */
export function rateLimitedSource(source: ByteSource, bytesPerSecond: number, clock: Clock = realClock): ByteSource {
  const bucket = new TokenBucket(bytesPerSecond, clock);
  return {
    ...source,
    async read(into) {
      await bucket.take(0);
      const count = await source.read(into.length > bucket.stepBytes ? into.subarray(0, bucket.stepBytes) : into);
      bucket.spend(count);
      return count;
    },
  };
}

/** What may pass: bytes are charged when they do, and paid for by time. Any number may wait at once, in order. */
export class TokenBucket {
  /** What passes in a step, if the rate is to be even. */
  readonly stepBytes: number;
  readonly #msPerByte: number;
  readonly #clock: Clock;
  /** When all that passed so far is paid for. */
  #paidAt: number;

  constructor(bytesPerSecond: number, clock: Clock = realClock) {
    if (!(bytesPerSecond > 0)) {
      throw new RbdeltaError('usage', `a rate of ${bytesPerSecond} bytes per second lets nothing through`);
    }
    this.#msPerByte = 1000 / bytesPerSecond;
    this.stepBytes = Math.max(1, Math.floor((bytesPerSecond * stepMs) / 1000));
    this.#clock = clock;
    this.#paidAt = clock.now();
  }

  /**
   * Charges `bytes`, and waits until everything before them is paid for, or fails as soon as the signal is aborted. What
   * comes after that does not wait: it cleans up.
   */
  async take(bytes: number, signal?: AbortSignal): Promise<void> {
    if (signal?.aborted) return;
    const now = this.#clock.now();
    const paidAt = Math.max(this.#paidAt, now - burstMs);
    this.#paidAt = paidAt;
    this.spend(bytes);
    if (paidAt > now) await unlessAborted(this.#clock.sleep(paidAt - now), signal);
  }

  /** Charges what has passed already. */
  spend(bytes: number): void {
    this.#paidAt += bytes * this.#msPerByte;
  }
}
