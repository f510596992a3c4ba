import { expect, test } from 'vitest';
import { type Clock, rateLimitedSink, rateLimitedSource } from '../../src/bytes/rate.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';

interface TestClock extends Clock {
  ms: number;
}

/** Time passes only by sleeping, and a sleep takes `lateMs` longer than asked, as timers do. */
const testClock = (lateMs = 0): TestClock => ({
  ms: 1000,
  now() {
    return this.ms;
  },
  async sleep(ms) {
    this.ms += ms + lateMs;
  },
});

const megabyte = 1_000_000;

test('a sink takes the bytes that the rate allows, within 3 %, whatever the writes and the timers', async () => {
  for (const lateMs of [0, 15]) {
    for (const writeBytes of [1000, 40_000, 4_000_000]) {
      const clock = testClock(lateMs);
      const inner = memorySink();
      const sink = rateLimitedSink(inner, megabyte, clock);
      const chunk = Buffer.alloc(writeBytes, 7);
      for (let sent = 0; sent < 8 * megabyte; sent += writeBytes)
        await sink.write([chunk.subarray(0, 1), chunk.subarray(1)]);
      await sink.finish();
      expect((clock.ms - 1000) / 1000).toBeGreaterThan(8 * 0.97);
      expect((clock.ms - 1000) / 1000).toBeLessThan(8 * 1.03);
      expect(inner.bytes().equals(Buffer.alloc(8 * megabyte, 7))).toBe(true);
    }
  }
});

test('a source gives the bytes that the rate allows', async () => {
  const clock = testClock(2);
  const source = rateLimitedSource(bytesSource(Buffer.alloc(8 * megabyte)), megabyte, clock);
  const into = Buffer.alloc(4 << 20);
  let total = 0;
  for (let count = -1; count !== 0; total += count) count = await source.read(into);
  expect(total).toBe(8 * megabyte);
  expect((clock.ms - 1000) / 1000).toBeGreaterThan(8 * 0.97);
  expect((clock.ms - 1000) / 1000).toBeLessThan(8 * 1.03);
});

test('a pause is not made up for by a flood', async () => {
  const clock = testClock();
  const sink = rateLimitedSink(memorySink(), megabyte, clock);
  await sink.write([Buffer.alloc(1000)]);
  clock.ms += 60_000;
  const before = clock.ms;
  await sink.write([Buffer.alloc(megabyte)]);
  expect(clock.ms - before).toBeGreaterThan(800);
});

test('a rate of nothing is refused', () => {
  for (const rate of [0, -1, Number.NaN]) {
    expect(() => rateLimitedSink(memorySink(), rate)).toThrow(expect.objectContaining({ code: 'usage' }));
  }
});
