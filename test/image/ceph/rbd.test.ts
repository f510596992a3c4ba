// What the adapter says of images is what the real rbd says of them, byte for byte.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { namesOfFeatures } from '../../../src/format/rbd-header.ts';
import { type CephCluster, connectCeph } from '../../../src/image/ceph/index.ts';
import type { Image } from '../../../src/image/port.ts';
import { parseSpec } from '../../../src/image/spec.ts';
import { rbd, run } from '../../kit/command.ts';
import { noise } from '../../kit/noise.ts';
import { makePool, onCeph, rbdJson } from './pools.ts';

const MiB = 1 << 20;

interface RbdInfo {
  name: string;
  id: string;
  size: number;
  order: number;
  data_pool?: string;
  block_name_prefix: string;
  format: number;
  features: string[];
  stripe_unit?: number;
  stripe_count?: number;
  parent?: { pool: string; pool_namespace: string; image: string; snapshot: string; overlap: number };
}

describe.skipIf(!onCeph)('beside the real rbd', () => {
  let pool: string;
  let dataPool: string;
  let cluster: CephCluster;
  const removals: (() => Promise<void>)[] = [];

  beforeAll(async () => {
    const main = await makePool();
    const data = await makePool();
    pool = main.pool;
    dataPool = data.pool;
    removals.push(main.removePool, data.removePool);
    await rbd(['namespace', 'create', `${pool}/team`]);
    cluster = await connectCeph({});
  });
  afterAll(async () => {
    await cluster?.close();
    for (const remove of removals) await remove();
  });

  const specOf = (text: string) => parseSpec(`${pool}/${text}`, { pool });

  async function withImage<T>(text: string, use: (image: Image) => Promise<T>): Promise<T> {
    const image = await cluster.open(specOf(text));
    try {
      return await use(image);
    } finally {
      await image.close();
    }
  }

  async function contentOf(image: Image): Promise<Buffer> {
    const content = Buffer.alloc((await image.info()).size, 0xaa);
    if (content.length > 0) await image.read(0, content);
    return content;
  }

  /** Writes by rbd, so that the bytes are not of our making. */
  const fill = (text: string, bytes: Buffer): Promise<Buffer> =>
    rbd(['import-diff', '--no-progress', '-', `${pool}/${text}`], { stdin: asDiff(bytes) });

  async function changes(image: Image, from: string | null): Promise<object[]> {
    const found: object[] = [];
    const { size } = await image.info();
    await image.changedExtents(from, { offset: 0, length: size }, (offset, length, exists) =>
      found.push({ offset, length, exists: String(exists) }),
    );
    return found;
  }

  describe.each([
    ['plain', 'plain', ['--size', '9M']],
    ['of small objects and an odd size', 'odd', ['--size', '5000001B', '--object-size', '64K']],
    ['striped', 'striped', ['--size', '9M', '--object-size', '1M', '--stripe-unit', '64K', '--stripe-count', '4']],
    ['with its data in another pool', 'apart', ['--size', '9M', '--data-pool', '$data']],
    ['in a namespace', 'team/inside', ['--size', '9M']],
    ['without an object map', 'bare', ['--size', '9M', '--image-feature', 'layering']],
  ])('an image %s', (_, image, options) => {
    const size = image === 'odd' ? 5_000_001 : 9 * MiB;

    beforeAll(async () => {
      await rbd(['create', `${pool}/${image}`, ...options.map((option) => option.replace('$data', dataPool))]);
      await fill(image, Buffer.concat([noise(1, 3 * MiB), Buffer.alloc(MiB), noise(2, 100_000)]));
      await rbd(['snap', 'create', '--no-progress', `${pool}/${image}@before`]);
      await fill(image, Buffer.concat([Buffer.alloc(2 * MiB), noise(3, 4096)]));
      await rbd(['snap', 'create', '--no-progress', `${pool}/${image}@äfter 1`]);
      await rbd(['snap', 'protect', `${pool}/${image}@before`]);
    });

    test('is told as `rbd info` tells it', () =>
      withImage(image, async (open) => {
        const info = await open.info();
        const told = await rbdJson<RbdInfo>('info', `${pool}/${image}`);
        expect(info).toMatchObject({
          id: told.id,
          name: told.name,
          size: told.size,
          order: told.order,
          objectPrefix: told.block_name_prefix,
          format: told.format,
          dataPool: told.data_pool ?? null,
          stripeUnit: told.stripe_unit ?? 2 ** told.order,
          stripeCount: told.stripe_count ?? 1,
          parent: null,
          namespace: image.startsWith('team/') ? 'team' : '',
          pool,
        });
        expect(info.size).toBe(size);
        expect(namesOfFeatures(info.features)).toEqual(told.features);
      }));

    test('has the snapshots that `rbd snap ls` shows', () =>
      withImage(image, async (open) => {
        const told = await rbdJson<{ id: number; name: string; size: number; protected: string; timestamp: string }[]>(
          'snap',
          'ls',
          `${pool}/${image}`,
        );
        const { snapshots } = await open.info();
        expect(snapshots.map((snap) => ({ ...snap, createdMs: Math.floor(snap.createdMs! / 1000) }))).toEqual(
          told.map((snap) => ({
            id: snap.id,
            name: snap.name,
            size: snap.size,
            protection: snap.protected === 'true' ? 'protected' : 'unprotected',
            flags: 0,
            namespace: 'user',
            createdMs: Date.parse(`${snap.timestamp} UTC`) / 1000,
            parentOverlap: null,
          })),
        );
      }));

    test('has the bytes that `rbd export` writes, in every version', async () => {
      for (const snap of ['', '@before', '@äfter 1']) {
        const exported = await rbd(['export', '--no-progress', `${pool}/${image}${snap}`, '-']);
        expect((await withImage(image + snap, contentOf)).equals(exported)).toBe(true);
      }
    });

    test.each([
      ['@before', null],
      ['', null],
      ['@äfter 1', 'before'],
      ['', 'äfter 1'],
    ])('changed as `rbd diff` says, %s since %s', async (snap, from) => {
      const since = from === null ? [] : ['--from-snap', from];
      const told = await rbdJson<object[]>('diff', `${pool}/${image}${snap}`, ...since);
      expect(await withImage(image + snap, (open) => changes(open, from))).toEqual(told);
    });

    test('is written so that `rbd export` gives the bytes back', async () => {
      const writable = await cluster.openToWrite(specOf(image));
      const expected = await contentOf(writable);
      const data = noise(9, 300_000);
      await writable.write(1_234_567, data);
      data.copy(expected, 1_234_567);
      await writable.writeZeroes(2_000_001, 1_500_003);
      expected.fill(0, 2_000_001, 3_500_004);
      await writable.flush();
      await writable.close();
      expect((await rbd(['export', '--no-progress', `${pool}/${image}`, '-'])).equals(expected)).toBe(true);
    });
  });

  describe.each(['1', '2'])('a clone of format %s', (cloneFormat) => {
    const parent = `parent-${cloneFormat}`;
    // Only the newer kind of clone may be in another namespace than its parent.
    const clone = cloneFormat === '1' ? 'clone-1' : 'team/clone-2';
    const content = noise(5, 3 * MiB);

    beforeAll(async () => {
      await rbd(['create', `${pool}/${parent}`, '--size', '8M', '--object-size', '1M']);
      await fill(parent, content);
      await rbd(['snap', 'create', '--no-progress', `${pool}/${parent}@base`]);
      await rbd(['snap', 'protect', `${pool}/${parent}@base`]);
      await fill(parent, noise(6, 4 * MiB)); // what the clone must not see
      await rbd([
        'clone',
        `${pool}/${parent}@base`,
        `${pool}/${clone}`,
        '--rbd-default-clone-format',
        cloneFormat, // one line
      ]);
    });

    test('says which part of which snapshot it still sees', async () => {
      const told = await rbdJson<RbdInfo>('info', `${pool}/${clone}`);
      const { parent: seen } = await withImage(clone, (open) => open.info());
      expect(seen).toEqual({
        pool: told.parent!.pool,
        namespace: told.parent!.pool_namespace,
        image: told.parent!.image,
        imageId: (await rbdJson<RbdInfo>('info', `${pool}/${parent}`)).id,
        snap: told.parent!.snapshot,
        snapId: expect.any(Number),
        overlap: 8 * MiB,
      });
    });

    test('reads through to its parent, which opens at that snapshot', () =>
      withImage(clone, async (open) => {
        expect((await contentOf(open)).subarray(0, content.length).equals(content)).toBe(true);
        const below = (await open.parent())!;
        const info = await below.info();
        expect(info).toMatchObject({ name: parent, namespace: '', snapshot: { name: 'base' } });
        expect((await contentOf(below)).subarray(0, content.length).equals(content)).toBe(true);
        expect(await below.parent()).toBeNull();
        await below.close();
      }));

    test('counts the data of the parent from the beginning of time', async () => {
      const told = await rbdJson<object[]>('diff', `${pool}/${clone}`);
      expect(told.length).toBeGreaterThan(0);
      expect(await withImage(clone, (open) => changes(open, null))).toEqual(told);
    });

    test('a snapshot keeps its own overlap when the head shrinks, and its parent when the head is flattened', async () => {
      await rbd(['snap', 'create', '--no-progress', `${pool}/${clone}@wide`]);
      await rbd(['resize', '--no-progress', '--allow-shrink', '--size', '2M', `${pool}/${clone}`]);
      const head = await withImage(clone, (open) => open.info());
      expect(head.parent).toMatchObject({ image: parent, overlap: 2 * MiB });
      expect(head.snapshots[0]).toMatchObject({ name: 'wide', parentOverlap: 8 * MiB });
      const wide = await withImage(`${clone}@wide`, (open) => open.info());
      expect(wide).toMatchObject({ size: 8 * MiB, parent: { image: parent, overlap: 8 * MiB } });
      await rbd(['snap', 'create', '--no-progress', `${pool}/${clone}@narrow`]);
      const features = ['deep-flatten'];
      await rbd(['feature', 'disable', `${pool}/${clone}`, ...features]);
      await rbd(['flatten', '--no-progress', `${pool}/${clone}`]);
      await withImage(clone, async (open) => {
        expect((await open.info()).parent).toBeNull();
        expect(await open.parent()).toBeNull();
        expect((await contentOf(open)).equals(content.subarray(0, 2 * MiB))).toBe(true);
      });
      await withImage(`${clone}@wide`, async (open) => {
        const below = await open.parent();
        expect(below === null ? null : (await below.info()).snapshot?.name).toBe(
          (await rbdJson<RbdInfo>('info', `${pool}/${clone}@wide`)).parent?.snapshot ?? null,
        );
        await below?.close();
        expect((await contentOf(open)).subarray(0, content.length).equals(content)).toBe(true);
      });
    });
  });

  test('a clone whose parent snapshot went to the trash still opens it', async () => {
    await rbd(['create', `${pool}/elder`, '--size', '8M']);
    await fill('elder', noise(7, MiB));
    await rbd(['snap', 'create', '--no-progress', `${pool}/elder@base`]);
    await rbd(['clone', `${pool}/elder@base`, `${pool}/heir`, '--rbd-default-clone-format', '2']);
    await rbd(['snap', 'rm', '--no-progress', `${pool}/elder@base`]);
    await withImage('heir', async (open) => {
      const below = (await open.parent())!;
      expect((await below.info()).snapshot).toMatchObject({ namespace: 'trash' });
      expect((await contentOf(below)).subarray(0, MiB).equals(noise(7, MiB))).toBe(true);
      await below.close();
    });
    await expect(cluster.open(specOf('elder@base'))).rejects.toMatchObject({ code: 'notFound' });
    await rbd(['trash', 'mv', `${pool}/elder`]);
    await withImage('heir', async (open) => {
      expect((await open.info()).parent).toMatchObject({ image: 'elder' });
      const below = (await open.parent())!;
      expect((await contentOf(below)).subarray(0, MiB).equals(noise(7, MiB))).toBe(true);
      await below.close();
    });
  });

  test('snapshots of groups are told, but not opened by name', async () => {
    await rbd(['create', `${pool}/member`, '--size', '8M']);
    await rbd(['group', 'create', `${pool}/group`]);
    await rbd(['group', 'image', 'add', `${pool}/group`, `${pool}/member`]);
    await rbd(['group', 'snap', 'create', `${pool}/group@g1`]);
    const { snapshots } = await withImage('member', (open) => open.info());
    expect(snapshots).toMatchObject([{ namespace: 'group', name: expect.stringMatching(/^\.group\./) }]);
    await expect(cluster.open({ ...specOf('member'), snap: snapshots[0]!.name })).rejects.toMatchObject({
      code: 'notFound',
    });
  });

  test('an image of format 1 is read, too', async () => {
    const created = await run('rbd', ['create', `${pool}/old`, '--size', '9M', '--image-format', '1'], {
      env: { RBD_FORCE_ALLOW_V1: '1' },
    });
    expect(created).toMatchObject({ status: 0 });
    await fill('old', noise(8, 5 * MiB));
    await rbd(['snap', 'create', '--no-progress', `${pool}/old@one`]);
    await fill('old', noise(9, 100));
    const told = await rbdJson<RbdInfo>('info', `${pool}/old`);
    await withImage('old@one', async (open) => {
      const info = await open.info();
      expect(info).toMatchObject({
        format: 1,
        id: '',
        size: 9 * MiB,
        order: told.order,
        features: 0,
        objectPrefix: told.block_name_prefix,
        snapshot: { name: 'one', size: 9 * MiB, flags: 0, createdMs: null },
      });
      expect(await open.objectMap(null)).toBeNull();
      expect((await contentOf(open)).subarray(0, 5 * MiB).equals(noise(8, 5 * MiB))).toBe(true);
    });
    expect(await withImage('old', (open) => changes(open, 'one'))).toEqual(
      await rbdJson('diff', `${pool}/old`, '--from-snap', 'one'),
    );
    expect(await cluster.list(pool, '')).toContain('old');
    const writable = await cluster.openToWrite(specOf('old'));
    await writable.rollback('one');
    await writable.close();
    expect((await withImage('old', contentOf)).subarray(0, 5 * MiB).equals(noise(8, 5 * MiB))).toBe(true);
    expect([...(await cluster.metadata(specOf('old')))]).toEqual([]);
  });

  test('a mirror that is not primary is read, and refused to write with the reason', async () => {
    const { pool: mirrored, removePool } = await makePool();
    removals.push(removePool);
    await rbd(['create', `${mirrored}/image`, '--size', '8M']);
    await rbd(['mirror', 'pool', 'enable', mirrored, 'image']);
    await rbd(['mirror', 'image', 'enable', `${mirrored}/image`, 'snapshot']);
    await rbd(['mirror', 'image', 'demote', `${mirrored}/image`]);
    const spec = { pool: mirrored, namespace: '', image: 'image', snap: null };
    const image = await cluster.open(spec);
    expect((await image.info()).snapshots).toMatchObject([{ namespace: 'mirror' }, { namespace: 'mirror' }]);
    await image.read(0, Buffer.alloc(4096));
    await image.close();
    await expect(cluster.openToWrite(spec)).rejects.toMatchObject({
      code: 'readOnly',
      hint: expect.stringMatching(/mirror/),
    });
  });

  test('reading takes no lock and leaves no watcher', async () => {
    await rbd(['create', `${pool}/quiet`, '--size', '8M']);
    await fill('quiet', noise(1, MiB));
    await rbd(['snap', 'create', '--no-progress', `${pool}/quiet@one`]);
    for (const version of ['quiet', 'quiet@one']) {
      await withImage(version, async (open) => {
        await contentOf(open);
        await changes(open, null);
        expect(await rbdJson<{ watchers: object[] }>('status', `${pool}/quiet`)).toMatchObject({ watchers: [] });
        expect(await rbdJson('lock', 'ls', `${pool}/quiet`)).toEqual([]);
      });
    }
  });

  test('an image that somebody else is writing is written in turns', async () => {
    await rbd(['create', `${pool}/shared`, '--size', '8M']);
    const other = await connectCeph({});
    const one = await cluster.openToWrite(specOf('shared'));
    const two = await other.openToWrite(specOf('shared'));
    await one.write(0, noise(1, 4096));
    await two.write(4096, noise(2, 4096));
    await one.write(8192, noise(3, 4096));
    await two.createSnapshot('both');
    await one.close();
    await other.close();
    const expected = Buffer.concat([noise(1, 4096), noise(2, 4096), noise(3, 4096)]);
    expect((await withImage('shared@both', contentOf)).subarray(0, expected.length).equals(expected)).toBe(true);
  });

  test('an image that another client goes on writing is busy, and the message names the client', async () => {
    await rbd(['create', `${pool}/held`, '--size', '64M']);
    await rbd(['snap', 'create', '--no-progress', `${pool}/held@one`]);
    const image = await cluster.openToWrite(specOf('held'));
    const args = ['bench', '--io-type', 'write', '--io-size', '4K', '--io-threads', '1', '--io-total', '1G'];
    const bench = spawn('rbd', [...args, `${pool}/held`], { stdio: 'ignore' });
    const ended = once(bench, 'exit');
    try {
      while ((await rbdJson<object[]>('lock', 'ls', `${pool}/held`)).length === 0) await sleep(100);
      await expect(image.rollback('one')).rejects.toMatchObject({
        code: 'busy',
        message: expect.stringMatching(/in use by another client \(exclusive lock held by .*\d/),
        hint: expect.stringContaining(`rbdelta lock ls ${pool}/held`),
      });
    } finally {
      bench.kill('SIGKILL');
      await ended;
      await image.close();
    }
  });

  test('what is there already, or not there, is told by name', async () => {
    const label = `${pool}/named`;
    await rbd(['create', label, '--size', '8M']);
    const spec = specOf('named');
    await expect(cluster.create(spec, { size: MiB })).rejects.toMatchObject({
      code: 'exists',
      message: `there is already an image ${label}`,
    });
    const image = await cluster.openToWrite(spec);
    await image.createSnapshot('one');
    await expect(image.createSnapshot('one')).rejects.toMatchObject({ code: 'exists' });
    await image.protectSnapshot('one');
    await expect(image.removeSnapshot('one')).rejects.toMatchObject({
      code: 'busy',
      hint: `rbdelta snap unprotect ${label}@one`,
    });
    await image.unprotectSnapshot('one');
    const missing = {
      code: 'notFound',
      message: `there is no snapshot 'two' of ${label}`,
      hint: `its newest ones: one; rbdelta snap ls ${label} shows all`,
    };
    await expect(image.removeSnapshot('two')).rejects.toMatchObject(missing);
    await expect(image.protectSnapshot('two')).rejects.toMatchObject(missing);
    await expect(image.unprotectSnapshot('two')).rejects.toMatchObject(missing);
    await expect(image.rollback('two')).rejects.toMatchObject(missing);
    await image.close();
    await expect(cluster.remove(spec)).rejects.toMatchObject({
      code: 'notEmpty',
      message: `cannot remove the image ${label}: it has a snapshot`,
    });
  });

  test('a namespace that does not exist is notFound, an empty one is empty', async () => {
    await rbd(['namespace', 'create', `${pool}/empty`]);
    expect(await cluster.list(pool, 'empty')).toEqual([]);
    const missing = { code: 'notFound', message: `there is no namespace 'nosuch' in pool '${pool}'` };
    const spec = { pool, namespace: 'nosuch', image: 'image', snap: null };
    await expect(cluster.list(pool, 'nosuch')).rejects.toMatchObject(missing);
    await expect(cluster.open(spec)).rejects.toMatchObject(missing);
    await expect(cluster.create(spec, { size: MiB })).rejects.toMatchObject(missing);
    await rbd(['namespace', 'remove', `${pool}/empty`]);
  });

  test('thousands of questions about changes leave no callback behind', async () => {
    await rbd(['create', `${pool}/asked`, '--size', '8M']);
    await fill('asked', noise(1, MiB));
    const koffi = (await import('koffi')).default;
    await withImage('asked', async (open) => {
      for (let round = 0; round < 100; round++) {
        await Promise.all(
          Array.from({ length: 100 }, () => open.changedExtents(null, { offset: 0, length: 4 * MiB }, () => {})),
        );
      }
    });
    expect(koffi.stats().callbacks).toBe(0);
  });

  test('metadata and names are those that rbd shows', async () => {
    const name = 'größe & co';
    await cluster.create({ pool, namespace: 'team', image: name, snap: null }, { size: 8 * MiB, order: 20 });
    expect(await rbdJson('ls', `${pool}/team`)).toContain(name);
    expect(await cluster.list(pool, 'team')).toEqual((await rbdJson<string[]>('ls', `${pool}/team`)).toSorted());
    await rbd(['image-meta', 'set', `${pool}/team/${name}`, 'conf_rbd_cache', 'false']);
    await cluster.setMetadata({ pool, namespace: 'team', image: name, snap: null }, 'owner', 'jörg');
    const told = await rbdJson<Record<string, string>>('image-meta', 'ls', `${pool}/team/${name}`);
    expect(Object.fromEntries(await cluster.metadata({ pool, namespace: 'team', image: name, snap: null }))).toEqual(
      told,
    );
    await cluster.remove({ pool, namespace: 'team', image: name, snap: null });
    expect(await rbdJson('ls', `${pool}/team`)).not.toContain(name);
  });

  test('made with every option, an image is what rbd would have made', async () => {
    await cluster.create(
      { pool, namespace: '', image: 'made', snap: null },
      { size: 9 * MiB, order: 20, features: 0x3d, stripeUnit: 65536, stripeCount: 4, dataPool },
    );
    expect(await rbdJson<RbdInfo>('info', `${pool}/made`)).toMatchObject({
      size: 9 * MiB,
      order: 20,
      stripe_unit: 65536,
      stripe_count: 4,
      data_pool: dataPool,
    });
    await expect(
      cluster.create({ pool, namespace: '', image: 'made2', snap: null }, { size: 1, dataPool: 'no-such-pool' }),
    ).rejects.toMatchObject({ code: 'notFound', message: expect.stringContaining('no-such-pool') });
  });

  test('an object map of many MiB comes whole', async () => {
    // 2^50 bytes in objects of 4 KiB would be too many: this one has 32,768,000, a map of 8,192,000 bytes.
    await rbd(['create', `${pool}/vast`, '--size', '125G', '--object-size', '4K']);
    const map = (await withImage('vast', (open) => open.objectMap(null)))!;
    expect(map.length).toBe(18 + 8_192_000 + 12 + 4 * 2000);
  });
});

/** A full diff stream that writes these bytes at the start of an image, without changing its size. */
function asDiff(bytes: Buffer): Buffer {
  const head = Buffer.alloc(17);
  head.write('w');
  head.writeBigUInt64LE(BigInt(bytes.length), 9);
  return Buffer.concat([Buffer.from('rbd diff v1\n'), head, bytes, Buffer.from('e')]);
}
