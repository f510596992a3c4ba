import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { WritableImage } from '../../src/image/port.ts';
import { type ImportDiffOptions, importDiff } from '../../src/ops/import-diff.ts';
import { ByteReader } from '../../src/bytes/reader.ts';
import { chunkSource } from '../../src/bytes/source.ts';
import {
  e,
  f,
  failing,
  failureOf,
  makeWorld,
  p,
  readerOf,
  runImport,
  s,
  snapshotsOf,
  specOf,
  stateOf,
  t,
  textOf,
  v1,
  w,
  type World,
  z,
} from './import-world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.close());

const size = 3 * 4096;
const increment = v1(
  f('a'),
  t('b'),
  p(true),
  s(size + 5000),
  w(0, 'bbbb'),
  z(4000, 200),
  w(5000, Buffer.concat([Buffer.from('c'), Buffer.alloc(4096 * 2), Buffer.from('d')])),
  z(size + 1000, 10),
  w(size + 2000, 'eeee'),
  e,
);
const shrink = v1(f('a'), t('b'), s(5000), w(0, 'bbbb'), z(4000, 200), e);
const full = v1(t('b'), p(true), s(size), w(0, 'bbbb'), z(4000, 200), w(5000, 'cccc'), e);

const makeBase = async (name: string, hasBase: boolean): Promise<WritableImage> => {
  const image = await world.image(name, size, hasBase ? Buffer.alloc(size, 'x') : '');
  if (hasBase) await image.createSnapshot('a');
  return image;
};

describe.each([
  ['an increment that grows', increment, true],
  ['an increment that shrinks', shrink, true],
  ['a full', full, false],
] as const)('%s', (_, stream, hasBase) => {
  it.each([
    ['before it takes effect', false],
    ['after it took effect', true],
  ])('whichever call fails %s, the image is as it was, and a re-run completes', async (_when, late) => {
    const image = await makeBase('target', hasBase);
    const before = await stateOf(image);
    let failures = 0;
    for (let n = 0; ; n += 1) {
      const faulty = failing(image, n, { late });
      const outcome = await runImport(world, 'target', faulty, stream).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) break;
      failures += 1;
      expect(outcome).toMatchObject({ code: late ? 'io' : 'noSpace' });
      expect(await stateOf(image), `call ${n}`).toBe(before);
    }
    expect(failures).toBeGreaterThan(4);
    expect(await snapshotsOf(image)).toContain('b');
    if ((await image.info()).snapshots.at(-1)?.protection === 'protected') await image.unprotectSnapshot('b');
  });

  it('interrupted at whichever call, the image is as it was', async () => {
    const image = await makeBase('target', hasBase);
    const before = await stateOf(image);
    for (let n = 0; ; n += 1) {
      const abort = new AbortController();
      let calls = 0;
      const watched = failing(image, -1, {
        onCall: () => {
          if (calls === n) abort.abort();
          calls += 1;
        },
      });
      const outcome = await runImport(world, 'target', watched, stream, { signal: abort.signal }).then(
        () => null,
        (error: unknown) => error,
      );
      if (outcome === null) break;
      expect(outcome).toMatchObject({ code: 'interrupted' });
      expect(await stateOf(image), `call ${n}`).toBe(before);
    }
    expect(await snapshotsOf(image)).toContain('b');
    if ((await image.info()).snapshots.at(-1)?.protection === 'protected') await image.unprotectSnapshot('b');
  });
});

describe('an import that waits', () => {
  it('for a source that gives nothing is interrupted at once, and the image is as it was', async () => {
    const image = await makeBase('target', true);
    const before = await stateOf(image);
    const abort = new AbortController();
    async function* stuck() {
      yield increment.subarray(0, 100);
      abort.abort();
      await new Promise(() => {});
    }
    const reader = new ByteReader(chunkSource(stuck()));
    const failure = await failureOf(
      importDiff(image, (snap) => world.openAt('target')(snap), reader, { signal: abort.signal }),
    );
    expect(failure.code).toBe('interrupted');
    expect(await stateOf(image)).toBe(before);
  });
});

describe('when bringing the image back fails too', () => {
  const broken = (image: WritableImage, rollback: () => Promise<void>): WritableImage => ({
    ...image,
    flush: async () => {
      throw new Error('should not get here');
    },
    rollback,
  });

  it('the first failure stays the first, and the sentence says how the image is and what to do', async () => {
    const image = await makeBase('target', true);
    const faulty = broken(image, async () => {
      throw new Error('the cluster is gone');
    });
    const failure = await failureOf(runImport(world, 'target', faulty, increment.subarray(0, -1)));
    expect(failure.code).toBe('corrupt');
    expect(failure.message).toMatch(
      /^the stream ends .* bringing the image back failed too \(the cluster is gone\): it may hold a part of the diff$/,
    );
    expect(failure.hint).toContain('--rollback');
    await runImport(world, 'target', image, increment, { rollback: true });
    await image.unprotectSnapshot('b');
  });

  type Calls = Partial<WritableImage>;
  const gone = async (): Promise<never> => {
    throw new Error('gone');
  };
  const refuse = (code: 'io' | 'exists') => async (): Promise<never> => {
    throw new RbdeltaError(code, 'refused', { hint: 'a hint that is of no use here' });
  };
  const plain = v1(f('a'), t('b'), s(size + 5000), w(0, 'bbbb'), e);
  /** Fails with what `calls` do in place of the image; `says` and `hint` are about what is left. */
  const left = async (stream: Buffer, calls: (image: WritableImage) => Calls, says: string, hint: string) => {
    const hasBase = !stream.equals(full);
    const image = await makeBase(`target${(count += 1)}`, hasBase);
    const name = (await image.info()).name;
    const faulty = { ...image, ...calls(image) };
    const failure = await failureOf(runImport(world, name, faulty, stream, { stallMs: 300 }));
    expect(failure.message).toBe(`refused; bringing the image back failed too (${says}`);
    expect(failure.hint).toBe(hint);
    const again = (options: ImportDiffOptions) => runImport(world, name, image, stream, options);
    return { image, again };
  };
  let count = 0;
  const unprotect = async (image: WritableImage): Promise<void> => {
    for (const { name, protection } of (await image.info()).snapshots)
      if (protection === 'protected') await image.unprotectSnapshot(name);
  };

  it('at the end snapshot: all is applied, and what is missing of the snapshot is said', async () => {
    const late = (image: WritableImage, call: 'createSnapshot' | 'protectSnapshot' | 'removeSnapshot') => ({
      [call]: async (snap: string) => {
        await image[call](snap);
        throw new RbdeltaError('io', 'refused');
      },
    });
    const skip = 'this diff is done: --skip-existing passes over it';
    const whole = 'gone): all of the diff is applied, and the snapshot "b" exists';

    const made = await left(
      plain,
      (image) => ({ ...late(image, 'createSnapshot'), removeSnapshot: gone }),
      whole,
      skip,
    );
    expect(await made.again({ skipExisting: true })).toMatchObject({ diffs: [{ skipped: true }] });
    const b = await world.openAt((await made.image.info()).name)('b');
    expect(await textOf(b)).toMatch(/^bbbb/);
    await b.close();

    const bare = await left(
      increment,
      () => ({ protectSnapshot: refuse('io'), removeSnapshot: gone }),
      `${whole}, but it is not protected`,
      'protect it (snap protect): the image is what it should be',
    );
    await bare.image.protectSnapshot('b');
    await unprotect(bare.image);

    const whole2 = await left(
      full,
      (image) => ({ ...late(image, 'protectSnapshot'), unprotectSnapshot: gone }),
      `${whole} and is protected`,
      skip,
    );
    await whole2.again({ skipExisting: true });
    await unprotect(whole2.image);

    const removed = await left(
      plain,
      (image) => ({ ...late(image, 'createSnapshot'), ...late(image, 'removeSnapshot') }),
      'refused): all of the diff is applied, but the snapshot "b" does not exist',
      'create it: the image is what it should be',
    );
    expect(await textOf(removed.image)).toMatch(/^bbbb/);

    let blind = false;
    await left(
      increment,
      (image) => ({
        createSnapshot: async () => {
          blind = true;
          await refuse('io')();
        },
        info: () => (blind ? gone() : image.info()),
      }),
      'gone): all of the diff is applied; whether the snapshot "b" exists is unknown (gone)',
      'create and protect it, unless it is there (snap ls): the image is what it should be',
    );
  });

  it('at the rollback or after it: the sentence says so, and the hint works', async () => {
    const again = 'import again with --rollback';
    const half = await left(
      plain,
      () => ({ createSnapshot: refuse('io'), rollback: gone }),
      'gone): it may hold a part of the diff',
      again,
    );
    await half.again({ rollback: true });

    const theirs = await left(
      plain,
      (image) => ({
        createSnapshot: async (snap) => {
          await image.createSnapshot(snap);
          await refuse('exists')();
        },
        rollback: gone,
      }),
      `gone): it may hold a part of the diff, and the snapshot "b" is somebody else's`,
      `remove or rename that snapshot, then ${again}`,
    );
    await theirs.image.removeSnapshot('b');
    await theirs.again({ rollback: true });

    let flushes = 0;
    const flush = (image: WritableImage) => async () => ((flushes += 1) % 2 === 1 ? image.flush() : gone());
    const back = await left(
      plain,
      (image) => ({ createSnapshot: refuse('io'), flush: flush(image) }),
      'gone): it is at its start snapshot "a" again, but that may not survive a crash',
      again,
    );
    expect(await textOf(back.image)).toBe('x'.repeat(size));
    await back.again({ rollback: true });
    const empty = await left(
      full,
      (image) => ({ createSnapshot: refuse('io'), flush: flush(image) }),
      'gone): it is empty again, but that may not survive a crash',
      'import again with --overwrite',
    );
    await empty.again({ overwrite: true });
    await unprotect(empty.image);
  });

  it('of a full: the sentence says whether anything is left', async () => {
    const held = await left(
      full,
      () => ({ createSnapshot: refuse('io'), resize: gone }),
      'gone): it may hold a part of the diff',
      'import again with --overwrite',
    );
    await held.again({ overwrite: true });
    expect(await snapshotsOf(held.image)).toEqual(['b']);
    await unprotect(held.image);
    const cut = await left(
      full,
      (image) => ({
        createSnapshot: refuse('io'),
        resize: (bytes) => (bytes === 0 ? image.resize(0) : gone()),
      }),
      `gone): it is empty, but has 0 bytes where it had ${size}`,
      'import again',
    );
    await cut.again({});
    expect(await snapshotsOf(cut.image)).toEqual(['b']);
    await unprotect(cut.image);
  });

  it('what is given up does not go on: a snapshot that is removed late is not followed by a rollback', async () => {
    let remove = (): void => {};
    let calls = 0;
    await left(
      plain,
      (image) => ({
        createSnapshot: async (snap) => {
          await image.createSnapshot(snap);
          await refuse('io')();
        },
        removeSnapshot: () => new Promise((resolve) => (remove = resolve)),
        rollback: async () => void (calls += 1),
      }),
      'no answer for 0 s): all of the diff is applied, and the snapshot "b" exists',
      'this diff is done: --skip-existing passes over it',
    );
    remove();
    await new Promise((resolve) => setTimeout(resolve, 20));
    expect(calls).toBe(0);
  });

  it('no answer is waited for only so long', async () => {
    const image = await makeBase('target', true);
    const faulty = broken(image, () => new Promise(() => {}));
    const failure = await failureOf(runImport(world, 'target', faulty, increment.subarray(0, -1), { stallMs: 20 }));
    expect(failure.code).toBe('corrupt');
    expect(failure.message).toContain('no answer for');
  });
});

describe('when only the end snapshot fails, and nothing can be undone', () => {
  const applied = v1(f('a'), t('b'), p(true), s(size), w(0, 'bbbb'), e);
  const replaced = v1(t('b'), p(true), s(size), w(0, 'bbbb'), e);

  it.each([
    ['createSnapshot', false, ', but the snapshot "b" does not exist', 'create and protect it'],
    ['protectSnapshot', false, ', and the snapshot "b" exists, but it is not protected', 'snap protect'],
    ['protectSnapshot', true, ', and the snapshot "b" exists and is protected', undefined],
  ] as const)('%s (after it took effect: %s): the sentence says what is there', async (call, late, state, hint) => {
    for (const [name, stream, options] of [
      ['forced', applied, { force: true }],
      ['overwritten', replaced, { overwrite: true }],
    ] as const) {
      const image = await makeBase(name, true);
      const faulty: WritableImage = {
        ...image,
        [call]: async (snap: string) => {
          if (late) await image[call](snap);
          throw new Error('no answer');
        },
      };
      const failure: unknown = await runImport(world, name, faulty, stream, options).catch((error: unknown) => error);
      expect(failure).toMatchObject({ message: `no answer; all of the diff is applied to the image${state}` });
      expect(await textOf(image)).toMatch(/^bbbb/);
      if (late) await image.unprotectSnapshot('b');
      const refusing: WritableImage = {
        ...image,
        [call]: async () => {
          throw new RbdeltaError('io', 'refused');
        },
      };
      if (late) continue;
      if (call === 'protectSnapshot') await image.removeSnapshot('b');
      const refused = await failureOf(runImport(world, name, refusing, stream, options));
      expect(refused.message).toBe(`refused; all of the diff is applied to the image${state}`);
      expect(refused.hint).toContain(hint);
    }
  });
});

describe('a process that is killed', () => {
  it.each([
    ['an increment', 'rollback', increment, true],
    ['a full', 'overwrite', full, false],
  ] as const)('inside %s leaves what the next run refuses, and --%s puts right', async (_, option, stream, hasBase) => {
    const dir = await mkdtemp(join(tmpdir(), 'rbdelta-killed-'));
    let pool = await openLocalPool(dir);
    await pool.createPool('rbd');
    await pool.create(specOf('target'), { size, order: 12 });
    if (hasBase) {
      const image = await pool.openToWrite(specOf('target'));
      await image.write(0, Buffer.alloc(size, 'x'));
      await image.createSnapshot('a');
      await image.close();
    }
    await pool.close();

    const child = spawn(process.execPath, ['--import', 'tsx', 'test/ops/import-killed.ts', dir], {
      stdio: ['pipe', 'inherit', 'inherit'],
    });
    child.stdin.end(stream);
    const [, signal] = await once(child, 'exit');
    expect(signal).toBe('SIGKILL');

    pool = await openLocalPool(dir);
    const image = await pool.openToWrite(specOf('target'));
    const again = (options: { rollback?: boolean; overwrite?: boolean }) =>
      importDiff(image, (snap) => pool.open(specOf('target', snap)), readerOf(stream), options);
    const failure = await failureOf(again({}));
    expect(failure.code).toBe('diverged');
    expect(failure.hint).toContain(`--${option}`);
    await again({ [option]: true });
    expect(await snapshotsOf(image)).toContain('b');
    expect((await textOf(image)).startsWith('bbbb')).toBe(true);
    await image.close();
    await pool.close();
    await rm(dir, { recursive: true });
  });
});
