// What every adapter of the Store port must do, whichever it is. Written against src/store/port.ts alone.

import fc from 'fast-check';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import type { CopiedRange, Store } from '../../src/store/port.ts';
import { noise } from '../kit/noise.ts';

export interface StoreUnderTest {
  /** With nothing in it. */
  store: Store;
  /** A writer that was killed while it wrote `key`; gives the bytes that it has left there. */
  leaveBehind(key: string): Promise<number>;
  /** Whether `put` with `create` is atomic in this store. */
  enforcesCreate: boolean;
  /** Closes the store and removes what was made. */
  dispose(): Promise<void>;
}

const MiB = 1 << 20;
const bytes = noise(1, 24 * MiB);

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of items) all.push(item);
  return all;
}

export const keysOf = async (store: Store, prefix = ''): Promise<string[]> =>
  (await collect(store.list(prefix))).map(({ key }) => key);

/** The whole of an object, by ranges. */
export async function contentOf(store: Store, key: string): Promise<Buffer> {
  const found = await store.stat(key);
  const into = Buffer.alloc(found?.bytes ?? 0);
  await store.read(key, 0, into);
  return into;
}

export function storeSuite(name: string, make: () => Promise<StoreUnderTest>): void {
  describe(`${name}, as any store`, () => {
    let under: StoreUnderTest;
    let store: Store;

    beforeAll(async () => {
      under = await make();
      store = under.store;
    });
    afterAll(() => under?.dispose());
    beforeEach(async () => {
      await store.remove(await keysOf(store));
    });

    const put = (key: string, text = key): Promise<void> => store.put(key, Buffer.from(text));
    const textOf = async (key: string): Promise<string | undefined> => (await store.get(key, 1000))?.toString();
    const isError = (code: string, text: string | RegExp = '') => ({
      name: 'RbdeltaError',
      code,
      message: expect.stringMatching(text),
    });
    const expectNothing = async (): Promise<void> => {
      expect(await keysOf(store)).toEqual([]);
      expect(await collect(store.leftovers(''))).toEqual([]);
    };

    describe('small objects', () => {
      test('what was put is got, whole, and may be replaced', async () => {
        for (const key of ['a', 'pool/image/catalog.json', 'p+n/%C3%A9-_.x/1']) {
          expect(await store.get(key, 1000)).toBeNull();
          await put(key, 'old');
          expect(await textOf(key)).toBe('old');
          await put(key, 'new one');
          expect(await textOf(key)).toBe('new one');
        }
      });

      test('an empty object is one', async () => {
        await put('empty', '');
        expect(await store.get('empty', 0)).toHaveLength(0);
        expect(await store.stat('empty')).toMatchObject({ key: 'empty', bytes: 0 });
      });

      test('what is larger than expected is refused and named', async () => {
        await store.put('large', bytes.subarray(0, 1001));
        expect(await store.get('large', 1001)).toHaveLength(1001);
        await expect(store.get('large', 1000)).rejects.toMatchObject(isError('tooLarge', /large.* 1001 bytes.* 1000/));
      });

      test('a folder is no object', async () => {
        await put('folder/object');
        expect(await store.get('folder', 1000)).toBeNull();
        expect(await store.stat('folder')).toBeNull();
        expect(await store.stat('folder/object/more')).toBeNull();
        await expect(store.read('folder', 0, Buffer.alloc(1))).rejects.toMatchObject(isError('notFound', /folder/));
      });

      test('with create, one that exists is refused and stays', async () => {
        await store.put('new', Buffer.from('first'), { create: true });
        await expect(store.put('new', Buffer.from('second'), { create: true })).rejects.toMatchObject(
          isError('exists', /new/),
        );
        expect(await textOf('new')).toBe('first');
        expect(await collect(store.leftovers(''))).toEqual([]);
      });

      test('of many that create at once one wins, where the store enforces it; it tells whether it does', async () => {
        expect(await store.enforcesCreate('')).toBe(under.enforcesCreate);
        expect(await store.enforcesCreate('some/folder/')).toBe(under.enforcesCreate);
        await expectNothing();
        const tries = Array.from({ length: 12 }, (_, i) =>
          store.put('one', Buffer.from(`${i}`), { create: true }).then(
            () => i,
            (error: unknown) => (error instanceof RbdeltaError ? error.code : error),
          ),
        );
        const results = await Promise.all(tries);
        const winners = results.filter((result) => typeof result === 'number');
        const allowed = under.enforcesCreate ? [Number(await textOf('one'))] : winners;
        expect(winners).toEqual(allowed);
        expect(results.filter((result) => result !== 'exists')).toEqual(winners);
      });

      test('readers see one whole object or the other while it is replaced', async () => {
        const both = [bytes.subarray(0, 50_000), bytes.subarray(100_000, 170_000)];
        await store.put('moving', both[0]!);
        let done = false;
        const writing = (async () => {
          for (let i = 0; i < 20; i++) await store.put('moving', both[i % 2]!);
          done = true;
        })();
        while (!done) {
          const got = await store.get('moving', MiB);
          expect(both.some((one) => got !== null && one.equals(got))).toBe(true);
        }
        await writing;
      });
    });

    describe('ranges', () => {
      test('are what was written there, many at once', async () => {
        await store.put('object', bytes.subarray(0, 300_000));
        const ranges = Array.from({ length: 30 }, (_, i) => ({ offset: i * 9000, into: Buffer.alloc(9000 + i) }));
        await Promise.all(ranges.map(({ offset, into }) => store.read('object', offset, into)));
        for (const { offset, into } of ranges) {
          expect(into.equals(bytes.subarray(offset, offset + into.length))).toBe(true);
        }
      });

      test('of nothing, or beyond the end, are refused and named', async () => {
        await store.put('short', bytes.subarray(0, 100));
        const read = (key: string, offset: number, length: number) => store.read(key, offset, Buffer.alloc(length));
        await expect(read('none', 0, 1)).rejects.toMatchObject(isError('notFound', /none/));
        await expect(read('no/folder', 0, 1)).rejects.toMatchObject(isError('notFound', /no\/folder/));
        for (const [offset, length] of [
          [0, 101],
          [99, 2],
          [100, 1],
          [5000, 10],
        ] as const) {
          await expect(read('short', offset, length)).rejects.toMatchObject(isError('corrupt', /short.*100 bytes/));
        }
        await read('short', 99, 1);
      });
    });

    describe('large objects', () => {
      const write = (pieces: Iterable<Uint8Array | CopiedRange>, key = 'written', maxBytes = 64 * MiB) =>
        store.write(key, pieces, { maxBytes });

      test('come from pieces whose memory is used again', async () => {
        for (const length of [0, 1, 5 * MiB, 8 * MiB, 8 * MiB + 1, 20 * MiB + 3]) {
          const piece = Buffer.alloc(MiB + 11);
          const pieces = function* (): Generator<Uint8Array> {
            for (let at = 0; at < length; at += piece.length) {
              const count = bytes.copy(piece, 0, at, Math.min(length, at + piece.length));
              yield piece.subarray(0, count);
              piece.fill(0);
            }
          };
          const before = await store.nowMs();
          const written = await store.write('a/written', pieces(), { maxBytes: length });
          expect(written).toMatchObject({ key: 'a/written', bytes: length });
          // A server tells whole seconds.
          expect(Math.abs(written.modifiedMs - before)).toBeLessThan(60_000);
          expect((await contentOf(store, 'a/written')).equals(bytes.subarray(0, length))).toBe(true);
        }
        expect(await collect(store.leftovers(''))).toEqual([]);
      });

      test('replace what is there', async () => {
        await put('written', 'old');
        await write([bytes.subarray(0, 9 * MiB)]);
        await write([Buffer.from('new')]);
        expect(await textOf('written')).toBe('new');
      });

      test('take over ranges of others, whatever stands between them', async () => {
        await store.write('from', [bytes], { maxBytes: bytes.length });
        const data = (start: number, length: number): Uint8Array => bytes.subarray(start, start + length);
        const range = (offset: number, length: number): CopiedRange => ({ key: 'from', offset, length });
        for (const [title, pieces] of Object.entries({
          whole: [range(0, bytes.length)],
          'nearly whole': [range(0, bytes.length - 1)],
          'from the middle': [range(5 * MiB, 6 * MiB)],
          short: [range(3, 100)],
          'short ones': [range(3, 100), range(0, 7), range(17 * MiB, MiB)],
          'data before': [data(0, 100), range(MiB, 20 * MiB)],
          'much data before': [data(0, 13 * MiB), range(MiB, 20 * MiB)],
          'data behind': [range(MiB, 20 * MiB), data(0, 100)],
          'data between': [range(0, 6 * MiB), data(0, 10), range(MiB, 7 * MiB), data(1, 9 * MiB), range(5, 5)],
          'just enough': [data(0, 10), range(0, 10 * MiB - 10), range(0, 5 * MiB)],
          'not enough': [data(0, 10), range(0, 10 * MiB - 11), range(0, 5 * MiB - 1)],
          'empty ones': [range(4, 0), data(0, 0), range(0, 9 * MiB), data(4, 0)],
        })) {
          const expected = Buffer.concat(
            pieces.map((piece) => (piece instanceof Uint8Array ? piece : data(piece.offset, piece.length))),
          );
          const { bytes: length } = await write(pieces);
          const same = (await contentOf(store, 'written')).equals(expected);
          expect({ title, length, same }).toEqual({ title, length: expected.length, same: true });
        }
        expect(await collect(store.leftovers(''))).toEqual([]);
      });

      test('fail for ranges that are not there, and leave nothing', async () => {
        await store.put('from', bytes.subarray(0, 6 * MiB));
        for (const [range, code] of [
          [{ key: 'none', offset: 0, length: 10 }, 'notFound'],
          [{ key: 'none', offset: 0, length: 10 * MiB }, 'notFound'],
          [{ key: 'from', offset: 6 * MiB - 10, length: 11 }, 'corrupt'],
          [{ key: 'from', offset: MiB, length: 6 * MiB }, 'corrupt'],
          [{ key: 'from', offset: 0, length: 7 * MiB }, 'corrupt'],
        ] as const) {
          await expect(write([range])).rejects.toMatchObject(isError(code, range.key));
          await expect(write([bytes.subarray(0, 9 * MiB), range])).rejects.toMatchObject(isError(code, range.key));
        }
        expect(await keysOf(store)).toEqual(['from']);
        expect(await collect(store.leftovers(''))).toEqual([]);
      });

      test('are not visible before they are whole; a failure of the pieces leaves what was there', async () => {
        for (const length of [100, 20 * MiB]) {
          for (const old of [null, 'old']) {
            await store.remove(['deep/er/written']);
            if (old !== null) await put('deep/er/written', old);
            const failing = async function* (): AsyncGenerator<Uint8Array> {
              yield bytes.subarray(0, length);
              expect((await store.get('deep/er/written', 1000))?.toString()).toBe(old ?? undefined);
              throw new RbdeltaError('timeout', 'the source is gone');
            };
            const written = store.write('deep/er/written', failing(), { maxBytes: 64 * MiB });
            await expect(written).rejects.toMatchObject({ code: 'timeout' });
            expect(await keysOf(store)).toEqual(old === null ? [] : ['deep/er/written']);
            expect(await collect(store.leftovers(''))).toEqual([]);
          }
        }
      });

      test('that are more than was said are refused', async () => {
        for (const length of [100, 12 * MiB]) {
          const written = write([bytes.subarray(0, length), Buffer.alloc(1)], 'written', length);
          await expect(written).rejects.toMatchObject(isError('tooLarge', /written/));
        }
        await expectNothing();
      });

      test('end with the signal, and leave nothing', async () => {
        for (const length of [100, 20 * MiB]) {
          const stop = new AbortController();
          const pieces = function* (): Generator<Uint8Array> {
            yield bytes.subarray(0, length);
            stop.abort();
            yield bytes.subarray(0, 10);
          };
          const written = store.write('stopped', pieces(), { maxBytes: 64 * MiB, signal: stop.signal });
          await expect(written).rejects.toMatchObject({ code: 'interrupted' });
          await expectNothing();
        }
      });

      test('several are written at the same time', async () => {
        const keys = ['a/1', 'a/2', 'b/1'];
        await Promise.all(keys.map((key, i) => write([bytes.subarray(i, 9 * MiB)], key)));
        for (const [i, key] of keys.entries()) {
          expect((await contentOf(store, key)).equals(bytes.subarray(i, 9 * MiB))).toBe(true);
        }
      });
    });

    describe('lists', () => {
      const keys = ['a', 'a-/x', 'a.b', 'a/-', 'a/b/1', 'a/b/2', 'a/b-c/1', 'a/b.c', 'a0', 'B/a', 'b/c', 'p+n/i%41/1'];

      test('are sorted by the bytes of the keys, below any prefix', async () => {
        const stored = keys.filter((key) => key !== 'a');
        for (const key of stored) await put(key);
        for (const prefix of ['', 'a', 'a/', 'a/b', 'a/b/', 'a/b/1', 'a/b/1/', 'p+', 'none', 'no/ne', 'a0/', 'B']) {
          const expected = stored
            .filter((key) => key.startsWith(prefix))
            .sort((a, b) => Buffer.from(a).compare(Buffer.from(b)));
          expect({ prefix, found: await keysOf(store, prefix) }).toEqual({ prefix, found: expected });
        }
        const [first] = await collect(store.list('a/b/2'));
        expect(first).toMatchObject({ key: 'a/b/2', bytes: 5 });
        expect(Math.abs(first!.modifiedMs - (await store.nowMs()))).toBeLessThan(60_000);
      });

      test('of folders are the names that go on, sorted as their keys', async () => {
        for (const key of keys) if (key !== 'a') await put(key);
        expect(await collect(store.folders(''))).toEqual(['B', 'a-', 'a', 'b', 'p+n']);
        expect(await collect(store.folders('a/'))).toEqual(['b-c', 'b']);
        expect(await collect(store.folders('a/b/'))).toEqual([]);
        expect(await collect(store.folders('none/'))).toEqual([]);
      });

      test('of any keys are those that were put and not removed', async () => {
        const part = fc.string({ unit: fc.constantFrom('a', 'b', '-', '.', '%', '0'), minLength: 1, maxLength: 3 });
        const key = fc
          .array(
            part.map((text) => `k${text}`),
            { minLength: 1, maxLength: 3 },
          )
          .map((parts) => `${parts.map((text) => `${text}d`).join('/')}f`);
        const sorted = (some: Iterable<string>): string[] => [...some].sort((a, b) => (a < b ? -1 : 1));
        await fc.assert(
          fc.asyncProperty(fc.uniqueArray(key, { maxLength: 8 }), fc.nat(8), async (all, kept) => {
            for (const each of all) await put(each);
            expect(await keysOf(store)).toEqual(sorted(all));
            expect(await store.remove(all.slice(kept))).toBe(all.slice(kept).length);
            expect(await keysOf(store)).toEqual(sorted(all.slice(0, kept)));
            const tops = new Set(
              all.slice(0, kept).flatMap((each) => (each.includes('/') ? [each.split('/')[0]!] : [])),
            );
            expect((await collect(store.folders(''))).sort()).toEqual([...tops].sort());
            await store.remove(all);
          }),
          { numRuns: 15 },
        );
      });
    });

    describe('removing', () => {
      test('takes what is there, and what is not is fine', async () => {
        for (const key of ['x/1', 'x/2', 'x/y/3', 'z']) await put(key);
        const asked = async function* (): AsyncGenerator<string> {
          yield* ['x/1', 'x/none', 'none', 'no/ne', 'x/y', 'x/y/3'];
        };
        expect(await store.remove(asked())).toBe(6);
        expect(await keysOf(store)).toEqual(['x/2', 'z']);
        expect(await collect(store.folders('x/'))).toEqual([]);
        expect(await store.remove([])).toBe(0);
      });

      test('takes thousands', async () => {
        const many = Array.from({ length: 1010 }, (_, i) => `many/${String(i).padStart(5, '0')}`);
        for (let at = 0; at < many.length; at += 50) await Promise.all(many.slice(at, at + 50).map((key) => put(key)));
        expect(await keysOf(store)).toEqual(many);
        expect(await collect(store.folders(''))).toEqual(['many']);
        expect(await store.remove(many)).toBe(1010);
        await expectNothing();
      });
    });

    describe('leftovers', () => {
      test('of killed writers are shown and can be removed; they are no objects', async () => {
        const size = await under.leaveBehind('p/i/one');
        await under.leaveBehind('p/j/two');
        expect(await keysOf(store)).toEqual([]);
        expect(await collect(store.folders(''))).toEqual([]);
        const found = await collect(store.leftovers(''));
        expect(found.map(({ key }) => key)).toEqual(['p/i/one', 'p/j/two']);
        expect(found[0]!.bytes).toBe(size);
        expect(Math.abs(found[0]!.modifiedMs - (await store.nowMs()))).toBeLessThan(60_000);
        expect((await collect(store.leftovers('p/i/'))).map(({ key }) => key)).toEqual(['p/i/one']);
        expect((await collect(store.leftovers('p/j/t'))).map(({ key }) => key)).toEqual(['p/j/two']);
        expect(await collect(store.leftovers('p/k/'))).toEqual([]);
        for (const leftover of found) await store.removeLeftover(leftover);
        await store.removeLeftover(found[0]!);
        await expectNothing();
      });
    });

    test('a key that could mean something else is refused by everything', async () => {
      for (const key of [
        '',
        '/',
        '/a',
        'a/',
        'a//b',
        '..',
        '../a',
        'a/../b',
        '.',
        'a/./b',
        '.hidden',
        'a b',
        'a\\b',
        'é',
        'a\0',
      ]) {
        const refused = isError('invalid');
        const copied = { key, offset: 0, length: 1 };
        await expect(store.get(key, 1)).rejects.toMatchObject(refused);
        await expect(store.read(key, 0, Buffer.alloc(1))).rejects.toMatchObject(refused);
        await expect(store.stat(key)).rejects.toMatchObject(refused);
        await expect(store.put(key, Buffer.alloc(1))).rejects.toMatchObject(refused);
        await expect(store.write(key, [], { maxBytes: 1 })).rejects.toMatchObject(refused);
        await expect(store.write('fine', [copied], { maxBytes: 1 })).rejects.toMatchObject(refused);
        await expect(store.remove([key])).rejects.toMatchObject(refused);
        if (key === '' || key === 'a/') continue;
        await expect((async () => collect(store.list(key)))()).rejects.toMatchObject(refused);
        await expect((async () => collect(store.folders(`${key}/`)))()).rejects.toMatchObject(refused);
      }
    });

    test('time goes on', async () => {
      const first = await store.nowMs();
      expect(first).toBeGreaterThan(Date.UTC(2020));
      expect(await store.nowMs()).toBeGreaterThanOrEqual(first);
    });
  });
}
