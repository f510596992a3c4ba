// What a server's clock says by now, told from the dates of its answers: most who ask have just had one.

/** An older answer is not gone by. */
const keptMs = 60_000;

/**
 * Rather late than early: a lock that is taken for younger than it is keeps others waiting, one that is taken for older
 * would let them in. So a date counts from when its answer came, not from when it was sent, and it does no harm that
 * `performance.now` stands still while the machine sleeps.
 */
export class ServerClock {
  #dateMs = 0;
  /** When it was so, by `performance.now`. */
  #atMs = -Infinity;

  /** An answer that has just come has this date, to whole seconds as HTTP has it. */
  heard(dateMs: number): void {
    const atMs = performance.now();
    const goneOnMs = this.#dateMs + atMs - this.#atMs;
    // Within the same second, what went on from an earlier answer is nearer to the truth. A clock that was put back counts.
    const isSameSecond = dateMs <= goneOnMs && goneOnMs < dateMs + 1000;
    this.#dateMs = isSameSecond ? goneOnMs : dateMs;
    this.#atMs = atMs;
  }

  /** null where the last answer is too old, or none came yet. */
  nowMs(): number | null {
    const sinceMs = performance.now() - this.#atMs;
    return sinceMs < keptMs ? Math.floor(this.#dateMs + sinceMs) : null;
  }
}
