// Calls under way: a bounded amount at once, in no order; the first failure is thrown at the next step.

/** What is started here never rejects unobserved: its failure waits for `room` or `drain`. */
export class Window {
  readonly #limit: number;
  #running = 0;
  #failure: { error: unknown } | null = null;
  #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get isFull(): boolean {
    return this.#running >= this.#limit || this.#failure !== null;
  }

  /** Waits while the window is full; throws the first failure as soon as it is known. */
  async room(): Promise<void> {
    while (this.#running >= this.#limit && !this.#failure) await this.#change();
    this.#check();
  }

  /** `weight`: what it takes of the limit. `then` runs when the call has settled, however it ended. */
  start(weight: number, call: () => Promise<void>, then?: () => void): void {
    this.#running += weight;
    // A call that throws before it gives a promise is a failure like any other.
    new Promise<void>((resolve) => resolve(call()))
      .catch((error: unknown) => {
        this.#failure ??= { error };
      })
      .finally(() => {
        this.#running -= weight;
        then?.();
        const waiting = this.#waiting;
        this.#waiting = [];
        for (const wake of waiting) wake();
      });
  }

  /** Waits until nothing is under way, then throws the first failure. */
  async drain(): Promise<void> {
    await this.settled();
    this.#check();
  }

  /** Waits until nothing is under way. */
  async settled(): Promise<void> {
    while (this.#running > 0) await this.#change();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #check(): void {
    if (this.#failure) throw this.#failure.error;
  }
}
