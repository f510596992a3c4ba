import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { WritableImage } from '../../src/image/port.ts';
import { copyPoints, planCopy } from '../../src/ops/copy-points.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { initRepository, type Repository } from '../../src/repo/repository.ts';
import type { CatalogEntry } from '../../src/format/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { stateOf } from '../kit/chain-state.ts';
import { noise, numbers } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';

const KiB = 1024;
const options = { version: 'test', nowMs: () => Date.now() };
const image = nameOf('vm');
let world: RepoWorld;
let folder: string;
const states = new Map<string, Buffer>();

const changed = async (use: (head: WritableImage) => Promise<void>): Promise<void> => {
  const head = await world.cluster.openToWrite(specOf('vm'));
  try {
    await use(head);
  } finally {
    await head.close();
  }
  const { point } = await world.backup('vm');
  states.set(point, await world.content('vm'));
};

beforeEach(async () => {
  world = await makeRepoWorld();
  folder = await mkdtemp(join(tmpdir(), 'rbdelta-copy-'));
  states.clear();
  const next = numbers(7);
  await world.cluster.create(specOf('vm'), { size: 1024 * KiB, order: 17 });
  await changed((head) => head.write(0, noise(1, 600 * KiB)));
  await changed(async (head) => {
    await head.write(100 * KiB, noise(2, 30 * KiB));
    await head.writeZeroes(300 * KiB, 200 * KiB);
  });
  await changed((head) => head.resize(350 * KiB + 512));
  await changed(async (head) => {
    await head.resize(2048 * KiB);
    for (let i = 0; i < 20; i++) await head.write(Math.floor(next() * 4000) * 512, noise(i, 512));
  });
});
afterEach(async () => {
  await world.close();
  await rm(folder, { recursive: true, force: true });
});

const other = async (key?: Uint8Array): Promise<Repository> =>
  initRepository(await openDirectoryStore(join(folder, 'other'), { create: true }), Date.now(), key);

const idsIn = async (repository: Repository): Promise<string[]> =>
  (await readPoints(repository, image)).map(({ id }) => id);

async function expectCopied(target: Repository, ids: readonly string[]): Promise<void> {
  expect(await idsIn(target)).toEqual(ids);
  for (const id of ids) {
    const { content, fingerprint, proven } = await stateOf(target, image, id);
    expect({ id, isEqual: content.equals(states.get(id)!), proven }).toEqual({
      id,
      isEqual: true,
      proven: fingerprint,
    });
  }
}

describe.each(['the same key', 'another key'])('to a repository with %s', (which) => {
  const target = (): Promise<Repository> => other(which === 'the same key' ? world.repository.digestKey : undefined);

  test('all points, once', async () => {
    const to = await target();
    const ids = [...states.keys()];
    const copied = await copyPoints(world.repository, to, image, new Set(ids), options);
    expect(copied.map(({ base }) => base)).toEqual([null, ids[0], ids[1], ids[2]]);
    await expectCopied(to, ids);
    expect(await copyPoints(world.repository, to, image, new Set(ids), options)).toEqual([]);
  });

  test('a point without its base becomes a full, the next one builds on what is there', async () => {
    const to = await target();
    const [, second = '', third = '', fourth = ''] = states.keys();
    await copyPoints(world.repository, to, image, new Set([second]), options);
    await expectCopied(to, [second]);
    const copied = await copyPoints(world.repository, to, image, new Set([fourth]), options);
    expect(copied).toMatchObject([{ point: fourth, base: second }]);
    await expectCopied(to, [second, fourth]);
    // between two points that are there already: on the one below it
    expect(await copyPoints(world.repository, to, image, new Set([third]), options)).toMatchObject([{ base: second }]);
    await expectCopied(to, [second, third, fourth]);
  });
});

test.each(['the same key', 'another key'])('a damaged frame is not copied to a repository with %s', async (which) => {
  const to = await other(which === 'the same key' ? world.repository.digestKey : undefined);
  const [first = ''] = states.keys();
  const path = join(world.repoDir, `rbd/vm/${first}/000000.rbdiff.zst`);
  const bytes = await readFile(path);
  bytes[bytes.length >> 1]! ^= 4;
  await writeFile(path, bytes);
  const copied = copyPoints(world.repository, to, image, new Set(states.keys()), options);
  await expect(copied).rejects.toMatchObject({ code: 'corrupt' });
  expect(await idsIn(to)).toEqual([]);
});

test('the plan: the nearest point below that is there, or comes before it', () => {
  const entry = (id: string, base: string | null): CatalogEntry => ({ id, base }) as CatalogEntry;
  const points = [entry('a', null), entry('b', 'a'), entry('c', 'b'), entry('d', 'c')];
  const plan = (ids: string[], there: CatalogEntry[]) =>
    planCopy(points, new Set(ids), there).map(({ point, base }) => [point.id, base]);
  expect(plan(['b', 'd'], [])).toEqual([
    ['b', null],
    ['d', 'b'],
  ]);
  expect(plan(['d'], [entry('a', null)])).toEqual([['d', 'a']]);
  expect(plan(['a', 'b'], [entry('a', null)])).toEqual([['b', 'a']]);
});
