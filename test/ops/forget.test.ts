import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import type { WritableImage } from '../../src/image/port.ts';
import type { CatalogEntry } from '../../src/format/repository.ts';
import { flatten, forget, planPrune, prune } from '../../src/ops/forget.ts';
import { planForget } from '../../src/ops/forget-plan.ts';
import { markPoint } from '../../src/ops/repo-mark.ts';
import { readCatalog, readPoints, updateCatalog } from '../../src/repo/catalog.ts';
import { noise, numbers } from '../kit/noise.ts';
import { writeIntent } from '../../src/repo/intent.ts';
import { makeRepoWorld, nameOf, type RepoWorld, specOf } from '../kit/repo-world.ts';
import { stateOf } from '../kit/chain-state.ts';

const KiB = 1024;
interface Made extends RepoWorld {
  write(offset: number, data: Uint8Array | number): Promise<void>;
  resize(size: number): Promise<void>;
}

const worlds: RepoWorld[] = [];
afterEach(async () => {
  for (const world of worlds.splice(0)) await world.close();
});

/** With an image `vm`. */
const world = async (size: number): Promise<Made> => {
  const made = await makeRepoWorld();
  worlds.push(made);
  await made.cluster.create(specOf('vm'), { size, order: 17 });
  const head = async (use: (image: WritableImage) => Promise<void>): Promise<void> => {
    const image = await made.cluster.openToWrite(specOf('vm'));
    try {
      await use(image);
    } finally {
      await image.close();
    }
  };
  return {
    ...made,
    write: (offset, data) =>
      head((image) => (typeof data === 'number' ? image.writeZeroes(offset, data) : image.write(offset, data))),
    resize: (to) => head((image) => image.resize(to)),
  };
};
const image = nameOf('vm');
const options = { version: 'test', nowMs: () => Date.now() };

/** A chain of backups of random changes, and what the image held at each. */
async function history(seed: number, points: number): Promise<{ made: Made; states: Map<string, Buffer> }> {
  const next = numbers(seed);
  const below = (n: number): number => Math.floor(next() * n);
  const made = await world(2048 * KiB);
  const states = new Map<string, Buffer>();
  let size = 2048 * KiB;
  await made.write(0, noise(seed, 768 * KiB));
  for (let i = 0; i < points; i++) {
    for (let change = 0; change < 6 && i > 0; change++) {
      const offset = below(size / 512) * 512;
      const length = Math.min(size - offset, (1 + below(next() < 0.3 ? 600 : 24)) * 512);
      await made.write(offset, next() < 0.35 ? length : noise(below(1e9), length));
    }
    if (i > 0 && next() < 0.3) {
      size = (1 + below(4096)) * 512;
      await made.resize(size);
    }
    const { point } = await made.backup('vm', { trim: next() < 0.3, full: next() < 0.1, segmentBytes: 100 * KiB });
    states.set(point, await made.content('vm'));
  }
  return { made, states };
}

async function expectStates(made: Made, states: Map<string, Buffer>, kept: readonly string[]): Promise<void> {
  expect((await readPoints(made.repository, image)).map(({ id }) => id)).toEqual(kept);
  for (const id of kept) {
    const { content, fingerprint, proven } = await stateOf(made.repository, image, id);
    expect({ id, isEqual: content.equals(states.get(id)!), proven }).toEqual({
      id,
      isEqual: true,
      proven: fingerprint,
    });
  }
}

test.each([1, 2, 3])('points that stay hold what they held, whichever go: history %i', async (seed) => {
  const { made, states } = await history(seed, 6);
  const next = numbers(1000 + seed);
  let kept = [...states.keys()];
  await expectStates(made, states, kept);
  for (let round = 0; round < 2; round++) {
    const gone = new Set(kept.filter(() => next() < 0.35));
    const result = await forget(made.repository, image, gone, { ...options, segmentBytes: 100 * KiB });
    kept = kept.filter((id) => !gone.has(id));
    expect(result.removed.length).toBe(gone.size);
    await expectStates(made, states, kept);
  }
});

test('a flattened point is a full of its own, and the next backup builds on it', async () => {
  const { made, states } = await history(11, 4);
  const [, , third = '', last = ''] = states.keys();
  await flatten(made.repository, image, last, options);
  expect((await stateOf(made.repository, image, last)).chain).toEqual([last]);
  expect(await flatten(made.repository, image, last, options)).toBe(null);
  await made.write(4 * KiB, noise(5, 8 * KiB));
  const { point, method, base } = await made.backup('vm');
  states.set(point, await made.content('vm'));
  expect({ method, base }).toEqual({ method: 'increment', base: last });
  await expectStates(made, states, [...states.keys()]);
  await forget(made.repository, image, new Set([third]), options);
});

test('frames of which nothing is superseded are taken as they are', async () => {
  const made = await world(64 * 1024 * KiB);
  await made.write(0, noise(1, 32 * 1024 * KiB));
  await made.backup('vm');
  await made.write(9 * 1024 * KiB, noise(2, 4 * KiB));
  const { point } = await made.backup('vm');
  const state = await made.content('vm');
  const result = await flatten(made.repository, image, point, options);
  expect(result).toMatchObject({ base: null, packedFrames: 1 });
  expect(result?.copiedFrames).toBeGreaterThanOrEqual(6);
  const { content, fingerprint, proven } = await stateOf(made.repository, image, point);
  expect(content.equals(state)).toBe(true);
  expect(proven).toBe(fingerprint);
});

describe('prune', () => {
  test('the plan is what is done; a pinned point stays; a second time there is nothing to do', async () => {
    const { made, states } = await history(21, 5);
    const ids = [...states.keys()];
    const { remove, plan } = await planPrune(made.repository, image, { last: 2 });
    expect(remove.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    expect(plan.remove.map(({ id }) => id)).toEqual(ids.slice(0, 3));
    const done = await prune(made.repository, image, { last: 2 }, options);
    expect(done.removed).toEqual(ids.slice(0, 3));
    await expectStates(made, states, ids.slice(3));
    expect((await prune(made.repository, image, { last: 2 }, options)).removed).toEqual([]);
  });
});

test('a rewriting that fails leaves nothing, and one that was killed before its end is not called finished', async () => {
  const { made } = await history(4, 3);
  const [full, middle] = (await readPoints(made.repository, image)).map(({ id }) => id) as [string, string];
  const path = join(made.repoDir, 'rbd/vm', full, '000000.rbdiff.zst');
  const kept = await readFile(path);
  const flipped = Buffer.from(kept);
  for (let at = 1000; at < flipped.length; at += 1000) flipped[at]! ^= 1;
  await writeFile(path, flipped);
  const before = await made.files();
  const work = forget(made.repository, image, new Set([full]), { ...options, segmentBytes: 16 * KiB });
  await expect(work).rejects.toMatchObject({ code: 'corrupt' });
  expect(await made.files()).toEqual(before);
  await writeFile(path, kept);
  await writeIntent(made.repository, image, { operation: 'rewrite', point: middle }, { nowMs: 0, version: 'test' });
  const notices: string[] = [];
  await forget(made.repository, image, new Set([full]), { ...options, onNotice: (text) => notices.push(text) });
  expect(notices).toEqual([`removed what an interrupted rewriting of the point ${middle} of rbd/vm had left`]);
});

test('a catalog that does not know of a pin: nothing is removed', async () => {
  const { made, states } = await history(31, 3);
  const [first = ''] = states.keys();
  const entries = await readCatalog(made.repository, image);
  await markPoint(made.repository, image, first, { pinned: true }, { operation: 'pin', version: 'test' });
  await updateCatalog(made.repository, image, () => entries);
  await expect(prune(made.repository, image, { last: 1 }, options)).rejects.toThrow(
    'the catalog of rbd/vm is not what',
  );
  // to pin it again mends the catalog
  await markPoint(made.repository, image, first, { pinned: true }, { operation: 'pin', version: 'test' });
  const { removed } = await prune(made.repository, image, { last: 1 }, options);
  expect(removed).not.toContain(first);
  expect((await readPoints(made.repository, image)).map(({ id }) => id)).toContain(first);
});

test('a point of a backup that died after its manifest does not come back', async () => {
  const { made, states } = await history(41, 2);
  const [first = '', last = ''] = states.keys();
  const snapshot = { name: `rbdelta-${made.repository.id.slice(0, 8)}-${last}`, id: null, ours: true };
  const intent = { operation: 'backup' as const, point: last, snapshot, base: first, baseSnapshot: null, plan: {} };
  await writeIntent(made.repository, image, intent, { nowMs: 0, version: 'test' });
  await forget(made.repository, image, new Set([last]), options);
  const { point } = await made.backup('vm');
  expect((await readPoints(made.repository, image)).map(({ id }) => id)).toEqual([first, point]);
});

describe('planForget', () => {
  const entry = (id: number, base: number | null): CatalogEntry =>
    ({ id: `p${id}`, base: base === null ? null : `p${base}` }) as CatalogEntry;

  test('the nearest point that stays becomes the base', () => {
    const points = [entry(0, null), entry(1, 0), entry(2, 1), entry(3, 2), entry(4, null), entry(5, 4)];
    const plan = planForget(points, new Set(['p1', 'p2', 'p4']));
    expect(plan.remove.map(({ id }) => id)).toEqual(['p1', 'p2', 'p4']);
    expect(
      plan.rebase.map(({ point, base, absorbs }) => [point.id, base?.id ?? null, absorbs.map(({ id }) => id)]),
    ).toEqual([
      ['p3', 'p0', ['p1', 'p2']],
      ['p5', null, ['p4']],
    ]);
  });

  test('nobody builds on a point that goes', () => {
    const bases = fc.array(fc.nat(), { minLength: 1, maxLength: 30 });
    fc.assert(
      fc.property(bases, fc.array(fc.nat()), (choices, gone) => {
        const points = choices.map((choice, i) => entry(i, i === 0 || choice % 5 === 0 ? null : choice % i));
        const ids = new Set(gone.map((one) => `p${one % points.length}`));
        const plan = planForget(points, ids);
        const now = new Map(points.map(({ id, base }) => [id, base]));
        for (const { point, base } of plan.rebase) now.set(point.id, base?.id ?? null);
        const stay = points.filter(({ id }) => !ids.has(id));
        expect(stay.filter(({ id }) => ids.has(now.get(id) ?? ''))).toEqual([]);
      }),
    );
  });

  test('a base that is not there is said', () => {
    expect(() => planForget([entry(1, 0), entry(2, 1)], new Set(['p1']))).toThrow(
      'p1 builds on p0, which is not there',
    );
  });
});
