// Nothing is lost, whatever fails or dies when.

import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { cp, mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closing } from '../../src/cli/cluster.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import { RbdeltaError } from '../../src/error.ts';
import type { CatalogEntry } from '../../src/format/repository.ts';
import type { WritableImage } from '../../src/image/port.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { chainIds } from '../../src/repo/find-point.ts';
import { readIntent } from '../../src/repo/intent.ts';
import { pointFolder } from '../../src/repo/keys.ts';
import { initRepository, type Repository } from '../../src/repo/repository.ts';
import { startUnpacker } from '../../src/repo/unpack.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { stateOf } from '../kit/chain-state.ts';
import { failsAt, type Moment } from '../kit/faulty-store.ts';
import { type FaultWorld, openFaultWorld, type Operation, operations, vm } from '../kit/fault-world.ts';
import { noise } from '../kit/noise.ts';
import { contentOf, specOf } from '../kit/repo-world.ts';

const KiB = 1024;
const size = 6 * 1024 * KiB;

/** Where nothing waits for a disk. */
let root: string;
const unpacker = startUnpacker();
/** What each point holds. */
const states = new Map<string, Buffer>();
beforeAll(async () => {
  root = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbdelta-faults-'));
  await makeSituations();
});
afterAll(async () => {
  await unpacker.stop();
  await rm(root, { recursive: true });
});

const at = (...parts: string[]): string => join(root, ...parts);
const copyOf = async (from: string, to: string): Promise<string> => {
  await cp(from, to, { recursive: true });
  return to;
};

async function writeTo(
  { pool }: Pick<FaultWorld, 'pool'>,
  use: (image: WritableImage) => Promise<void>,
): Promise<void> {
  const image = await pool.openToWrite(specOf('vm'));
  await closing(image, use);
}

/** Some KiB in each block of the range: many frames' worth of blocks, and few bytes. */
async function scatter(image: WritableImage, seed: number, from: number, to: number): Promise<void> {
  for (let offset = from; offset < to; offset += 64 * KiB) await image.write(offset, noise(seed + offset, 4 * KiB));
}

const contentAt = async ({ pool }: FaultWorld, snap: string | null): Promise<Buffer> =>
  contentOf(await pool.open({ ...specOf('vm'), snap }));

const snapshotsOf = async ({ pool }: FaultWorld): Promise<string[]> => {
  const image = await pool.open(specOf('vm'));
  const { snapshots } = await closing(image, (one) => one.info());
  return snapshots.map(({ name }) => name);
};

/** `first`: nothing was backed up yet; `chain`: three points; `lost`: as that, without the snapshot of the newest one. */
async function makeSituations(): Promise<void> {
  const pool = await openLocalPool(at('first', 'pool'));
  await pool.createPool('rbd');
  await pool.create(specOf('vm'), { size, order: 20 });
  for (const name of ['repo', 'other'])
    await initRepository(await openDirectoryStore(at('first', name), { create: true }), Date.now());
  await writeTo({ pool }, (image) => scatter(image, 1, 0, size));
  await pool.close();

  const world = await openFaultWorld(await copyOf(at('first'), at('chain')));
  const point = async (tags: string[]): Promise<void> => {
    const result = await world.backup({ tags });
    states.set(result.point, await contentAt(world, result.snapshot));
  };
  await point([]);
  await writeTo(world, async (image) => {
    await scatter(image, 2, 512 * KiB, 1200 * KiB);
    await image.writeZeroes(4000 * KiB, 900 * KiB);
  });
  await point(['goes']);
  await writeTo(world, (image) => scatter(image, 3, 1000 * KiB, 5600 * KiB));
  await point(['flat']);
  await writeTo(world, async (image) => {
    await scatter(image, 4, 900 * KiB, 5500 * KiB);
    await image.createSnapshot('monday');
  });
  await world.close();

  const lost = await openFaultWorld(await copyOf(at('chain'), at('lost')));
  await writeTo(lost, async (image) => {
    await image.removeSnapshot('monday');
    for (const name of await snapshotsOf(lost)) await image.removeSnapshot(name);
  });
  await lost.close();
}

/** What all files of a point and of those below it hold. */
async function filesOf(repository: Repository, points: readonly CatalogEntry[], id: string): Promise<string> {
  const hash = createHash('sha256');
  for (const point of chainIds(points, id)) {
    for await (const { key, bytes } of repository.store.list(pointFolder(vm, point))) {
      hash.update(`${key} ${bytes}\n`).update((await repository.store.get(key, bytes)) ?? '');
    }
  }
  return hash.digest('hex');
}

/** Files that gave back what their point held: they need not be read again. */
const proven = new Set<string>();

/** All points are there, and hold what they held; those that are new hold what the image did at their snapshots. */
async function expectPoints(
  world: FaultWorld,
  repository: Repository,
  ids: Iterable<string>,
  known: Map<string, Buffer>,
): Promise<string[]> {
  const points = await readPoints(repository, vm);
  expect(points.map(({ id }) => id)).toEqual(expect.arrayContaining([...ids]));
  for (const { id, snapshot } of points) {
    const files = await filesOf(repository, points, id);
    if (proven.has(files)) continue;
    const expected = known.get(id) ?? (await contentAt(world, snapshot));
    const state = await stateOf(repository, vm, id, { unpacker });
    const isEqual = state.content.equals(expected);
    expect({ id, isEqual, proven: state.proven }).toEqual({ id, isEqual: true, proven: state.fingerprint });
    known.set(id, expected);
    proven.add(files);
  }
  return points.map(({ id }) => id);
}

const problemsOf = async (repository: Repository): Promise<string[]> =>
  (await checkRepository(repository)).findings.filter(({ state }) => state === 'problem').map(({ text }) => text);

const findingsOf = async (repository: Repository): Promise<string[]> =>
  (await checkRepository(repository)).findings.map(({ text }) => text);

/** Segments of an unfinished point that are finished: those with an index of their own. */
async function finishedSegments({ repository }: FaultWorld): Promise<{ point: string; keys: string[] } | null> {
  const intent = await readIntent(repository, vm, 'backup');
  if (intent === null) return null;
  const keys: string[] = [];
  for await (const { key } of repository.store.list(pointFolder(vm, intent.point))) keys.push(key);
  const isFinished = (key: string): boolean => keys.includes(key.replace(/rbdiff\.zst$/, 'index'));
  return { point: intent.point, keys: keys.filter((key) => key.endsWith('.rbdiff.zst') && isFinished(key)) };
}

interface Case {
  operation: Operation;
  situation: 'first' | 'chain' | 'lost';
}

/**
 * The world in `dir`, in which the operation was stopped somewhere: all is there, and the next run makes all good. Resolves to
 * the number of segments that were not sent again.
 */
async function expectNothingLost(dir: string, { operation, situation }: Case): Promise<number> {
  const sent: string[] = [];
  const world = await openFaultWorld(dir, ({ what, key }) => {
    if (what === 'write') sent.push(key);
  });
  try {
    const { repository, other } = world;
    const known = new Map(states);
    const before = situation === 'first' ? [] : [...states.keys()];
    const goes = operation === 'forget' ? before[1] : undefined;
    const stay = before.filter((id) => id !== goes);
    await expectPoints(world, repository, stay, known);
    expect(await problemsOf(repository)).toEqual([]);
    await expectPoints(world, other, [], known);
    expect(await problemsOf(other)).toEqual([]);

    const unfinished = await finishedSegments(world);
    const then = await contentAt(world, null);
    await writeTo(world, (image) => image.write(100 * KiB, noise(9, 64 * KiB)));
    const next = await world.backup();
    if (next.resumed !== null) known.set(next.resumed.point, then);
    const resumed = unfinished !== null && next.resumed?.point === unfinished.point ? unfinished.keys : [];
    expect(sent.filter((key) => resumed.includes(key))).toEqual([]);
    expect(await findingsOf(repository)).toEqual([]);
    if (!operation.startsWith('backup')) await operations[operation](world);
    const made = next.resumed === null ? [next.point] : [next.resumed.point, next.point];
    const ids = await expectPoints(world, repository, [...stay, ...made], known);
    expect(ids.at(-1)).toBe(next.point);
    expect(ids.filter((id) => id === goes)).toEqual([]);
    const monday = situation === 'chain' ? ['monday'] : [];
    expect((await snapshotsOf(world)).sort()).toEqual([...monday, next.snapshot]);
    expect(await findingsOf(repository)).toEqual([]);
    expect(await findingsOf(other)).toEqual([]);
    const copied = await expectPoints(world, other, [], known);
    expect(copied).toEqual(operation === 'copy' ? [before[0], before[2], next.point] : []);
    return resumed.length;
  } finally {
    await world.close();
  }
}

const cases: [string, Case][] = [
  ['a first backup', { operation: 'backup', situation: 'first' }],
  ['an increment', { operation: 'backup', situation: 'chain' }],
  ['an increment that compares', { operation: 'backup', situation: 'lost' }],
  ['a backup of a snapshot', { operation: 'backup --snap', situation: 'chain' }],
  ['a point that is forgotten', { operation: 'forget', situation: 'chain' }],
  ['a point that becomes a full', { operation: 'flatten', situation: 'chain' }],
  ['a copy', { operation: 'copy', situation: 'chain' }],
];

/** Names that are other ones in every run, as they are in all. */
const normal = (text: string): string =>
  text
    .replaceAll(/\d{8}T\d{6}Z-[0-9a-f]{6}/g, (id) => String([...states.keys()].indexOf(id)))
    .replaceAll(/lock\/[0-9a-f]+/g, 'lock/x')
    .replaceAll(/rbdelta-[0-9a-f]{8}/g, 'rbdelta-x');

/** What lies in the repositories and which snapshots there are: where this is the same, the same comes of it. */
async function lookOf(dir: string): Promise<string> {
  const looks: string[] = [];
  for (const name of ['repo', 'other']) {
    for (const entry of await readdir(join(dir, name), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile()) continue;
      const path = join(entry.parentPath, entry.name);
      const bytes = await readFile(path);
      const timeless = path.endsWith('.json') ? bytes.toString().replaceAll(/"seconds": ?[\d.e-]+/g, '') : bytes;
      looks.push(normal(`${path.slice(dir.length)} ${timeless.length}`));
    }
  }
  const world = await openFaultWorld(dir);
  looks.push(...(await snapshotsOf(world)).map(normal));
  await world.close();
  return looks.sort().join('\n');
}

/** All moments of an operation that nothing disturbs. */
async function momentsOf({ operation, situation }: Case): Promise<Moment[]> {
  const moments: Moment[] = [];
  const dir = await copyOf(at(situation), at('moments'));
  const world = await openFaultWorld(dir, (moment) => moments.push(moment));
  await operations[operation](world);
  await world.close();
  await rm(dir, { recursive: true });
  return moments;
}

/** All moments take half an hour: RBDELTA_TEST_ALL=1 tries them. Else so many, from the first to the last. */
const isEach = process.env['RBDELTA_TEST_ALL'] === '1';
const most = isEach ? Number.POSITIVE_INFINITY : 10;

/** Of a machine that is busy: a minute where it is not. */
const timeout = isEach ? 7_200_000 : 600_000;
/** To be told what is to die, and when. */
const dying = ['--import', 'tsx', new URL('./repo-killed.ts', import.meta.url).pathname];

/** What went wrong with it, in words; null: nothing. */
const complaintOf = async (told: string, checked: Promise<unknown>): Promise<string | null> =>
  checked.then(
    () => null,
    (error: unknown) => `${told}: ${inspect(error)}`,
  );

const spread = <T>(all: readonly T[]): T[] =>
  all.length <= most
    ? [...all]
    : Array.from({ length: most }, (_, i) => all[Math.round((i * (all.length - 1)) / (most - 1))]!);

describe.each(cases)('%s', (title, one) => {
  test('a store that fails at any call', { timeout }, async () => {
    const moments = await momentsOf(one);
    const [kinds, looks] = [new Set<string>(), new Set<string>()];
    const complaints: (string | null)[] = [];
    // The first of a kind, as of all segments but the first one, tells as much as all of it.
    const firsts = [...moments.entries()].filter(([, moment]) => {
      if (isEach) return true;
      const kind = `${moment.what} ${normal(moment.key).replaceAll(/[1-9]/g, 'n')}`;
      const isFirst = !kinds.has(kind);
      kinds.add(kind);
      return isFirst;
    });
    for (const [i] of spread(firsts)) {
      const dir = await copyOf(at(one.situation), at('fails', title));
      const fault = failsAt(i + 1);
      const world = await openFaultWorld(dir, fault.at);
      const failure: unknown = await operations[one.operation](world).then(
        () => null,
        (error: unknown) => error,
      );
      await world.close();
      const told = `failed at ${fault.met()?.what} ${fault.met()?.key}`;
      const isTold = failure === null || (failure instanceof RbdeltaError && failure.code === 'io');
      complaints.push(isTold ? null : `${told}: ${inspect(failure)}`);
      const look = await lookOf(dir);
      if (!looks.has(look)) complaints.push(await complaintOf(told, expectNothingLost(dir, one)));
      looks.add(look);
      await rm(dir, { recursive: true });
    }
    expect(complaints.filter((text) => text !== null)).toEqual([]);
    expect(looks.size).toBeGreaterThan(2);
  });

  test('a process that dies at any moment', { timeout }, async () => {
    const [dir, deaths] = [await copyOf(at(one.situation), at('dies', title)), at('deaths', title)];
    const { status, stdout } = spawnSync(process.execPath, [...dying, dir, one.operation, 'copy', deaths]);
    expect(status).toBe(0);
    const complaints: (string | null)[] = [];
    let resumed = 0;
    for (const told of spread(stdout.toString().trim().split('\n'))) {
      const death = join(deaths, told.split(' ')[0] ?? '');
      const checked = expectNothingLost(death, one).then((segments) => (resumed += segments));
      complaints.push(await complaintOf(`died at ${told}`, checked));
      await rm(death, { recursive: true });
    }
    expect(complaints.filter((text) => text !== null)).toEqual([]);
    expect(complaints.length).toBeGreaterThan(8);
    expect(resumed).toBeGreaterThan(one.operation === 'backup' ? 0 : -1);
  });

  test('a process that is killed', { timeout }, async () => {
    const dir = await copyOf(at(one.situation), at('killed', title));
    const { signal } = spawnSync(process.execPath, [...dying, dir, one.operation, 'kill', '7']);
    expect(signal).toBe('SIGKILL');
    await expectNothingLost(dir, one);
  });
});
