// A check of an object map finds what rbd's check finds, and flags it alike.

import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { bytesFor, encodeObjectMap, type ObjectState, setObjectState } from '../../../src/format/object-map.ts';
import { objectMapName } from '../../../src/format/rbd-header.ts';
import { type CephCluster, connectCeph } from '../../../src/image/ceph/index.ts';
import type { ImageSpec } from '../../../src/image/spec.ts';
import { rbd, run, succeed } from '../../kit/command.ts';
import { makePool, onCeph } from './pools.ts';

const objectBytes = 1 << 16;
const [gone, written, pending, unchanged] = [0, 1, 2, 3] as const;
const [both, neither] = [
  { rbd: true, ours: true },
  { rbd: false, ours: false },
];

describe.skipIf(!onCeph)('beside the real rbd', () => {
  let pool: string;
  let removePool: () => Promise<void>;
  let cluster: CephCluster;
  const file = join(tmpdir(), `rbdelta-map-${process.pid}`);

  beforeAll(async () => {
    ({ pool, removePool } = await makePool());
    cluster = await connectCeph({});
    await make('disk');
  });
  afterAll(async () => {
    await cluster?.close();
    await removePool?.();
    await run('rm', ['-f', file]);
  });

  const specOf = (image: string): ImageSpec => ({ pool, namespace: '', image, snap: null });
  const checkOf = async (spec: ImageSpec, snap: string | null): Promise<number> => {
    const image = await cluster.openToWrite(spec);
    try {
      return await image.checkObjectMap(snap);
    } finally {
      await image.close();
    }
  };
  const infoOf = async (spec: ImageSpec) => {
    const image = await cluster.open(spec);
    try {
      return await image.info();
    } finally {
      await image.close();
    }
  };

  // Objects: 0 as before `one`, 1 written after it, 2 cleared after it, 3 new after it, 4 never written.
  async function make(image: string, ...striping: string[]): Promise<ImageSpec> {
    const [namespace, name] = image.includes('/') ? image.split('/') : ['', image];
    const spec = { ...specOf(name ?? ''), namespace: namespace ?? '' };
    await rbd(['create', '--size', `${5 * objectBytes}B`, '--object-size', '64K', ...striping, `${pool}/${image}`]);
    const opened = await cluster.openToWrite(spec);
    try {
      await opened.write(0, Buffer.alloc(3 * objectBytes, 'x'));
      await opened.createSnapshot('one');
      await opened.write(objectBytes, Buffer.alloc(objectBytes, 'y'));
      await opened.writeZeroes(2 * objectBytes, objectBytes);
      await opened.write(3 * objectBytes, Buffer.alloc(10, 'z'));
    } finally {
      await opened.close();
    }
    return spec;
  }

  /** The map of the head or a snapshot, with one state more that is not as it should be. */
  test.each<[string | null, number, ObjectState, { rbd: boolean; ours: boolean }]>([
    [null, 0, gone, both],
    // Too careful does no harm.
    [null, 0, written, { rbd: true, ours: false }],
    [null, 0, pending, both],
    [null, 1, unchanged, both],
    [null, 2, written, neither],
    // A diff would leave the removal out.
    [null, 2, unchanged, { rbd: false, ours: true }],
    [null, 4, pending, both],
    ['one', 0, gone, both],
    ['one', 0, unchanged, both],
    ['one', 4, written, neither],
  ])('of %s, object %i called %i', async (snap, objectNo, state, flagged) => {
    const spec = specOf('disk');
    const name = `${pool}/disk${snap === null ? '' : `@${snap}`}`;
    const info = await infoOf(spec);
    const snapId = info.snapshots.find((one) => one.name === snap)?.id ?? null;
    const map = (snap === null ? [3, 1, 0, 1, 0] : [1, 1, 1, 0, 0]).with(objectNo, state);
    const states = new Uint8Array(bytesFor(map.length));
    map.forEach((one, i) => setObjectState(states, i, one as ObjectState));
    await writeFile(file, encodeObjectMap(map.length, states));
    const found: Record<string, boolean> = {};
    for (const [who, check] of [
      ['rbd', () => rbd(['object-map', 'check', '--no-progress', name])],
      ['ours', async () => expect(await checkOf(spec, snap)).toBe(flagged.ours ? 1 : 0)],
    ] as const) {
      await succeed('rados', ['-p', pool, 'put', objectMapName(info.id, snapId), file]);
      await check();
      const { flags, snapshots } = await infoOf(spec);
      found[who] = (snap === null ? flags : snapshots[0]?.flags) === 3;
      await rbd(['object-map', 'rebuild', '--no-progress', name]);
    }
    expect(found).toEqual(flagged);
  });

  test('maps that are right, of stripes, of a clone, in a data pool and a namespace; and one that is lost', async () => {
    const data = await makePool();
    await rbd(['namespace', 'create', `${pool}/team`]);
    const stripes = ['--stripe-unit', '4096', '--stripe-count', '3'];
    const spec = await make('team/many', ...stripes, '--data-pool', data.pool);
    await rbd(['snap', 'protect', `${pool}/team/many@one`]);
    await rbd(['clone', `${pool}/team/many@one`, `${pool}/team/kid`]);
    const kid = { ...spec, image: 'kid' };
    const opened = await cluster.openToWrite(kid);
    await opened.write(5, Buffer.alloc(10, 'k'));
    await opened.writeZeroes(objectBytes, 2 * objectBytes);
    await opened.close();
    const of: [ImageSpec, string | null][] = [
      [spec, null],
      [spec, 'one'],
      [kid, null],
    ];
    for (const [image, snap] of of) expect(await checkOf(image, snap)).toBe(0);
    const { id } = await infoOf(kid);
    await succeed('rados', ['-p', pool, '-N', 'team', 'rm', objectMapName(id, null)]);
    expect(await checkOf(kid, null)).toBe(6);
    expect((await infoOf(kid)).flags).toBe(3);
    await expect(checkOf(kid, 'nosuch')).rejects.toMatchObject({ code: 'notFound' });
    await rbd(['create', '--size', '1M', '--image-feature', 'layering', `${pool}/plain`]);
    await expect(checkOf(specOf('plain'), null)).rejects.toMatchObject({ code: 'invalid' });
    await data.removePool();
  });
});
