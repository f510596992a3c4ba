import fc from 'fast-check';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { ServerClock } from '../../src/store/s3-clock.ts';

const start = Date.UTC(2026, 0, 1) + 700;
let elapsedMs = 0;
beforeEach(() => {
  elapsedMs = 5000;
  vi.spyOn(performance, 'now').mockImplementation(() => elapsedMs);
});
afterEach(() => {
  vi.restoreAllMocks();
});

const dateOf = (ms: number): number => Math.floor(ms / 1000) * 1000;

test('before the first answer, and a minute after the last, it is not known', () => {
  const clock = new ServerClock();
  expect(clock.nowMs()).toBeNull();
  clock.heard(dateOf(start));
  expect(clock.nowMs()).toBe(dateOf(start));
  elapsedMs += 59_999;
  expect(clock.nowMs()).toBe(dateOf(start) + 59_999);
  elapsedMs += 1;
  expect(clock.nowMs()).toBeNull();
});

/** An answer: how long after the one before it was sent, and how long it was on its way; of both, how long asleep. */
interface Answer {
  waitMs: number;
  sleptMs: number;
  lateMs: number;
  sleptLateMs: number;
}
const seldom = (most: number): fc.Arbitrary<number> => fc.oneof(fc.constant(0), fc.nat(most));
const answers = fc.array(
  fc.record({
    waitMs: fc.nat(5000),
    sleptMs: seldom(1_000_000),
    lateMs: seldom(30_000),
    sleptLateMs: seldom(1_000_000),
  }),
);

/** What the clock told before and after each answer, and the truth then. */
function toldBy(given: readonly Answer[]): { told: number; truth: number }[] {
  const clock = new ServerClock();
  let truth = start;
  const told: { told: number; truth: number }[] = [];
  const look = (): void => {
    const nowMs = clock.nowMs();
    if (nowMs !== null) told.push({ told: nowMs, truth });
  };
  for (const { waitMs, sleptMs, lateMs, sleptLateMs } of given) {
    truth += waitMs + sleptMs;
    elapsedMs += waitMs;
    look();
    const date = dateOf(truth);
    truth += lateMs + sleptLateMs;
    elapsedMs += lateMs;
    clock.heard(date);
    look();
  }
  return told;
}

test('it is never ahead of the server, whatever is late or asleep', () => {
  fc.assert(
    fc.property(answers, (given) => {
      for (const { told, truth } of toldBy(given)) expect(told).toBeLessThanOrEqual(truth);
    }),
  );
});

test('while answers come at once and nobody sleeps, it is less than a second behind, and never goes back', () => {
  fc.assert(
    fc.property(answers, (given) => {
      const prompt = toldBy(given.map((answer) => ({ ...answer, sleptMs: 0, lateMs: 0, sleptLateMs: 0 })));
      for (const { told, truth } of prompt) expect(told).toBeGreaterThan(truth - 1000);
      const times = prompt.map(({ told }) => told);
      expect(times).toEqual(times.toSorted((a, b) => a - b));
    }),
  );
});

test('a clock of the server that was put back, or forward, is gone by from the next answer on', () => {
  const clock = new ServerClock();
  for (const shiftMs of [0, -600_000, -1001, 600_000, 1500]) {
    elapsedMs += 10;
    clock.heard(dateOf(start + shiftMs));
    expect(clock.nowMs()).toBe(dateOf(start + shiftMs));
  }
});
