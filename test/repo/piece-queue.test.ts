import { setImmediate as tick } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { PieceQueue } from '../../src/repo/piece-queue.ts';

const isSettled = async (promise: Promise<unknown>): Promise<boolean> => {
  let settled = false;
  promise.then(
    () => (settled = true),
    () => (settled = true),
  );
  for (let i = 0; i < 5; i++) await tick();
  return settled;
};

test('pieces come out in order, and the end after the last', async () => {
  const queue = new PieceQueue();
  const pieces = [Buffer.from('a'), { key: 'k', offset: 1, length: 2 ** 40 }, Buffer.from('b')];
  const read = (async () => {
    const got = [];
    for await (const piece of queue) got.push(piece);
    return got;
  })();
  for (const piece of pieces) await queue.push(piece);
  expect(await isSettled(read)).toBe(false);
  queue.end();
  expect(await read).toEqual(pieces);
});

test('who pushes waits while much is waiting, until the piece is done with', async () => {
  const queue = new PieceQueue();
  const mebibytes = (count: number): Buffer => Buffer.alloc(count << 20);
  await queue.push(mebibytes(5));
  const second = queue.push(mebibytes(4));
  expect(await isSettled(second)).toBe(false);
  const reader = queue[Symbol.asyncIterator]();
  await reader.next();
  expect(await isSettled(second)).toBe(false);
  await reader.next();
  await second;
  await reader.return(undefined);
});

test('a failure reaches who waits on either side, and whoever comes later', async () => {
  const failure = new Error('no');
  const queue = new PieceQueue();
  await queue.push(Buffer.alloc(8 << 20));
  const waiting = queue.push(Buffer.alloc(1));
  waiting.catch(() => {});
  queue.fail(failure);
  queue.fail(new Error('later'));
  await expect(waiting).rejects.toBe(failure);
  await expect(queue.push(Buffer.alloc(1))).rejects.toBe(failure);
  await expect(queue[Symbol.asyncIterator]().next()).rejects.toBe(failure);

  const empty = new PieceQueue();
  const next = empty[Symbol.asyncIterator]().next();
  next.catch(() => {});
  expect(await isSettled(next)).toBe(false);
  empty.fail(failure);
  await expect(next).rejects.toBe(failure);
});
