// Turns: many together, or one alone, in the order in which they came.

import fc from 'fast-check';
import { expect, test } from 'vitest';
import { Turns } from '../../../src/image/local/turns.ts';

const soon = (): Promise<void> => new Promise((done) => setImmediate(done));

test('one that is alone runs beside nobody with the same key, those that share run together', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ alone: fc.boolean(), key: fc.nat(2), rests: fc.nat(3) })), async (asked) => {
      const turns = new Turns<number>();
      const running = [0, 0, 0];
      const alone = [false, false, false];
      const started: number[] = [];
      await Promise.all(
        asked.map((turn, index) => {
          const { key } = turn;
          return turns[turn.alone ? 'alone' : 'shared'](key, async () => {
            started.push(index);
            expect(alone[key]).toBe(false);
            expect(turn.alone && running[key] !== 0).toBe(false);
            running[key]! += 1;
            alone[key] = turn.alone;
            for (let rest = 0; rest < turn.rests; rest += 1) await soon();
            running[key]! -= 1;
            alone[key] = false;
          });
        }),
      );
      for (const key of [0, 1, 2]) {
        const order = started.filter((index) => asked[index]!.key === key);
        expect(order).toEqual(order.toSorted((a, b) => a - b));
      }
    }),
  );
});

test('readers run together, and a failure ends only its own turn', async () => {
  const turns = new Turns<string>();
  let together = 0;
  const both = () =>
    turns.shared('a', async () => {
      together += 1;
      while (together < 2) await soon();
    });
  await Promise.all([both(), both()]);
  await expect(turns.alone('a', () => Promise.reject(new Error('no')))).rejects.toThrow('no');
  expect(await turns.alone('a', async () => 'next')).toBe('next');
});
