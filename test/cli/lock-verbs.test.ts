// lock ls, add and rm on the command line, on the local pool. What they print beside rbd: interop/verbs.test.ts.

import { expect, test } from 'vitest';
import { openLocalPool } from '../../src/image/local/index.ts';
import { makeWorld } from './world.ts';

test('a lock outlives who took it, keeps others from writing, and is taken off by name', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  expect(await ok('lock ls volumes/vm')).toBe('');
  await ok('lock add volumes/vm work', {});
  const [lock] = JSON.parse(await ok('lock ls --json volumes/vm'));
  expect(lock).toEqual({ id: 'work', locker: expect.stringMatching(/^client\.\d+$/u), address: '-' });
  expect(await ok('lock ls volumes/vm')).toContain('There is 1 exclusive lock on this image.\n');
  for (const line of [
    'resize --size 2 volumes/vm',
    'rm volumes/vm',
    'trash mv volumes/vm',
    'snap create volumes/vm@a',
  ]) {
    expect(await run(line)).toMatchObject({ status: 30, stderr: expect.stringContaining(`'work' ${lock.locker}`) });
  }
  expect(await run('lock add volumes/vm other')).toMatchObject({ status: 16 });
  await ok('export volumes/vm copied');
  await ok(`lock rm volumes/vm work ${lock.locker}`);
  expect(await run(`lock rm volumes/vm work ${lock.locker}`)).toMatchObject({ status: 2 });
  await ok('resize --size 2 volumes/vm');
});

test('shared locks have a tag', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  await ok('lock add --shared readers volumes/vm a');
  await ok('lock add volumes/vm b --shared readers');
  const shown = await ok('lock ls volumes/vm');
  expect(shown).toMatch(/^There are 2 shared locks on this image\.\nLock tag: readers\nLocker +ID +Address *\n/u);
  expect(await run('lock add --shared writers volumes/vm c')).toMatchObject({ status: 16 });
  expect(await ok('ls -l volumes')).toContain('shr');
});

test('who has the image open to write is shown as the holder of a lock', async () => {
  const { ok, run, env } = await makeWorld();
  await ok('create --size 1 volumes/vm');
  const pool = await openLocalPool(env['RBDELTA_DIR'] ?? '');
  const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'vm', snap: null });
  const [lock] = JSON.parse(await ok('lock ls --json volumes/vm'));
  expect(lock).toEqual({ id: expect.stringMatching(/^auto \d+$/u), locker: `client.${process.pid}`, address: '-' });
  expect(await run(['lock', 'rm', 'volumes/vm', lock.id, lock.locker])).toMatchObject({ status: 16 });
  await image.close();
  await pool.close();
  expect(await ok('lock ls volumes/vm')).toBe('');
});
