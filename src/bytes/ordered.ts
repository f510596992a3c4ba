// Bounded concurrency with results in order.

/**
 * Runs `fn` over the items, at most `limit` at a time, and yields the results in the order of the items, each as soon as
 * it and all before it are there. A failure (of `fn`, or of `items`) is thrown at its turn, after the results before it;
 * nothing is started once it is known. However it ends, by failure or by a consumer that leaves, no call of `fn` is still
 * running afterwards, and `items` is closed.
 */
export async function* mapOrdered<T, R>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  fn: (item: T) => Promise<R>,
): AsyncGenerator<R> {
  const iterator = Symbol.asyncIterator in items ? items[Symbol.asyncIterator]() : items[Symbol.iterator]();
  const running: Promise<R>[] = [];
  let next: Promise<IteratorResult<T>> | null = null;
  let exhausted = false;
  let failed = false;

  const start = (task: () => Promise<R>): void => {
    const result = call(task);
    // Also: a rejection is looked at in its turn, perhaps much later; until then it is not an unhandled one.
    result.catch(() => {
      failed = true;
    });
    running.push(result);
  };

  try {
    for (;;) {
      if (!exhausted && !failed && running.length < limit) {
        next ??= call(async () => iterator.next());
        // A slow source must not hold back results that are there.
        const first = running.length === 0 ? null : await Promise.race([isSettled(next), settlesFirst(running[0]!)]);
        if (first !== oldest) {
          const item = await next.catch((error: unknown) => {
            exhausted = true;
            start(() => Promise.reject(error));
            return null;
          });
          next = null;
          if (item?.done) exhausted = true;
          else if (item) start(() => fn(item.value));
          continue;
        }
      }
      if (running.length === 0) return;
      yield await running[0]!;
      void running.shift();
    }
  } finally {
    next?.catch(() => {});
    await Promise.allSettled(running);
    if (!exhausted) await iterator.return?.();
  }
}

const oldest = Symbol('the oldest call has settled');

const isSettled = (promise: Promise<unknown>): Promise<unknown> => promise.catch(() => {});

const settlesFirst = (promise: Promise<unknown>): Promise<typeof oldest> =>
  promise.then(
    () => oldest,
    () => oldest,
  );

/** A throw of the function is a rejection, too. */
async function call<T>(fn: () => Promise<T>): Promise<T> {
  return fn();
}
