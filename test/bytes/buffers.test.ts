import { expect, test } from 'vitest';
import { BufferPool } from '../../src/bytes/buffers.ts';

test('buffers are used again, and no more than the count are made', async () => {
  const pool = new BufferPool(100, 2);
  const a = await pool.take();
  const b = await pool.take();
  expect(a).not.toBe(b);
  expect(a).toHaveLength(100);
  let got: Buffer | null = null;
  const waiting = Promise.resolve(pool.take()).then((buffer) => {
    got = buffer;
  });
  await Promise.resolve();
  expect(got).toBeNull();
  pool.give(a);
  await waiting;
  expect(got).toBe(a);
  pool.give(b);
  expect(await pool.take()).toBe(b);
});

test('who waits first is served first', async () => {
  const pool = new BufferPool(1, 1);
  const only = await pool.take();
  const order: number[] = [];
  const waiting = [1, 2, 3].map(async (number) => {
    const buffer = await pool.take();
    order.push(number);
    pool.give(buffer);
  });
  pool.give(only);
  await Promise.all(waiting);
  expect(order).toEqual([1, 2, 3]);
});

test('a buffer of another size is a mistake of the caller', () => {
  expect(() => new BufferPool(10, 1).give(Buffer.alloc(9))).toThrow(RangeError);
});
