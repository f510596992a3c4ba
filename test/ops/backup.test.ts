import { readFile, rm, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { CatalogEntry } from '../../src/format/repository.ts';
import type { ImageInfo, Snapshot, WritableImage } from '../../src/image/port.ts';
import { planBackup, type Situation } from '../../src/ops/backup-plan.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { stateOf } from '../kit/chain-state.ts';
import { noise } from '../kit/noise.ts';
import { makeRepoWorld, nameOf, type RepoWorld } from '../kit/repo-world.ts';

const KiB = 1024;
const image = nameOf('vm');

describe('planBackup', () => {
  const snapshot = (id: number, name: string): Snapshot => ({ id, name, namespace: 'user' }) as Snapshot;
  const id = '20261122T130501Z-3fa90c';
  const situation = (more: Partial<Situation> = {}): Situation => ({
    repository: '12345678-0000-0000-0000-000000000000',
    name: 'rbd/vm',
    info: { id: 'a1', snapshots: [snapshot(2, 'monday'), snapshot(4, 'base'), snapshot(6, 'friday')] } as ImageInfo,
    points: [{ id }] as CatalogEntry[],
    manifest: {
      image: { id: 'a1' },
      snapshot: { name: 'base', id: 4 },
      writer: { host: 'here' },
    } as NonNullable<Situation['manifest']>,
    host: 'here',
    nowMs: Date.parse('2026-11-23T00:00:00Z'),
    ...more,
  });

  test('a full the first time, then increments, and a full when it is asked for', () => {
    expect(planBackup(situation({ points: [], manifest: null }), {})).toMatchObject({ method: 'full', base: null });
    expect(planBackup(situation(), {})).toMatchObject({ method: 'increment', base: { id }, notice: null });
    expect(planBackup(situation(), { full: true })).toMatchObject({ method: 'full', base: null });
    expect(planBackup(situation(), { compare: true })).toMatchObject({ method: 'compare', base: { id }, notice: null });
    expect(planBackup(situation({ points: [], manifest: null }), { compare: true })).toMatchObject({ method: 'full' });
  });

  test('the snapshot is one of its own, or the one that is named', () => {
    const { point, snapshot } = planBackup(situation(), {});
    expect(snapshot).toEqual({ name: `rbdelta-12345678-${point}`, ours: true });
    expect(planBackup(situation(), { snap: 'friday' })).toMatchObject({
      method: 'increment',
      snapshot: { name: 'friday', ours: false },
    });
    expect(() => planBackup(situation(), { snap: 'base' })).toThrow(`is backed up already, as ${id}`);
    expect(() => planBackup(situation(), { snap: 'never' })).toThrow('there is no snapshot "never" of rbd/vm');
  });

  test.each([
    ['the snapshot is gone', { info: { id: 'a1', snapshots: [snapshot(6, 'friday')] } as ImageInfo }, 'is gone from'],
    ['made anew under its name', { info: { id: 'a1', snapshots: [snapshot(8, 'base')] } as ImageInfo }, 'is gone from'],
    ['another image', { info: { id: 'b2', snapshots: [snapshot(4, 'base')] } as ImageInfo }, 'is another image'],
    ['a file', { info: null }, 'nothing'],
    ['a file of another host', { info: null, host: 'there' }, 'was made on here'],
  ])('everything is compared: %s', (_, more, notice) => {
    const plan = planBackup(situation(more), {});
    expect({ method: plan.method, base: plan.base?.id }).toEqual({ method: 'compare', base: id });
    expect(plan.notice ?? 'nothing').toContain(notice);
  });

  test('a snapshot that is older than the newest point is compared with it', () => {
    expect(planBackup(situation(), { snap: 'monday' })).toMatchObject({ method: 'compare', base: { id } });
  });

  test('ids rise, whatever the clock says; a point in the future is worth a word', () => {
    const { point, notice } = planBackup(situation({ nowMs: Date.parse('2020-01-01T00:00:00Z') }), {});
    expect(point > id).toBe(true);
    expect(notice).toContain('lies in the future');
  });
});

describe('backup', () => {
  let world: RepoWorld;
  let head: WritableImage;
  beforeEach(async () => {
    world = await makeRepoWorld();
    head = await world.image('vm', 1024 * KiB);
    await head.write(0, noise(1, 300 * KiB));
  });
  afterEach(() => world.close());

  const expectNow = async (point: string): Promise<void> => {
    const { content, fingerprint, proven } = await stateOf(world.repository, image, point);
    expect({ isEqual: content.equals(await world.content('vm')), proven }).toEqual({
      isEqual: true,
      proven: fingerprint,
    });
  };
  const damage = async (point: string): Promise<void> => {
    const path = join(world.repoDir, `rbd/vm/${point}/manifest.json`);
    await writeFile(path, (await readFile(path, 'utf8')).slice(0, 100));
  };

  test('a newest point that cannot be read is passed over', async () => {
    await world.backup('vm');
    const { point: broken } = await world.backup('vm');
    await damage(broken);
    const notices: string[] = [];
    const { point, method } = await world.backup('vm', { onNotice: (text) => notices.push(text) });
    expect(method).toBe('compare');
    expect(notices).toContainEqual(expect.stringContaining(`${broken} of rbd/vm is passed over`));
    await expectNow(point);
  });

  test('an older one that all build on: the hint is a full', async () => {
    const { point: first } = await world.backup('vm');
    await world.backup('vm');
    await damage(first);
    await expect(world.backup('vm')).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('nothing can be built on'),
      hint: expect.stringContaining('backup --full'),
    });
    const { point, method } = await world.backup('vm', { full: true });
    expect(method).toBe('full');
    await expectNow(point);
  });

  test.each(['gone', 'cut off'])(
    'a file of an older one that is %s: nothing is begun, the hint is a full',
    async (how) => {
      const { point: first } = await world.backup('vm');
      await world.backup('vm');
      const path = join(world.repoDir, `rbd/vm/${first}/000000.rbdiff.zst`);
      await (how === 'gone' ? rm(path) : truncate(path, 100));
      const before = await world.files();
      await expect(world.backup('vm')).rejects.toMatchObject({
        code: 'corrupt',
        message: expect.stringMatching(`nothing can be built on .*: the point ${first} of rbd/vm is damaged: 000000`),
        hint: expect.stringContaining('backup --full'),
      });
      expect(await world.files()).toEqual(before);
      const { point } = await world.backup('vm', { full: true });
      await expectNow(point);
      expect((await world.backup('vm')).base).toBe(point);
    },
  );

  test('a snapshot of last week, backed up today, is as old as it is', async () => {
    await head.createSnapshot('monday');
    await head.write(0, noise(2, 4 * KiB));
    await world.backup('vm');
    const { point } = await world.backup('vm', { snap: 'monday' });
    const points = await readPoints(world.repository, image);
    expect(points.at(-1)?.id).toBe(point);
    expect(Date.parse(points[1]!.created)).toBeLessThanOrEqual(Date.parse(points[0]!.created));
    const { content } = await stateOf(world.repository, image, point);
    expect(content.equals(await world.content('vm@monday'))).toBe(true);
  });
});
