import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { encodeProofs } from '../../src/format/repository.ts';
import { flatten, forget } from '../../src/ops/forget.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { showPoint } from '../../src/ops/repo-show.ts';
import { type VerifiedPoint, Verifier, type VerifyOptions } from '../../src/ops/repo-verify.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { findPoint } from '../../src/repo/find-point.ts';
import { loadProofs } from '../../src/repo/proofs.ts';
import type { Store } from '../../src/store/port.ts';
import { noise, numbers } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const block = 65536;
const image = nameOf('a');

let world: RepoWorld;
beforeEach(async () => {
  world = await makeRepoWorld();
});
afterEach(() => world.close());

async function verify(
  point: string,
  level: VerifyOptions['level'],
  options: Partial<VerifyOptions> = {},
): Promise<VerifiedPoint> {
  const repository = await world.reopen();
  const verifier = new Verifier(repository, {
    level,
    version: '0.0.0',
    rehearse: { directory: world.dir, env: process.env },
    openSource: ({ snapshot }) => world.cluster.open(specOf(`a@${snapshot.name}`)),
    ...options,
  });
  try {
    return await verifier.verify({ image, point, points: await readPoints(repository, image, () => {}) });
  } finally {
    await verifier.close();
  }
}

const failureOf = async (work: Promise<unknown>): Promise<RbdeltaError> => {
  const error = await work.then(
    () => new Error('it succeeded'),
    (reason: unknown) => reason,
  );
  if (error instanceof RbdeltaError) return error;
  throw error;
};

/** A full, an increment, a new full; the ids. */
async function threePoints(): Promise<[string, string, string]> {
  const opened = await world.image('a', 30 * block);
  await opened.write(0, noise(1, 5 * block));
  const one = await world.backup('a');
  const more = await world.cluster.openToWrite(specOf('a'));
  await more.write(2 * block + 5, noise(2, block));
  await more.writeZeroes(0, block);
  await more.close();
  const two = await world.backup('a');
  const three = await world.backup('a', { full: true });
  return [one.point, two.point, three.point];
}

const fileOf = (point: string, name: string): string => join(world.repoDir, 'rbd', 'a', point, name);

async function flip(path: string, at?: number): Promise<void> {
  const bytes = await readFile(path);
  bytes[at ?? bytes.length >> 1]! ^= 0x10;
  await writeFile(path, bytes);
}

describe('a whole repository', () => {
  test.each(['audit', 'scrub', 'source', 'rehearse'] as const)(
    '%s finds it good, and writes that down',
    async (level) => {
      const [, two, three] = await threePoints();
      const point = level === 'source' ? three : two;
      const found = await verify(point, level);
      expect(found).toMatchObject({ point, level, ok: true, percent: 100, damages: [], affected: [] });
      const { proofs, scrubbed } = await loadProofs(world.repository, image, point);
      expect(proofs).toMatchObject([{ level, ok: true, percent: 100 }]);
      expect(scrubbed).toBeNull();
      const entry = (await readPoints(world.repository, image)).find(({ id }) => id === point);
      expect(Object.keys(entry?.proofs ?? {})).toEqual([level]);
      await expect(readdir(join(world.repoDir, 'rbd', 'a', 'lock'))).rejects.toThrow('ENOENT');
      expect((await readdir(world.dir)).sort()).toEqual(['pool', 'repo']);
    },
  );

  test('proofs of other levels stay', async () => {
    const [one] = await threePoints();
    await verify(one, 'audit');
    await verify(one, 'scrub');
    expect((await loadProofs(world.repository, image, one)).proofs.map(({ level }) => level)).toEqual([
      'audit',
      'scrub',
    ]);
  });
});

describe('damage', () => {
  test('of a frame: the audit does not see it, the scrub does, and tells which points need it', async () => {
    const [one, two, three] = await threePoints();
    await flip(fileOf(one, '000000.rbdiff.zst'));
    expect(await verify(two, 'audit')).toMatchObject({ ok: true });
    const found = await verify(two, 'scrub');
    expect(found).toMatchObject({
      ok: false,
      damages: [{ point: one, message: expect.stringContaining(fileOf(one, '000000.rbdiff.zst')) }],
      affected: [one, two],
      unaffected: [three],
    });
    expect((await loadProofs(world.repository, image, one)).proofs).toMatchObject([{ level: 'scrub', ok: false }]);
    const entries = await readPoints(world.repository, image);
    expect(entries.map(({ proofs }) => proofs)).toMatchObject([
      { failed: ['scrub'] },
      { scrub: expect.any(String) },
      {},
    ]);
    expect(await verify(two, 'rehearse')).toMatchObject({ ok: false, affected: [one, two], unaffected: [three] });
  });

  test.each([
    ['index', 'flipped'],
    ['index', 'gone'],
    ['000000.rbdiff.zst', 'gone'],
    ['000000.rbdiff.zst', 'cut'],
    ['manifest.json', 'gone'],
    ['manifest.json', 'cut'],
  ])('of %s of the full, which is %s: the audit finds it', async (name, what) => {
    const [one, two, three] = await threePoints();
    const path = fileOf(one, name);
    if (what === 'flipped') await flip(path);
    else if (what === 'gone') await rm(path);
    else await writeFile(path, (await readFile(path)).subarray(1));
    expect(await verify(two, 'audit')).toMatchObject({
      ok: false,
      damages: [{ point: one }],
      affected: expect.arrayContaining([two]),
      unaffected: expect.arrayContaining([three]),
    });
  });

  test('whatever bit is flipped in whatever file of a chain: a scrub finds it', async () => {
    const [one, two] = await threePoints();
    const next = numbers(3);
    for (const point of [one, two]) {
      for (const name of ['000000.rbdiff.zst', 'index']) {
        const path = fileOf(point, name);
        const whole = await readFile(path);
        const anywhere = Array.from({ length: 6 }, () => Math.floor(next() * whole.length));
        // the first and the last bytes are those of the header frame and the end frame, or of the magic numbers
        for (const at of [4, whole.length - 4, ...anywhere]) {
          await flip(path, at);
          const found = await verify(two, 'scrub');
          expect(found.ok, `${point} ${name} ${at}`).toBe(false);
          await writeFile(path, whole);
        }
      }
    }
  });

  test('two segments that changed places, and a point in the place of another', async () => {
    const opened = await world.image('a', 30 * block);
    await opened.write(0, noise(1, 30 * block));
    const { point } = await world.backup('a', { segmentBytes: block });
    const files = (await readdir(join(world.repoDir, 'rbd', 'a', point))).filter((name) => name.endsWith('.zst'));
    const full = await world.backup('a', { full: true });
    const [from, to] = [fileOf(point, files[0]!), fileOf(point, files.at(-1)!)];
    await rename(from, `${from}.x`);
    await rename(to, from);
    await rename(`${from}.x`, to);
    expect((await verify(point, 'audit')).ok && (await verify(point, 'scrub')).ok).toBe(false);
    await rm(join(world.repoDir, 'rbd', 'a', point), { recursive: true });
    await rename(join(world.repoDir, 'rbd', 'a', full.point), join(world.repoDir, 'rbd', 'a', point));
    expect(await verify(point, 'audit')).toMatchObject({ ok: false, what: expect.stringContaining(full.point) });
  });
});

describe('scrub by shares', () => {
  test('goes on where the last one ended, also after an interruption; then it is a proof', async () => {
    const opened = await world.image('a', 64 << 20, { order: 22 });
    const bytes = noise(1, 4 << 20);
    for (let i = 0; i < 16; i++) await opened.write(i * bytes.length, bytes);
    const { point } = await world.backup('a');
    const state = async () => loadProofs(world.repository, image, point);
    const frames = 16;
    const first = await verify(point, 'scrub', { percent: 10 });
    expect(first).toMatchObject({ ok: true, percent: 12, what: expect.stringContaining('2 of the 16 frames') });
    const { proofs, scrubbed } = await state();
    expect(proofs).toEqual([]);
    expect(scrubbed).toMatchObject({ frames: 2 });
    const stop = new AbortController();
    const interrupted = verify(point, 'scrub', {
      signal: stop.signal,
      onProgress: () => stop.abort(new RbdeltaError('interrupted', 'stop')),
    });
    expect((await failureOf(interrupted)).code).toBe('interrupted');
    const after = (await state()).scrubbed;
    expect(after?.frames).toBeGreaterThan(scrubbed?.frames ?? 0);
    expect(after?.since).toBe(scrubbed?.since);
    for (let i = 0; i < frames; i++) {
      await verify(point, 'scrub', { percent: 30 });
      if ((await state()).proofs.length > 0) break;
    }
    expect(await state()).toMatchObject({ proofs: [{ level: 'scrub', ok: true, percent: 100 }], scrubbed: null });
    const anew =
      '5 of the 16 frames of 1 point are what they should be; 1 point had been read to the end, and is read anew';
    expect((await verify(point, 'scrub', { percent: 30 })).what).toBe(anew);
  });
});

describe('damage that a scrub by shares has found', () => {
  /** Sixteen frames; the first of them is damaged. */
  async function damaged(): Promise<{ point: string; path: string }> {
    const opened = await world.image('a', 64 << 20, { order: 22 });
    const bytes = noise(1, 4 << 20);
    for (let i = 0; i < 16; i++) await opened.write(i * bytes.length, bytes);
    const { point } = await world.backup('a');
    const path = fileOf(point, '000000.rbdiff.zst');
    await flip(path, 1000);
    return { point, path };
  }
  const scrub = (point: string) => verify(point, 'scrub', { percent: 50 });
  const state = (point: string) => loadProofs(world.repository, image, point);

  test('is known until a scrub that began anew has read all, and found none', async () => {
    const { point, path } = await damaged();
    expect(await scrub(point)).toMatchObject({ ok: false, percent: 50, what: expect.stringContaining('1 frame') });
    const half = await state(point);
    expect(half).toMatchObject({ proofs: [{ ok: false, percent: 50 }], scrubbed: { frames: 8, damaged: 1 } });
    expect(half.scrubbed?.first).toContain(path);
    // the other half is good
    const second = await scrub(point);
    expect(second).toMatchObject({ ok: false, percent: 100, damages: [{ point }], affected: [point] });
    expect(second.what).toContain('an earlier part');
    expect(await state(point)).toMatchObject({ proofs: [{ ok: false, percent: 100 }], scrubbed: null });
    await flip(path, 1000);
    expect(await scrub(point)).toMatchObject({ ok: false, what: expect.stringContaining('no scrub of all of it') });
    expect(await state(point)).toMatchObject({ proofs: [{ ok: false }], scrubbed: { frames: 8, damaged: 0 } });
    expect(await scrub(point)).toMatchObject({ ok: true, percent: 100, damages: [] });
    expect(await state(point)).toMatchObject({ proofs: [{ ok: true, percent: 100 }], scrubbed: null });
    expect(await scrub(point)).toMatchObject({ ok: true });
  });
});

describe('points that are written anew', () => {
  const options = { version: '0.0.0', nowMs: () => Date.now() };

  test('a scrub begins anew, and nothing that was proved of the old files stays; other points keep what is theirs', async () => {
    const opened = await world.image('a', 64 << 20, { order: 22 });
    for (let i = 0; i < 8; i++) await opened.write(i << 22, noise(i, 4 << 20));
    const one = await world.backup('a');
    const head = async (i: number) => {
      const more = await world.cluster.openToWrite(specOf('a'));
      for (let j = 0; j < 4; j++) await more.write((i + j) << 22, noise(i, 4 << 20));
      await more.close();
    };
    await head(6);
    const two = await world.backup('a');
    await head(2);
    const three = await world.backup('a');
    for (const level of ['audit', 'rehearse'] as const) {
      await verify(two.point, level);
      await verify(three.point, level);
    }
    await verify(three.point, 'scrub');
    await verify(three.point, 'scrub', { percent: 25 });
    const scrubbed = (point: string) => loadProofs(world.repository, image, point);
    const before = await scrubbed(one.point);
    expect((await scrubbed(two.point)).scrubbed).toMatchObject({ frames: 1 });
    await flatten(await world.reopen(), image, two.point, options);
    expect(await scrubbed(one.point)).toEqual(before);
    expect(await scrubbed(two.point)).toEqual({ format: 1, proofs: [], scrubbed: null });
    expect(await scrubbed(three.point)).toMatchObject({ proofs: [{ level: 'scrub' }], scrubbed: { frames: 1 } });
    const entries = await readPoints(world.repository, image);
    expect(entries.map(({ proofs }) => Object.keys(proofs))).toEqual([['scrub'], [], ['scrub']]);
    expect((await checkRepository(await world.reopen())).findings).toEqual([]);
    await verify(two.point, 'scrub', { percent: 50 });
    const { manifest } = await showPoint(
      await world.reopen(),
      await findPoint(world.repository, two.point, { nowMs: 0 }),
    );
    expect((await scrubbed(two.point)).scrubbed).toMatchObject({
      frames: 5,
      directorySha256: manifest.index.directorySha256,
    });
  });

  test('what is known of a point outlives a rewrite that did not come about', async () => {
    const [one, two] = await threePoints();
    await flip(fileOf(one, '000000.rbdiff.zst'));
    await verify(two, 'audit');
    expect(await verify(two, 'scrub')).toMatchObject({ ok: false });
    const proofsOf = () => Promise.all([one, two].map((point) => loadProofs(world.repository, image, point)));
    const before = await proofsOf();
    expect((await failureOf(flatten(await world.reopen(), image, two, options))).code).toBe('corrupt');
    // the next writer finishes what was begun
    expect(await flatten(await world.reopen(), image, one, options)).toBeNull();
    expect(await proofsOf()).toEqual(before);
  });

  test('a scrub of an archive that is no longer there tells nothing of the one that is', async () => {
    const [one] = await threePoints();
    const old = { percent: 50, frames: 1, since: new Date().toISOString(), directorySha256: '00'.repeat(32) };
    const file = { format: 1 as const, proofs: [], scrubbed: { ...old, damaged: 1, first: 'it was bad' } };
    await writeFile(fileOf(one, 'proofs.json'), encodeProofs(file));
    expect(await verify(one, 'scrub')).toMatchObject({ ok: true, percent: 100 });
  });

  test.each(['audit', 'scrub', 'rehearse'] as const)('%s while a point below is flattened', async (level) => {
    const [one, two] = await threePoints();
    const repository = await world.reopen();
    // The first file that is read of the old archive is gone by then.
    let flattening: Promise<unknown> | null = null;
    const store: Store = {
      ...repository.store,
      async read(key, offset, into) {
        if (key.includes(two)) await (flattening ??= flatten(world.repository, image, two, options));
        return repository.store.read(key, offset, into);
      },
      list: (prefix) =>
        (async function* () {
          if (prefix.includes(two)) await (flattening ??= flatten(world.repository, image, two, options));
          yield* repository.store.list(prefix);
        })(),
    };
    const notices: string[] = [];
    const verifier = new Verifier(
      { ...repository, store },
      {
        level,
        version: '0.0.0',
        rehearse: { directory: world.dir, env: process.env },
        onNotice: (text) => notices.push(text),
      },
    );
    const points = await readPoints(repository, image);
    const found = await verifier.verify({ image, point: two, points });
    await verifier.close();
    expect(flattening).not.toBeNull();
    expect(found).toMatchObject({ ok: true, damages: [], affected: [] });
    expect(notices).toEqual([expect.stringContaining('rewritten meanwhile')]);
    expect((await loadProofs(repository, image, two)).proofs).toMatchObject([{ level, ok: true }]);
    expect((await readPoints(repository, image)).map(({ base }) => base)).toEqual([null, null, null]);
    expect(one).not.toBe(two);
  });

  test('a point that was removed meanwhile is not damaged', async () => {
    const [one, two] = await threePoints();
    const points = await readPoints(world.repository, image);
    const repository = await world.reopen();
    await forget(repository, image, new Set([one]), options);
    const verifier = new Verifier(repository, { level: 'audit', version: '0.0.0' });
    const gone = await failureOf(verifier.verify({ image, point: one, points }));
    expect([gone.code, gone.message]).toEqual(['notFound', expect.stringContaining('removed meanwhile')]);
    expect(await verifier.verify({ image, point: two, points })).toMatchObject({ ok: true });
    await verifier.close();
  });
});

describe('source', () => {
  test('an image that is not what the point has', async () => {
    const [, , three] = await threePoints();
    // Somebody wrote below the snapshot: here, another image with the same name stands in for it.
    const other = await world.image('b', 30 * block);
    await other.write(0, (await world.content('a')).subarray(0, 6 * block));
    await other.write(5 * block, noise(9, 3));
    await other.close();
    const { snapshot = '' } = (await readPoints(world.repository, image)).at(-1) ?? {};
    const real = await world.cluster.open(specOf(`a@${snapshot}`));
    const info = await real.info();
    await real.close();
    const openSource = async () => {
      const opened = await world.cluster.open(specOf('b'));
      return { ...opened, info: async () => info, ...withMethods(opened) };
    };
    const found = await verify(three, 'source', { openSource });
    expect(found).toMatchObject({ ok: false, what: expect.stringContaining(`1 block of`), affected: [three] });
    expect(found.what).toContain(`byte ${5 * block}`);
  });

  test('a snapshot that is gone, or was made anew, is no damage: it cannot be compared', async () => {
    const [one, , three] = await threePoints();
    expect((await failureOf(verify(one, 'source'))).code).toBe('notFound');
    const head = await world.cluster.openToWrite(specOf('a'));
    const { snapshots } = await head.info();
    const name = snapshots.at(-1)!.name;
    await head.removeSnapshot(name);
    await head.createSnapshot(name);
    await head.close();
    expect((await failureOf(verify(three, 'source'))).code).toBe('diverged');
    expect((await loadProofs(world.repository, image, three)).proofs).toEqual([]);
  });
});

const withMethods = (opened: Awaited<ReturnType<RepoWorld['cluster']['open']>>) => ({
  objectMap: opened.objectMap.bind(opened),
  changedExtents: opened.changedExtents.bind(opened),
  read: opened.read.bind(opened),
  parent: opened.parent.bind(opened),
  close: opened.close.bind(opened),
});

describe('rehearse', () => {
  test('the command decides, and finds the image in RBDELTA_IMAGE', async () => {
    const [one, , three] = await threePoints();
    const options = (command: string) => ({ rehearse: { directory: world.dir, env: process.env, command } });
    const size = 30 * block;
    expect(await verify(three, 'rehearse', options(`test $(stat -c %s "$RBDELTA_IMAGE") = ${size}`))).toMatchObject({
      ok: true,
    });
    expect(await verify(one, 'rehearse', options('echo this is bad; exit 3'))).toMatchObject({
      ok: false,
      what: 'the command ended with status 3: this is bad',
    });
    await expect(verify(three, 'rehearse', options('nosuchcommand'))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringMatching(
        /^the command could not be run .status 127: .*nosuchcommand.*; it was restored, and every/,
      ),
    });
    await expect(verify(three, 'rehearse', options('kill $$'))).rejects.toMatchObject({
      code: 'io',
      message: expect.stringMatching(/^the command was ended by SIGTERM; it was restored/),
    });
    expect((await loadProofs(world.repository, image, three)).proofs).toMatchObject([{ level: 'rehearse', ok: true }]);
    expect((await readdir(world.dir)).sort()).toEqual(['pool', 'repo']);
  });

  const hasMkfs = (() => {
    try {
      execFileSync('sh', [
        '-c',
        'PATH=$PATH:/sbin:/usr/sbin; command -v mkfs.ext4 && command -v e2fsck && command -v blkid',
      ]);
      return true;
    } catch {
      return false;
    }
  })();

  test.skipIf(!hasMkfs)('a file system is checked by what checks it', async () => {
    const made = join(world.dir, 'fs');
    await mkdir(made);
    const raw = join(made, 'raw');
    await writeFile(raw, Buffer.alloc(8 << 20));
    execFileSync('sh', ['-c', `PATH=$PATH:/sbin:/usr/sbin; mkfs.ext4 -q -F ${raw}`]);
    const opened = await world.image('a', 8 << 20);
    await opened.write(0, await readFile(raw));
    const good = await world.backup('a');
    const found = await verify(good.point, 'rehearse');
    expect(found).toMatchObject({ ok: true, what: expect.stringContaining('e2fsck (ext4) found it good') });
    const bytes = await readFile(raw);
    bytes.fill(0xff, 4096, 20_000);
    const head = await world.cluster.openToWrite(specOf('a'));
    await head.write(0, bytes);
    await head.close();
    const bad = await world.backup('a');
    expect(await verify(bad.point, 'rehearse')).toMatchObject({ ok: false, what: expect.stringContaining('e2fsck') });
  });
});
