import fc from 'fast-check';
import { expect, test } from 'vitest';
import { mapOrdered } from '../../src/bytes/ordered.ts';

/** Settles after some turns of the event loop, the number of which is given. */
async function turns(count: number): Promise<void> {
  for (let i = 0; i < count; i++) await new Promise((resolve) => setImmediate(resolve));
}

async function collect<T>(results: AsyncIterable<T>): Promise<{ results: T[]; failure: unknown }> {
  const found: T[] = [];
  try {
    for await (const result of results) found.push(result);
    return { results: found, failure: null };
  } catch (failure) {
    return { results: found, failure };
  }
}

async function* slowly<T>(items: T[], wait: number): AsyncGenerator<T> {
  for (const item of items) {
    await turns(wait);
    yield item;
  }
}

test('results come in the order of the items, never more than the limit at a time', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat(5)), fc.integer({ min: 1, max: 5 }), fc.nat(2), async (items, limit, wait) => {
      let running = 0;
      let most = 0;
      const source = wait === 0 ? items : slowly(items, wait);
      const results = mapOrdered(source, limit, async (item) => {
        running += 1;
        most = Math.max(most, running);
        await turns(item);
        running -= 1;
        return item;
      });
      expect((await collect(results)).results).toEqual(items);
      expect(most).toBeLessThanOrEqual(limit);
    }),
    { numRuns: 50 },
  );
});

test('a failure comes at its turn, when all calls have settled; nothing is started after it', async () => {
  let settled = 0;
  const started: number[] = [];
  const { results, failure } = await collect(
    mapOrdered([1, 2, 3, 4, 5, 6, 7], 3, async (item) => {
      started.push(item);
      await turns(item === 3 ? 0 : 3);
      settled += 1;
      if (item === 3) throw new Error('third');
      return item;
    }),
  );
  expect(results).toEqual([1, 2]);
  expect(failure).toEqual(new Error('third'));
  expect(started).toEqual([1, 2, 3]);
  expect(settled).toBe(3);
});

test('a function that throws at once is a failure at its turn as well', async () => {
  const throwing = (item: number): Promise<number> => {
    if (item === 2) throw new Error('at once');
    return Promise.resolve(item);
  };
  expect(await collect(mapOrdered([1, 2, 3], 2, throwing))).toEqual({ results: [1], failure: new Error('at once') });
});

test('a failure of the items comes after the results before it', async () => {
  function* items(): Generator<number> {
    yield 1;
    yield 2;
    throw new Error('no more');
  }
  for (const source of [
    items(),
    (async function* () {
      yield* items();
    })(),
  ]) {
    const result = await collect(mapOrdered(source, 5, async (item) => item));
    expect(result).toEqual({ results: [1, 2], failure: new Error('no more') });
  }
});

test('a consumer that leaves waits for what runs and closes the items', async () => {
  let running = 0;
  let closed = false;
  async function* items(): AsyncGenerator<number> {
    try {
      for (let i = 0; ; i++) yield i;
    } finally {
      closed = true;
    }
  }
  const results = mapOrdered(items(), 4, async (item) => {
    running += 1;
    await turns(5);
    running -= 1;
    return item;
  });
  for await (const result of results) if (result === 2) break;
  expect(running).toBe(0);
  expect(closed).toBe(true);
});

test('results do not wait for a source that is slow', async () => {
  let release = (): void => {};
  const gate = new Promise<void>((resolve) => {
    release = resolve;
  });
  async function* items(): AsyncGenerator<number> {
    yield 1;
    await gate;
    yield 2;
  }
  const results = mapOrdered(items(), 8, async (item) => item);
  expect(await results.next()).toEqual({ done: false, value: 1 });
  release();
  expect(await results.next()).toEqual({ done: false, value: 2 });
  expect((await results.next()).done).toBe(true);
});
