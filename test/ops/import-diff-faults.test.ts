import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { WritableImage } from '../../src/image/port.ts';
import { importDiff } from '../../src/ops/import-diff.ts';
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
      /^the stream ends .* bringing the image back failed too \(the cluster is gone\): it holds a part of the diff$/,
    );
    expect(failure.hint).toContain('--rollback');
    await runImport(world, 'target', image, increment, { rollback: true });
    await image.unprotectSnapshot('b');
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
      expect(failure).toMatchObject({ message: `no answer; all of the diff is applied${state}` });
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
      expect(refused.message).toBe(`refused; all of the diff is applied${state}`);
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
