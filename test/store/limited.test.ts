import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Clock } from '../../src/bytes/rate.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { rateLimitedStore } from '../../src/store/limited.ts';
import type { Store } from '../../src/store/port.ts';

const megabyte = 1_000_000;
let path: string;
let inner: Store;

beforeAll(async () => {
  path = await mkdtemp(join(tmpdir(), 'rbdelta-limited-'));
  inner = await openDirectoryStore(path);
  await inner.put('one', Buffer.alloc(megabyte, 1));
});
afterAll(() => rm(path, { recursive: true }));

/** Milliseconds that pass only by sleeping; several sleep at once. */
function testClock(): Clock & { ms: number } {
  return {
    ms: 0,
    now() {
      return this.ms;
    },
    async sleep(ms) {
      const until = this.ms + ms;
      await Promise.resolve();
      this.ms = Math.max(this.ms, until);
    },
  };
}

/** What the clock says after it, when the next byte may pass, at a megabyte per second. */
async function secondsOf(run: (store: Store) => Promise<unknown>): Promise<number> {
  const clock = testClock();
  const store = rateLimitedStore(inner, megabyte, { clock });
  await run(store);
  await store.put('next', Buffer.alloc(0));
  return clock.ms / 1000;
}

test('payload takes its time, both ways, one operation after the other or many at once', async () => {
  const into = (): Uint8Array => new Uint8Array(megabyte);
  const three = [1, 2, 3];
  for (const [seconds, run] of [
    [1, (store) => store.get('one', megabyte)],
    [1, (store) => store.read('one', 0, into())],
    [1, (store) => store.put('two', into())],
    [3, (store) => store.write('three', three.map(into), { maxBytes: 3 * megabyte })],
    [3, (store) => Promise.all(three.map(() => store.read('one', 0, into())))],
    [2, (store) => Promise.all([store.read('one', 0, into()), store.put('two', into())])],
  ] satisfies [number, (store: Store) => Promise<unknown>][]) {
    expect(Math.abs((await secondsOf(run)) - seconds)).toBeLessThan(0.01);
  }
  expect((await inner.get('three', 3 * megabyte))?.equals(Buffer.alloc(3 * megabyte))).toBe(true);
});

test('what moves no payload takes none', async () => {
  const range = { key: 'one', offset: 0, length: megabyte };
  expect(await secondsOf((store) => store.write('copy', [range], { maxBytes: megabyte }))).toBe(0);
  expect(await secondsOf((store) => store.stat('one'))).toBe(0);
  expect(await secondsOf((store) => store.get('nothing', 1))).toBe(0);
  expect((await inner.get('copy', megabyte))?.equals(Buffer.alloc(megabyte, 1))).toBe(true);
});

test('an interrupt ends the waiting; what cleans up after it does not wait', async () => {
  const interrupt = new AbortController();
  const store = rateLimitedStore(inner, 100, { signal: interrupt.signal });
  await store.read('one', 0, new Uint8Array(megabyte));
  const waiting = [
    store.read('one', 0, new Uint8Array(megabyte)),
    store.put('late', Buffer.alloc(10)),
    store.write('late', [Buffer.alloc(10)], { maxBytes: 10 }),
    store.get('one', megabyte),
  ].map((one) => expect(one).rejects.toMatchObject({ code: 'interrupted' }));
  setTimeout(() => interrupt.abort(), 20);
  await Promise.all(waiting);
  await store.put('cleaned', Buffer.alloc(10));
  expect(await inner.stat('late')).toBeNull();
});
