// repo list, show, stats, cat, pin and tag, on real backups in a directory.

import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { catBetween, catPoint } from '../../src/ops/repo-cat.ts';
import { flatten } from '../../src/ops/forget.ts';
import { importDiff } from '../../src/ops/import-diff.ts';
import { lastProof, listPoints } from '../../src/ops/repo-list.ts';
import { markPoint } from '../../src/ops/repo-mark.ts';
import { showPoint } from '../../src/ops/repo-show.ts';
import { repositoryStats } from '../../src/ops/repo-stats.ts';
import { catalogKey, readPoints } from '../../src/repo/catalog.ts';
import { findImages, findPoint } from '../../src/repo/find-point.ts';
import { takeLock } from '../../src/repo/lock.ts';
import type { Repository } from '../../src/repo/repository.ts';
import { noise } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const size = 3 << 20;
/** Tomorrow. */
const nowMs = Date.now() + 86_400_000;
let world: RepoWorld;
let ids: string[];
let states: Buffer[];

/** Three points of vm, one of db. */
beforeAll(async () => {
  world = await makeRepoWorld();
  ids = [];
  states = [];
  const state = Buffer.alloc(size);
  const changes: [number, Buffer][][] = [
    [[0, noise(1, 1 << 20)]],
    [
      [512 << 10, noise(2, 70_000)],
      [2 << 20, noise(3, 4096)],
    ],
    [
      [0, Buffer.alloc(65_536)],
      [(2 << 20) + 8192, noise(4, 4096)],
    ],
  ];
  let image = await world.image('vm', size);
  for (const [i, writes] of changes.entries()) {
    if (i > 0) image = await world.cluster.openToWrite(specOf('vm'));
    for (const [offset, bytes] of writes) {
      bytes.copy(state, offset);
      await image.write(offset, bytes);
    }
    await image.close();
    states.push(Buffer.from(state));
    const tags = i === 1 ? ['blue'] : [];
    ids.push((await world.backup('vm', { tags })).point);
  }
  const db = await world.image('db', 1 << 20);
  await db.write(0, noise(5, 100_000));
  await world.backup('db');
});

afterAll(() => world.close());

/** The repository, with the keys of what is asked of its store. */
function watched(): { repository: Repository; asked: string[] } {
  const asked: string[] = [];
  const { store } = world.repository;
  const get: typeof store.get = (key, most) => {
    asked.push(key);
    return store.get(key, most);
  };
  return { repository: { ...world.repository, store: { ...store, get } }, asked };
}

const listed = async (options: Parameters<typeof listPoints>[1] = {}, repository = world.repository) => {
  const images = [];
  for await (const one of listPoints(repository, options)) images.push(one);
  return images;
};

describe('repo list', () => {
  test('tells of all points, oldest first, without reading a manifest', async () => {
    const { repository, asked } = watched();
    const images = await listed({}, repository);
    expect(images.map(({ image }) => image.image)).toEqual(['db', 'vm']);
    expect(images[1]?.points.map(({ id }) => id)).toEqual(ids);
    expect(images[1]?.points.map(({ base }) => base)).toEqual([null, ids[0], ids[1]]);
    expect(asked.sort()).toEqual([catalogKey(nameOf('db')), catalogKey(nameOf('vm'))]);
  });

  test('takes names, patterns and tags', async () => {
    for (const name of ['vm', 'rbd/vm', 'v?', 'rbd/v*', 'r*/vm']) {
      expect((await listed({ name })).map(({ image }) => image.image)).toEqual(['vm']);
    }
    await expect(listed({ name: 'other/vm' })).rejects.toMatchObject({ code: 'notFound' });
    const tagged = await listed({ tags: ['blue'] });
    expect(tagged.flatMap(({ points }) => points.map(({ id }) => id))).toEqual([ids[1]]);
  });

  test('a manifest that cannot be read hides no other point', async () => {
    const path = join(world.repoDir, 'rbd/vm', ids[1]!, 'manifest.json');
    const catalog = join(world.repoDir, catalogKey(nameOf('vm')));
    const [manifest, entries] = [await readFile(path), await readFile(catalog)];
    await writeFile(path, '{');
    await writeFile(catalog, '{');
    try {
      const [vm] = await listed({ name: 'vm' });
      expect(vm?.points.map(({ id }) => id)).toEqual([ids[0], ids[2]]);
      expect(vm?.damaged).toMatchObject([{ point: ids[1], error: { code: 'corrupt' } }]);
    } finally {
      await writeFile(path, manifest);
      await writeFile(catalog, entries);
    }
  });
});

describe('finding points', () => {
  const find = async (text: string): Promise<string> => (await findPoint(world.repository, text, { nowMs })).entry.id;

  test('by id, time, age and snapshot', async () => {
    expect(await find(ids[1]!)).toBe(ids[1]);
    expect(await find('vm@latest')).toBe(ids[2]);
    expect(await find(`rbd/vm@${ids[0]}`)).toBe(ids[0]);
    const { created } = (await readPoints(world.repository, nameOf('vm')))[2]!;
    expect(await find(`vm@${created.slice(0, 10)}`)).toBe(ids[2]);
    expect(await find('vm@1h')).toBe(ids[2]);
    expect(await find(`vm@${(await readPoints(world.repository, nameOf('vm')))[1]?.snapshot}`)).toBe(ids[1]);
    await expect(find('20200101T000000Z-000000')).rejects.toMatchObject({ code: 'notFound' });
    await expect(find('nosuch@latest')).rejects.toMatchObject({ code: 'notFound' });
    await expect(findImages(world.repository, 'a/b/c/d')).rejects.toMatchObject({ code: 'notFound' });
  });
});

describe('repo show', () => {
  test('tells the chain down to the full', async () => {
    const found = await findPoint(world.repository, ids[2]!, { nowMs });
    const shown = await showPoint(world.repository, found);
    expect(shown.chain.map(({ id }) => id)).toEqual(ids.toReversed());
    expect(shown.chain.map(({ full }) => full)).toEqual([false, false, true]);
    expect(shown.broken).toBe(null);
    expect(shown.manifest.image.size).toBe(size);
  });
});

describe('repo stats', () => {
  test('counts every file once', async () => {
    const { images, total } = await repositoryStats(world.repository);
    expect(total.points).toBe(4);
    expect(total.fulls).toBe(2);
    expect(total.segments).toBe(4);
    expect(total.logicalBytes).toBe(size + (1 << 20));
    expect(images.map(({ points }) => points)).toEqual([1, 3]);
    expect(total.storedBytes).toBeGreaterThan(total.segmentBytes);
    expect(total.dataBytes).toBeGreaterThanOrEqual((1 << 20) + 70_000);
  });

  test('folders of others are no images', async () => {
    const before = await repositoryStats(world.repository);
    await mkdir(join(world.repoDir, 'some/folder'), { recursive: true });
    onTestFinished(() => rm(join(world.repoDir, 'some'), { recursive: true }));
    await writeFile(join(world.repoDir, 'some/folder/file'), 'x');
    expect(await repositoryStats(world.repository)).toEqual(before);
  });
});

describe('repo cat', () => {
  test('gives the bytes that the segments decompress to', async () => {
    for (const id of ids) {
      const sink = memorySink();
      const found = await findPoint(world.repository, id, { nowMs });
      const { streamBytes } = await catPoint(world.repository, found, async () => sink);
      const command = `cat ${join(world.repoDir, 'rbd/vm', id)}/*.rbdiff.zst | zstd -dc`;
      const options = { encoding: 'buffer', maxBuffer: 1 << 26 } as const;
      const { stdout } = await promisify(execFile)('/bin/sh', ['-c', command], options);
      expect(sink.bytes().equals(stdout)).toBe(true);
      expect(streamBytes).toBe(stdout.length);
    }
  });

  test('--full and --from make the states', async () => {
    const found = await findPoint(world.repository, ids[2]!, { nowMs });
    const snapshots = found.points.map(({ snapshot }) => snapshot);
    const [full, first, rest] = [memorySink(), memorySink(), memorySink()];
    await catBetween(world.repository, found, null, async () => full);
    await catPoint(world.repository, { ...found, entry: found.points[0]! }, async () => first);
    await catBetween(world.repository, found, ids[0]!, async () => rest);
    for (const [name, streams] of [
      ['full', [full]],
      ['chain', [first, rest]],
    ] as const) {
      await (await world.image(name, size)).close();
      for (const stream of streams) {
        const target = await world.cluster.openToWrite(specOf(name));
        const openAtSnap = (snap: string) => world.cluster.open({ ...specOf(name), snap });
        await importDiff(target, openAtSnap, new ByteReader(bytesSource(stream.bytes())));
        await target.close();
      }
      expect((await world.content(`${name}@${snapshots[2]}`)).equals(states[2]!)).toBe(true);
    }
    expect((await world.content(`chain@${snapshots[0]}`)).equals(states[0]!)).toBe(true);
  });

  test('a start that the point does not build on is refused, and a damaged frame leaves nothing', async () => {
    const found = await findPoint(world.repository, ids[0]!, { nowMs });
    await expect(catBetween(world.repository, found, ids[1]!, async () => memorySink())).rejects.toMatchObject({
      code: 'notFound',
    });
    const path = join(world.repoDir, 'rbd/vm', ids[0]!, '000000.rbdiff.zst');
    const bytes = await readFile(path);
    const flipped = Buffer.from(bytes);
    flipped[bytes.length >> 1]! ^= 1;
    await writeFile(path, flipped);
    const sink = memorySink();
    await expect(catPoint(world.repository, found, async () => sink)).rejects.toMatchObject({ code: 'corrupt' });
    expect(sink.bytes().length).toBe(0);
    await writeFile(path, bytes);
  });
});

describe('repo cat of a point that is rewritten meanwhile', () => {
  const about = { version: '0.0.0', nowMs: () => nowMs };

  /** The last of two points of a new image; `rewrite` is called once, before the first file that `before` names is read. */
  async function rewritten(name: string, before: RegExp) {
    const image = await world.image(name, size);
    await image.write(0, noise(11, 1 << 20));
    await world.backup(name);
    const again = await world.cluster.openToWrite(specOf(name));
    await again.write(1 << 20, noise(12, 70_000));
    await again.close();
    const { point, snapshot } = await world.backup(name);
    let rewriting: Promise<unknown> | null = null;
    const repository = await world.reopen();
    const { store } = repository;
    const read: typeof store.read = async (key, offset, into) => {
      if (before.test(key)) await (rewriting ??= flatten(world.repository, nameOf(name), point, about));
      return store.read(key, offset, into);
    };
    const found = await findPoint(repository, point, { nowMs });
    return { repository: { ...repository, store: { ...store, read } }, found, snapshot };
  }

  /** The state that a diff from nothing makes. */
  async function stateOf(name: string, stream: Buffer, snapshot: string): Promise<Buffer> {
    await (await world.image(name, size)).close();
    const target = await world.cluster.openToWrite(specOf(name));
    const openAtSnap = (snap: string) => world.cluster.open({ ...specOf(name), snap });
    await importDiff(target, openAtSnap, new ByteReader(bytesSource(stream)));
    await target.close();
    return world.content(`${name}@${snapshot}`);
  }

  test.each(['catPoint', 'catBetween'])('%s begins again where nothing is written yet', async (which) => {
    const { repository, found, snapshot } = await rewritten(`early-${which}`, /index$/);
    const sink = memorySink();
    const notices: string[] = [];
    const options = { onNotice: (text: string) => notices.push(text) };
    if (which === 'catPoint') await catPoint(repository, found, async () => sink, options);
    else await catBetween(repository, found, null, async () => sink, options);
    const state = await stateOf(`of-early-${which}`, sink.bytes(), snapshot);
    expect(state.equals(await world.content(`early-${which}@${snapshot}`))).toBe(true);
    expect(notices).toEqual([expect.stringMatching(/was rewritten meanwhile.*begun again/)]);
  });

  test.each(['catPoint', 'catBetween'])('%s says so where something may be written', async (which) => {
    const { repository, found } = await rewritten(`late-${which}`, /rbdiff\.zst$/);
    const sink = async () => memorySink();
    const work = which === 'catPoint' ? catPoint(repository, found, sink) : catBetween(repository, found, null, sink);
    await expect(work).rejects.toMatchObject({
      code: 'busy',
      message: expect.stringContaining('was rewritten meanwhile'),
      hint: expect.stringContaining('run it again'),
    });
  });
});

describe('repo pin, repo tag', () => {
  const mark = (marks: Parameters<typeof markPoint>[3], options = {}) =>
    markPoint(world.repository, nameOf('vm'), ids[1]!, marks, { version: 'test', operation: 'tag', ...options });
  const entry = async () => (await readPoints(world.repository, nameOf('vm')))[1]!;

  test('change manifest and catalog', async () => {
    expect(await mark({ pinned: true, addTags: ['red', 'blue'] }, { dryRun: true })).toMatchObject({ changed: true });
    expect((await entry()).pinned).toBe(false);
    expect(await mark({ pinned: true, addTags: ['red', 'blue'] })).toEqual({
      changed: true,
      pinned: true,
      tags: ['blue', 'red'],
    });
    const { manifest } = await showPoint(world.repository, await findPoint(world.repository, ids[1]!, { nowMs }));
    expect(manifest).toMatchObject({ pinned: true, tags: ['blue', 'red'] });
    expect(await entry()).toMatchObject({ pinned: true, tags: ['blue', 'red'] });
    expect(await mark({ pinned: true })).toMatchObject({ changed: false });
    expect(await mark({ pinned: false, removeTags: ['red'] })).toMatchObject({ pinned: false, tags: ['blue'] });
    await expect(mark({ addTags: ['x'.repeat(129)] })).rejects.toMatchObject({ code: 'invalid' });
  });

  test('respect the lock of another', async () => {
    const lock = await takeLock(world.repository, nameOf('vm'), { operation: 'backup' });
    await expect(mark({ pinned: true })).rejects.toMatchObject({ code: 'busy' });
    await lock.release();
    expect(lastProof(await entry())).toBe(null);
  });
});
