// What the verbs of images and snapshots have besides names: ids, force, locks. On the local pool.

import { expect, test } from 'vitest';
import { openLocalPool } from '../../src/image/local/index.ts';
import { makeWorld } from './world.ts';

test('--image-id and --snap-id stand for names', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  for (const snap of ['a', 'b', 'c']) await ok(`snap create volumes/vm@${snap}`);
  await ok('snap protect volumes/vm@b');
  const { id } = JSON.parse(await ok('info --json volumes/vm'));
  expect(await ok(`info --image-id ${id} -p volumes`)).toBe(await ok('info volumes/vm'));
  expect(await ok(`snap ls --image-id ${id} -p volumes`)).toBe(await ok('snap ls volumes/vm'));
  await ok(`snap unprotect --image-id ${id} -p volumes --snap b`);
  await ok(`snap rm --image-id ${id} -p volumes --snap b`);
  const [{ id: snapId }] = JSON.parse(await ok('snap ls --json volumes/vm'));
  await ok(`snap rm volumes/vm --snap-id ${snapId}`);
  expect(JSON.parse(await ok('snap ls --json volumes/vm'))).toMatchObject([{ name: 'c' }]);
  await ok(`snap purge --image-id ${id} -p volumes`);
  expect(await ok('snap ls volumes/vm')).toBe('');

  expect(await run(`info --image-id ${id} volumes/vm`)).toMatchObject({ status: 22 });
  expect(await run(`info --image-id ${id} -p volumes --image vm`)).toMatchObject({ status: 22 });
  expect(await run(`info --image-id ${id} -p backups`)).toMatchObject({ status: 2 });
  expect(await run(`snap rm --image-id ${id} -p volumes`)).toMatchObject({ status: 22 });
  expect(await run('snap rm volumes/vm@c --snap-id 3')).toMatchObject({ status: 22 });
  expect(await run('snap rm volumes/vm --force --snap-id 3')).toMatchObject({ status: 22 });
  expect(await run('snap rm volumes/vm --snap-id 3')).toMatchObject({ status: 2 });
  expect(await run('snap rm volumes/vm --snap-id x')).toMatchObject({ status: 1 });
  expect(await run(`rm --image-id ${id} -p volumes`)).toMatchObject({ status: 1 });
});

test('snap rm --force removes what is protected', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  await ok('snap create volumes/vm@a');
  await ok('snap protect volumes/vm@a');
  expect(await run('snap rm volumes/vm@a')).toMatchObject({ status: 16 });
  expect(await run('snap rm --force volumes/vm@nosuch')).toMatchObject({ status: 2 });
  await ok('snap rm --force volumes/vm@a');
  expect(await ok('snap ls volumes/vm')).toBe('');
});

test('ls -l shows that an image is open to write', async () => {
  const { ok, env } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  await ok('snap create volumes/vm@a');
  const pool = await openLocalPool(env['RBDELTA_DIR'] ?? '');
  const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'vm', snap: null });
  const lines = (await ok('ls -l volumes')).split('\n');
  expect(lines[1]).toMatch(/^vm .* excl$/u);
  expect(lines[2]).toMatch(/^vm@a .* {4}$/u);
  expect(JSON.parse(await ok('ls -l volumes --json'))[0]).toMatchObject({ image: 'vm', lock_type: 'exclusive' });
  await image.close();
  await pool.close();
  expect(await ok('ls -l volumes')).not.toContain('excl');
});

test('journals and mirrors are for Ceph', async () => {
  const { run } = await makeWorld();
  for (const options of ['--mirror-image-mode snapshot', '--image-feature exclusive-lock,journaling']) {
    expect(await run(`create --size 1 volumes/vm ${options}`)).toMatchObject({ status: 95 });
  }
});

test('create --thick-provision takes all of the space, or leaves nothing behind', async () => {
  const { ok, run } = await makeWorld();
  const options = '--object-size 1M --stripe-unit 64K --stripe-count 2';
  await ok(`create volumes/thick --size 5M --thick-provision ${options}`);
  expect(JSON.parse(await ok('du volumes/thick --json'))).toMatchObject({ images: [{ used_size: 5 << 20 }] });
  expect(await run('create volumes/thick --size 5M --thick-provision')).toMatchObject({ status: 17 });
  await ok('pool set-quota volumes max_bytes 16M');
  expect(await run('create volumes/more --size 12M --thick-provision')).toMatchObject({ status: 122 });
  expect(await ok('ls volumes')).toBe('thick\n');
});
