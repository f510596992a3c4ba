import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { memorySink } from '../../src/bytes/sink.ts';
import { RbdeltaError } from '../../src/error.ts';
import { openFileToWrite } from '../../src/image/file.ts';
import type { Image, WritableImage } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { flatten, forget } from '../../src/ops/forget.ts';
import { withSteadyChain } from '../../src/ops/restore-again.ts';
import {
  dryRestore,
  type RestoreOptions,
  restoreInPlace,
  restoreOverFile,
  restoreOverImage,
  restoreToFile,
  restoreToImage,
  restoreToSink,
} from '../../src/ops/restore.ts';
import { type Chain, loadChain } from '../../src/repo/chain.ts';
import type { Store } from '../../src/store/port.ts';
import { noise, numbers } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const block = 65536;

let world: RepoWorld;
beforeEach(async () => {
  world = await makeRepoWorld();
});
afterEach(() => world.close());

const failureOf = async (work: Promise<unknown>): Promise<RbdeltaError> => {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof RbdeltaError) return error;
  throw error;
};

async function withChain<T>(image: string, point: string, use: (chain: Chain) => Promise<T>): Promise<T> {
  const chain = await loadChain(await world.reopen(), nameOf(image), point);
  try {
    return await use(chain);
  } finally {
    await chain.close();
  }
}

interface MadePoint {
  id: string;
  content: Buffer;
}

/** Points of an image `a` whose content, size and holes change at random. */
async function history(seed: number, count: number): Promise<MadePoint[]> {
  const next = numbers(seed);
  const upTo = (n: number): number => Math.floor(next() * n);
  const striping = upTo(2) === 1 ? { stripeUnit: 4096, stripeCount: 3 } : {};
  await (await world.image('a', 1 + upTo(20 * block), { order: 12 + upTo(8), ...striping })).close();
  const points: MadePoint[] = [];
  for (let i = 0; i < count; i++) {
    const image = await world.cluster.openToWrite(specOf('a'));
    let { size } = await image.info();
    for (let step = upTo(12); step > 0; step--) {
      const offset = upTo(size);
      const length = 1 + upTo(Math.min(size - offset, upTo(3) === 0 ? 5 * block : 9000));
      const kind = upTo(8);
      if (kind === 0) {
        size = 1 + upTo(24 * block);
        await image.resize(size);
      } else if (kind < 3) await image.writeZeroes(offset, length);
      else await image.write(offset, kind < 7 ? noise(upTo(1e9), length) : Buffer.alloc(length));
    }
    await image.close();
    const { point } = await world.backup('a', {
      full: i > 0 && upTo(5) === 0,
      trim: upTo(3) === 0,
      ...(upTo(2) === 0 && { segmentBytes: 100_000 }),
    });
    points.push({ id: point, content: await world.content(`a@rbdelta-${point}`).catch(() => world.content('a')) });
  }
  return points;
}

describe('a random history comes back byte for byte', () => {
  test.each([1, 2, 3, 4])('%i', async (seed) => {
    const points = await history(seed, 4);
    await (await world.image('over', 7 * block + 11)).close();
    for (const { id, content } of points) {
      await withChain('a', id, async (chain) => {
        await restoreToImage(chain, world.cluster, specOf(`new-${id}`), {});
        expect(content.equals(await world.content(`new-${id}`))).toBe(true);

        const sink = memorySink();
        await restoreToSink(chain, sink);
        expect(content.equals(sink.bytes())).toBe(true);

        const path = join(world.dir, id);
        await restoreToFile(chain, path);
        expect(content.equals(await readFile(path))).toBe(true);

        await restoreOverImage(chain, world.cluster, specOf('over'));
        expect(content.equals(await world.content('over'))).toBe(true);
        const again = await restoreOverImage(chain, world.cluster, specOf('over'));
        expect(again).toMatchObject({ frames: 0, writtenBytes: 0, zeroedBytes: 0, compared: { blocks: 0 } });

        const over = join(world.dir, 'over');
        await writeFile(over, noise(seed, 9 * block + 5));
        await restoreOverFile(chain, over);
        expect(content.equals(await readFile(over))).toBe(true);
      });
    }
  });
});

/** The image, with a list of what was written to it. */
async function watched(name: string): Promise<{ image: WritableImage; calls: [string, number, number][] }> {
  const image = await world.cluster.openToWrite(specOf(name));
  const calls: [string, number, number][] = [];
  const proxy = new Proxy(image, {
    get(target, key) {
      if (key === 'write')
        return (offset: number, data: Uint8Array) => {
          calls.push(['write', offset, data.length]);
          return target.write(offset, data);
        };
      if (key === 'writeZeroes')
        return (offset: number, length: number) => {
          calls.push(['zero', offset, length]);
          return target.writeZeroes(offset, length);
        };
      const value: unknown = Reflect.get(target, key);
      return typeof value === 'function' ? value.bind(target) : value;
    },
  });
  return { image: proxy, calls };
}

describe('in place', () => {
  test('only blocks that differ are written, and what is zero there becomes zero', async () => {
    const image = await world.image('a', 40 * block);
    await image.write(0, noise(1, 20 * block));
    const { point } = await world.backup('a');
    const before = await world.content('a');
    const changed = await world.cluster.openToWrite(specOf('a'));
    await changed.write(3 * block + 7, Buffer.from('x'));
    await changed.write(30 * block + 100, Buffer.from('y'));
    await changed.writeZeroes(10 * block, block);
    await changed.write(5 * block, before.subarray(5 * block, 6 * block));
    await changed.close();
    const { image: target, calls } = await watched('a');
    const done = await withChain('a', point, (chain) => restoreInPlace(chain, target, 'a'));
    await target.close();
    expect(before.equals(await world.content('a'))).toBe(true);
    expect(done.compared?.blocks).toBe(3);
    expect(done).toMatchObject({ writtenBytes: 2 * block, zeroedBytes: block });
    const touched = new Set(calls.map(([kind, offset]) => `${kind} ${Math.floor(offset / block)}`));
    expect([...touched].sort()).toEqual(['write 10', 'write 3', 'zero 30']);
  });

  test('a dry run reads, and tells what would be fetched', async () => {
    const image = await world.image('a', 40 * block);
    await image.write(0, noise(1, 40 * block));
    const { point } = await world.backup('a');
    const changed = await world.cluster.openToWrite(specOf('a'));
    await changed.write(0, Buffer.alloc(1));
    const plan = await withChain('a', point, (chain) => dryRestore(chain, changed));
    await changed.close();
    expect(plan).toMatchObject({ frames: 1, dataBytes: block, compared: { bytesRead: 40 * block, blocks: 1 } });
    const whole = await withChain('a', point, (chain) => dryRestore(chain, null));
    expect(whole).toMatchObject({ frames: 1, dataBytes: 40 * block, compared: null });
  });

  test('a failure says that the target is a mixture, and the same call goes on', async () => {
    const image = await world.image('a', 100 * block);
    await image.write(0, noise(1, 100 * block));
    const { point } = await world.backup('a', { segmentBytes: 1 << 20 });
    const before = await world.content('a');
    const path = join(world.dir, 'over');
    await writeFile(path, noise(2, 101 * block));
    const target = await openFileToWrite(path);
    let writes = 0;
    const failing: WritableImage = {
      ...target,
      write: (offset, data) =>
        ++writes > 1 ? Promise.reject(new RbdeltaError('io', 'no more')) : target.write(offset, data),
    };
    const error = await failureOf(withChain('a', point, (chain) => restoreInPlace(chain, failing, '"over"')));
    await target.close();
    expect(error).toMatchObject({ code: 'io', hint: expect.stringMatching(/goes on/) });
    expect(error.message).toMatch(/no more; "over" is partly restored: a mixture/);
    const again = await withChain('a', point, (chain) => restoreOverFile(chain, path));
    expect(before.equals(await readFile(path))).toBe(true);
    expect(again.compared?.blocks).toBeLessThan(100);
  });

  test('an image that somebody has open to write is busy', async () => {
    const image = await world.image('a', block);
    await image.write(0, noise(1, block));
    const { point } = await world.backup('a');
    const user = await world.cluster.openToWrite(specOf('a'));
    const error = await failureOf(
      withChain('a', point, (chain) => restoreOverImage(chain, world.cluster, specOf('a'))),
    );
    await user.close();
    expect(error.code).toBe('busy');
  });
});

describe('clients that have the image open', () => {
  test('without a lock they are refused as well, unless it is forced', async () => {
    const image = await world.image('a', block);
    await image.write(0, noise(1, block));
    const { point } = await world.backup('a');
    const content = await world.content('a');
    const head = await world.cluster.openToWrite(specOf('a'));
    await head.write(5, noise(2, 1000));
    await head.close();
    // An image without the exclusive-lock feature.
    const open = async (spec: ImageSpec): Promise<Image> => {
      const opened = await world.cluster.open(spec);
      const watchers = async () => [{ address: '10.0.0.7:0/12', client: 4, cookie: 9 }];
      return {
        ...opened,
        info: () => opened.info(),
        close: () => opened.close(),
        lock: async () => null,
        watchers,
      } as Image;
    };
    const cluster = { ...world.cluster, open };
    const restored = (options: RestoreOptions = {}) =>
      withChain('a', point, (chain) => restoreOverImage(chain, cluster, specOf('a'), options));
    const error = await failureOf(restored());
    expect([error.code, error.message, error.hint]).toEqual([
      'busy',
      expect.stringContaining('10.0.0.7:0/12'),
      expect.stringContaining('--force'),
    ]);
    expect(content.equals(await world.content('a'))).toBe(false);
    await restored({ force: true });
    expect(content.equals(await world.content('a'))).toBe(true);
  });
});

describe('a chain that is rewritten meanwhile', () => {
  const options = { version: '0.0.0', nowMs: () => Date.now() };

  /** A point that builds on another, and what becomes of it. */
  async function twoPoints() {
    const image = await world.image('a', 40 * block);
    await image.write(0, noise(1, 30 * block));
    const one = await world.backup('a');
    const head = await world.cluster.openToWrite(specOf('a'));
    await head.write(block, noise(2, 20 * block));
    await head.close();
    const { point } = await world.backup('a');
    const rewrite = async () => {
      await flatten(world.repository, nameOf('a'), point, options);
      await forget(world.repository, nameOf('a'), new Set([one.point]), options);
    };
    return { point, content: await world.content('a'), rewrite };
  }

  test('is no damage', async () => {
    const { point, rewrite } = await twoPoints();
    await (await world.image('over', 40 * block)).close();
    await withChain('a', point, async (chain) => {
      await rewrite();
      for (const work of [
        () => dryRestore(chain, null),
        () => restoreToImage(chain, world.cluster, specOf('b'), {}),
        () => restoreToFile(chain, join(world.dir, 'f')),
        () => restoreToSink(chain, memorySink()),
        () => restoreOverImage(chain, world.cluster, specOf('over')),
      ]) {
        const error = await failureOf(work());
        expect([error.code, error.message]).toEqual(['busy', expect.stringContaining('was rewritten meanwhile')]);
        expect(error.hint).toContain('run it again');
      }
    });
    expect(await world.cluster.list('rbd', '')).toEqual(['a', 'over']);
  });

  test('it is begun again in place, though something was changed', async () => {
    const { point, content, rewrite } = await twoPoints();
    // of another size: that changes before the first frame is fetched
    await (await world.image('over', 7 * block)).close();
    let rewriting: Promise<void> | null = null;
    const notices: string[] = [];
    const repository = await world.reopen();
    const store: Store = {
      ...repository.store,
      async read(key, offset, into) {
        if (key.includes('.rbdiff.zst')) await (rewriting ??= rewrite());
        return repository.store.read(key, offset, into);
      },
    };
    await withSteadyChain(
      { ...repository, store },
      { image: nameOf('a'), point },
      (chain) => restoreOverImage(chain, world.cluster, specOf('over')),
      (text) => notices.push(text),
    );
    expect(content.equals(await world.content('over'))).toBe(true);
    expect(notices).toEqual([expect.stringMatching(/a mixture of .*begun again/)]);
  });

  test('a new image and a new file are begun again', async () => {
    const { point, content, rewrite } = await twoPoints();
    const path = join(world.dir, 'f');
    const notices: string[] = [];
    let rewriting: Promise<void> | null = null;
    const repository = await world.reopen();
    await withSteadyChain(
      repository,
      { image: nameOf('a'), point },
      async (chain) => {
        await (rewriting ??= rewrite());
        await restoreToImage(chain, world.cluster, specOf('b'), {});
        await restoreToFile(chain, path);
      },
      (text) => notices.push(text),
    );
    expect(notices).toHaveLength(1);
    expect(content.equals(await world.content('b'))).toBe(true);
    expect(content.equals(await readFile(path))).toBe(true);
  });

  test('damage is not begun again', async () => {
    const { point } = await twoPoints();
    await writeFile(join(world.repoDir, 'rbd', 'a', point, '000000.rbdiff.zst'), 'no');
    let times = 0;
    const work = withSteadyChain(
      await world.reopen(),
      { image: nameOf('a'), point },
      (chain) => {
        times += 1;
        return restoreToImage(chain, world.cluster, specOf('b'), {});
      },
      () => {},
    );
    expect(['corrupt', 'io']).toContain((await failureOf(work)).code);
    expect(times).toBe(1);
  });
});

describe('a new image', () => {
  test('is as the old one was, with what was asked for instead', async () => {
    const image = await world.image('a', 5 * block, { order: 14, features: 5, stripeUnit: 4096, stripeCount: 2 });
    await world.cluster.setMetadata(specOf('a'), 'conf_rbd_cache', 'false');
    await image.write(0, noise(1, 100));
    const { point } = await world.backup('a');
    await withChain('a', point, async (chain) => {
      await restoreToImage(chain, world.cluster, specOf('b'), {});
      await restoreToImage(chain, world.cluster, specOf('c'), { order: 15, features: 1 });
    });
    const infoOf = async (name: string) => {
      const opened = await world.cluster.open(specOf(name));
      const info = await opened.info();
      await opened.close();
      return info;
    };
    expect(await infoOf('b')).toMatchObject({
      size: 5 * block,
      order: 14,
      features: 7,
      stripeUnit: 4096,
      stripeCount: 2,
    });
    expect(await infoOf('c')).toMatchObject({ order: 15, features: 3 });
    expect([...(await world.cluster.metadata(specOf('b')))]).toEqual([['conf_rbd_cache', 'false']]);
  });

  test('one that exists is refused and not touched; so is a file', async () => {
    const image = await world.image('a', block);
    await image.write(0, noise(1, block));
    const { point } = await world.backup('a');
    await writeFile(join(world.dir, 'f'), 'mine');
    const toImage = await failureOf(
      withChain('a', point, (chain) => restoreToImage(chain, world.cluster, specOf('a'), {})),
    );
    const toFile = await failureOf(withChain('a', point, (chain) => restoreToFile(chain, join(world.dir, 'f'))));
    expect([toImage.code, toFile.code]).toEqual(['exists', 'exists']);
    expect([toImage.hint, toFile.hint].every((hint) => hint?.includes('--in-place'))).toBe(true);
    expect(await readFile(join(world.dir, 'f'), 'utf8')).toBe('mine');
  });

  test('a file is sparse, and an interruption leaves nothing', async () => {
    const image = await world.image('a', 64 << 20);
    await image.write(63 << 20, noise(1, 100));
    const { point } = await world.backup('a');
    const path = join(world.dir, 'f');
    await withChain('a', point, (chain) => restoreToFile(chain, path));
    const { size, blocks } = await stat(path);
    expect(size).toBe(64 << 20);
    expect(blocks * 512).toBeLessThan(1 << 20);
    const signal = AbortSignal.abort(new RbdeltaError('interrupted', 'stop'));
    await withChain('a', point, async (chain) => {
      const other = join(world.dir, 'g');
      expect((await failureOf(restoreToFile(chain, other, { signal }))).code).toBe('interrupted');
      await expect(stat(other)).rejects.toThrow('ENOENT');
      const toImage = restoreToImage(chain, world.cluster, specOf('b'), {}, { signal });
      expect((await failureOf(toImage)).code).toBe('interrupted');
    });
    expect(await world.cluster.list('rbd', '')).toEqual(['a']);
  });
});

describe('damage', () => {
  test('every file, flipped, cut, gone or swapped: refused or harmless, never a wrong restore', async () => {
    const image = await world.image('a', 20 * block);
    await image.write(0, noise(1, 6 * block));
    await world.backup('a', { segmentBytes: 1 << 16 });
    const more = await world.cluster.openToWrite(specOf('a'));
    await more.write(block, noise(2, 2 * block));
    await more.resize(18 * block + 100);
    await more.close();
    const { point } = await world.backup('a', { segmentBytes: 1 << 16 });
    const content = await world.content('a');
    const files = await world.files();
    const tries = async (label: string, name: string, damage: (bytes: Buffer) => Buffer): Promise<void> => {
      const path = join(world.repoDir, name);
      const whole = await readFile(path);
      await writeFile(path, damage(whole));
      const sink = memorySink();
      const failure = await withChain('a', point, (chain) => restoreToSink(chain, sink)).then(
        () => null,
        (error: unknown) => error,
      );
      await writeFile(path, whole);
      if (failure !== null && !(failure instanceof RbdeltaError)) throw failure;
      const found = failure?.code ?? (content.equals(sink.bytes()) ? 'right' : 'wrong');
      expect(found, `${label} ${name}: ${failure?.message}`).toMatch(/^(right|corrupt|notFound|unsupported)$/);
    };
    const next = numbers(7);
    for (const name of files) {
      const length = (await stat(join(world.repoDir, name))).size;
      for (let i = 0; i < 5; i++) {
        const at = Math.floor(next() * length);
        const bit = 1 << Math.floor(next() * 8);
        await tries(`bit ${bit} of byte ${at}`, name, (bytes) => {
          const copy = Buffer.from(bytes);
          copy[at]! ^= bit;
          return copy;
        });
      }
      await tries('cut', name, (bytes) => bytes.subarray(0, bytes.length - 1));
      await tries('empty', name, () => Buffer.alloc(0));
    }
    const segments = files.filter((name) => name.endsWith('.zst'));
    expect(segments.length).toBeGreaterThan(2);
    for (const [a, b] of [
      [segments[0]!, segments[1]!],
      [segments[0]!, segments.at(-1)!],
    ] as const) {
      const other = await readFile(join(world.repoDir, b));
      await tries('swapped', a, () => other);
    }
    const [older, newer] = files.filter((name) => name.endsWith('manifest.json'));
    const other = await readFile(join(world.repoDir, older!));
    await tries('manifest of another point', newer!, () => other);
    const [, index] = files.filter((name) => name.endsWith('/index'));
    const otherIndex = await readFile(join(world.repoDir, files.find((name) => name.endsWith('/index'))!));
    await tries('index of another point', index!, () => otherIndex);
  });

  test('a damaged frame is named, with the place in the image and the points that do without it', async () => {
    const image = await world.image('a', 20 * block);
    await image.write(0, noise(1, 4 * block));
    const one = await world.backup('a');
    const more = await world.cluster.openToWrite(specOf('a'));
    await more.write(8 * block, noise(2, block));
    await more.close();
    const two = await world.backup('a');
    const path = join(world.repoDir, 'rbd', 'a', two.point, '000000.rbdiff.zst');
    const bytes = await readFile(path);
    bytes[bytes.length >> 1]! ^= 1;
    await writeFile(path, bytes);
    const error = await failureOf(
      withChain('a', two.point, (chain) => restoreToImage(chain, world.cluster, specOf('b'), {})),
    );
    expect(error.code).toBe('corrupt');
    expect(error.message).toContain(path);
    expect(error.message).toContain(`bytes ${8 * block} to ${9 * block}`);
    expect(error.hint).toContain(one.point);
    expect(await world.cluster.list('rbd', '')).toEqual(['a']);
  });
});
