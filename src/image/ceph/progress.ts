// librbd's progress callbacks, made rare enough not to slow the work down.

import type { Progress } from '../port.ts';

const intervalMs = 100;

/** What to hand to librbd: tells `onProgress` at most ten times a second, and of the end. */
export function throttled(onProgress: Progress): (done: number | bigint, total: number | bigint) => number {
  let next = 0;
  return (done, total) => {
    const now = performance.now();
    if (now >= next || done === total) {
      next = now + intervalMs;
      onProgress(Number(done), Number(total));
    }
    return 0;
  };
}
