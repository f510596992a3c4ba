// The directory of a local pool, its pools and namespaces, and what may be seen inside.

import { cp, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { directoryValue, idData } from '../../../src/format/rbd-header.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';

let dir: string;
let opened: LocalPool[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-pool-'));
  opened = [];
});
afterEach(async () => {
  for (const pool of opened) await pool.close();
  await rm(dir, { recursive: true });
});

async function open(path = dir): Promise<LocalPool> {
  const pool = await openLocalPool(path);
  opened.push(pool);
  return pool;
}
const at = (image: string, namespace = '', pool = 'volumes') => ({ pool, namespace, image, snap: null });

describe('the directory', () => {
  test('that is not there counts as one without pools, and stays as it is until the first is made', async () => {
    const path = join(dir, 'deep', 'pool');
    const pool = await open(path);
    expect(await pool.pools()).toEqual([]);
    await expect(pool.open(at('disk'))).rejects.toMatchObject({ code: 'notFound', hint: 'rbdelta pool create NAME' });
    expect(await readdir(dir)).toEqual([]);
    await pool.createPool('volumes');
    expect(await (await open(path)).pools()).toEqual(['volumes']);
  });

  test('with other files in it is left alone', async () => {
    await writeFile(join(dir, 'letter.txt'), 'Dear');
    await expect(openLocalPool(dir)).rejects.toMatchObject({ code: 'invalid' });
    await expect(openLocalPool(join(dir, 'letter.txt'))).rejects.toMatchObject({ code: 'invalid' });
  });

  test('of a newer version is refused as unsupported, of none as corrupt', async () => {
    const marker = join(dir, 'rbdelta-pool.json');
    await writeFile(marker, '{"format":"rbdelta local pool","version":2}');
    await expect(openLocalPool(dir)).rejects.toMatchObject({ code: 'unsupported' });
    await writeFile(marker, '{"form');
    await expect(openLocalPool(dir)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('that has lost its database is refused as corrupt, as long as it has files of objects', async () => {
    const pool = await openLocalPool(dir);
    await pool.createPool('volumes');
    await pool.create(at('disk'), { size: 4096 });
    const image = await pool.openToWrite(at('disk'));
    await image.write(0, Buffer.from('data'));
    await image.close();
    await pool.close();
    const lost = { code: 'corrupt', message: expect.stringMatching(/database .*data\.mdb is gone$/) as string };
    await rm(join(dir, 'omap'), { recursive: true });
    await expect(openLocalPool(dir)).rejects.toMatchObject(lost);
    expect(await readdir(dir)).not.toContain('omap');
    await mkdir(join(dir, 'omap'));
    await writeFile(join(dir, 'omap', 'data.mdb'), '');
    await expect(openLocalPool(dir)).rejects.toMatchObject(lost);
  });

  test('goes on from wherever the making of it was interrupted', async () => {
    await writeFile(join(dir, 'rbdelta-pool.json.new'), '');
    const made = await openLocalPool(dir);
    await made.createPool('volumes');
    await made.close();
    await rm(join(dir, 'omap'), { recursive: true });
    expect(await (await open()).pools()).toEqual([]);
    const other = join(dir, 'other');
    await mkdir(join(other, 'omap'), { recursive: true });
    await cp(join(dir, 'rbdelta-pool.json'), join(other, 'rbdelta-pool.json'));
    await writeFile(join(other, 'omap', 'data.mdb'), '');
    const pool = await open(other);
    await pool.createPool('volumes');
    expect(await pool.pools()).toEqual(['volumes']);
  });

  test('may be open twice: closing one leaves the other', async () => {
    const first = await openLocalPool(dir);
    await first.createPool('volumes');
    const second = await open();
    await first.close();
    await second.create(at('disk'), { size: 4096 });
    expect(await second.list('volumes', '')).toEqual(['disk']);
  });

  test('has no path that was made from a name', async () => {
    const pool = await open();
    await pool.createPool('..');
    const spec = { pool: '..', namespace: '', image: '..\\etc', snap: null };
    await pool.create(spec, { size: 8192, order: 12 });
    const image = await pool.openToWrite(spec);
    await image.write(0, Buffer.from('x'));
    await image.createSnapshot('../../out');
    await image.write(0, Buffer.from('y'));
    await image.close();
    const names = (await readdir(dir, { recursive: true })).filter((name) => name.startsWith('objects/'));
    for (const name of names) expect(name).toMatch(/^objects(\/[0-9a-f.-]+)+$/);
    expect(names.length).toBeGreaterThan(0);
  });
});

describe('pools', () => {
  test('have ids that rise and never come again', async () => {
    const pool = await open();
    expect([await pool.createPool('a'), await pool.createPool('b')]).toEqual([1, 2]);
    await pool.removePool('b');
    expect(await pool.createPool('b')).toBe(3);
    expect(await pool.poolId('b')).toBe(3);
    expect(await pool.pools()).toEqual(['a', 'b']);
    await expect(pool.createPool('a')).rejects.toMatchObject({ code: 'exists' });
    await expect(pool.list('c', '')).rejects.toMatchObject({ code: 'notFound', hint: 'rbdelta pool create c' });
    for (const name of ['', 'a/b', 'a@b', 'a\0b', 'x'.repeat(1025)]) {
      await expect(pool.createPool(name)).rejects.toMatchObject({ code: 'invalid' });
    }
  });

  test('with an image that is open to write are not removed by force, and their other images stay free', async () => {
    const pool = await open();
    await pool.createPool('volumes');
    for (const image of ['a', 'b', 'c']) await pool.create(at(image), { size: 4096, order: 12 });
    const writer = await pool.openToWrite(at('b'));
    await expect(pool.removePool('volumes', { force: true })).rejects.toMatchObject({ code: 'busy' });
    for (const image of ['a', 'c']) await (await pool.openToWrite(at(image))).close();
    await writer.close();
    await pool.removePool('volumes', { force: true });
    expect(await pool.pools()).toEqual([]);
  });

  test('with images, or with the data of images, are removed only when forced', async () => {
    const pool = await open();
    await pool.createPool('volumes');
    await pool.createPool('data');
    await pool.create(at('disk'), { size: 8192, order: 12, dataPool: 'data' });
    const image = await pool.openToWrite(at('disk'));
    await image.write(0, Buffer.from('x'));
    await image.createSnapshot('s');
    await image.close();
    await expect(pool.removePool('volumes')).rejects.toMatchObject({ code: 'notEmpty' });
    await expect(pool.removePool('data')).rejects.toMatchObject({ code: 'notEmpty' });
    await pool.removePool('data', { force: true });
    expect(await pool.list('volumes', '')).toEqual([]);
    await pool.removePool('volumes');
    expect(await pool.sweep()).toEqual({ files: 0, bytes: 0 });
  });

  test('have namespaces, each with its own images', async () => {
    const pool = await open();
    await pool.createPool('volumes');
    await expect(pool.create(at('disk', 'tenant'), { size: 4096 })).rejects.toMatchObject({ code: 'notFound' });
    await pool.createNamespace('volumes', 'tenant');
    await expect(pool.createNamespace('volumes', 'tenant')).rejects.toMatchObject({ code: 'exists' });
    await pool.create(at('disk', 'tenant'), { size: 4096 });
    await pool.create(at('disk'), { size: 8192 });
    expect(await pool.namespaces('volumes')).toEqual(['tenant']);
    expect(await pool.list('volumes', 'tenant')).toEqual(['disk']);
    expect((await (await pool.open(at('disk', 'tenant'))).info()).size).toBe(4096);
    await expect(pool.removeNamespace('volumes', 'tenant')).rejects.toMatchObject({ code: 'busy' });
    await pool.remove(at('disk', 'tenant'));
    await pool.removeNamespace('volumes', 'tenant');
    expect(await pool.list('volumes', '')).toEqual(['disk']);
  });
});

test('an image of more objects than an object map may have is refused, without one it is not', async () => {
  const pool = await open();
  await pool.createPool('volumes');
  const size = 256_000_001 * 4096;
  await expect(pool.create(at('disk'), { size, order: 12 })).rejects.toMatchObject({ code: 'tooLarge' });
  await pool.create(at('disk'), { size: size - 4096, order: 12 });
  const image = await pool.openToWrite(at('disk'));
  await expect(image.resize(size)).rejects.toMatchObject({ code: 'tooLarge' });
  await image.close();
  await pool.create(at('mapless'), { size, order: 12, features: 0x1 });
});

test.each([
  ['an order that is too small', { order: 11 }],
  ['an order that is too large', { order: 26 }],
  ['a stripe unit that does not divide the object', { stripeUnit: 3000, stripeCount: 2 }],
  ['a negative size', { size: -1 }],
  ['an object map without the exclusive lock', { features: 0x9 }],
  ['fast-diff without an object map', { features: 0x15 }],
])('%s is refused as invalid', async (_what, options) => {
  const pool = await open();
  await pool.createPool('volumes');
  await expect(pool.create(at('disk'), { size: 8192, ...options })).rejects.toMatchObject({ code: 'invalid' });
  expect(await pool.list('volumes', '')).toEqual([]);
});

test('what is inside has the names and values that RADOS would have', async () => {
  const pool = await open();
  await pool.createPool('volumes');
  await pool.createPool('data');
  await pool.create(at('disk'), { size: 3 * 4096, order: 12, dataPool: 'data' });
  const image = await pool.openToWrite(at('disk'));
  await image.write(4096, Buffer.alloc(512, 'x'));
  const { id } = await image.info();
  await image.createSnapshot('s');
  await image.close();
  expect(await pool.objects('volumes')).toEqual([
    { namespace: '', name: 'rbd_directory', bytes: 0 },
    { namespace: '', name: `rbd_header.${id}`, bytes: 0 },
    { namespace: '', name: 'rbd_id.disk', bytes: 16 },
    { namespace: '', name: 'rbd_info', bytes: 19 },
    { namespace: '', name: `rbd_object_map.${id}`, bytes: 35 },
    { namespace: '', name: `rbd_object_map.${id}.0000000000000001`, bytes: 35 },
  ]);
  expect(await pool.objects('data')).toEqual([
    { namespace: '', name: `rbd_data.1.${id}.0000000000000001`, bytes: 512 },
    { namespace: '', name: 'rbd_info', bytes: 19 },
  ]);
  expect(await pool.omap('volumes', '', 'rbd_directory')).toEqual(
    new Map([
      [`id_${id}`, directoryValue.encode('disk')],
      ['name_disk', idData.encode(id)],
    ]),
  );
  expect([...(await pool.omap('volumes', '', `rbd_header.${id}`)).keys()]).toEqual([
    'access_timestamp',
    'create_timestamp',
    'data_pool_id',
    'features',
    'modify_timestamp',
    'object_prefix',
    'order',
    'size',
    'snap_seq',
    'snapshot_0000000000000001',
  ]);
});

test('sweep removes files that nothing names, and nothing of an image that is being written', async () => {
  const pool = await open();
  await pool.createPool('volumes');
  await pool.create(at('disk'), { size: 8192, order: 12 });
  const image = await pool.openToWrite(at('disk'));
  await image.write(0, Buffer.from('kept'));
  const { id } = await image.info();
  const own = join(dir, 'objects', '1', id, '000000');
  await writeFile(join(own, '0000000000000001.63-1'), 'left');
  const gone = join(dir, 'objects', '1', 'abcdef');
  await mkdir(gone);
  await writeFile(join(gone, '0000000000000000.1-1'), 'left');
  expect(await pool.sweep()).toEqual({ files: 1, bytes: 4 });
  await image.close();
  expect(await pool.sweep()).toEqual({ files: 1, bytes: 4 });
  const read = Buffer.alloc(4);
  await (await pool.open(at('disk'))).read(0, read);
  expect(read.toString()).toBe('kept');
});
