// cp and deep cp on the command line, on local pools. What they print and how they end beside rbd: interop/verbs.test.ts.

import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { noise } from '../kit/noise.ts';
import { makeWorld, type World } from './world.ts';

async function withImage(): Promise<World> {
  const world = await makeWorld();
  await writeFile(world.path('raw'), noise(1, 3 << 20));
  await world.ok('import --object-size 1M raw volumes/vm');
  await world.ok('snap create volumes/vm@monday');
  await world.ok('resize --size 5M volumes/vm');
  return world;
}

const json = async ({ ok }: World, line: string) => JSON.parse(await ok(line));

test('cp: options name what positionals name, and what the copy is', async () => {
  const world = await withImage();
  const names = '--pool volumes --image vm --snap monday --dest-pool backups --dest vm-2';
  expect(await world.ok(`cp ${names} --object-size 512K --image-feature layering --sparse-size 64K`)).toBe('');
  expect(await json(world, 'info --json backups/vm-2')).toMatchObject({
    size: 3 << 20,
    object_size: 512 << 10,
    features: ['layering'],
    snapshot_count: 0,
  });
  await world.ok('export backups/vm-2 copied');
  expect((await readFile(world.path('copied'))).equals(await readFile(world.path('raw')))).toBe(true);
  expect(await world.run(`cp ${names}`)).toMatchObject({ status: 17, stderr: expect.stringContaining('hint: ') });
  expect(await world.run('cp volumes/vm')).toMatchObject({ status: 22 });
  expect(await world.run('cp volumes/vm backups/vm-3@monday')).toMatchObject({ status: 22 });
  expect(await world.run('cp volumes/vm@tuesday backups/vm-3')).toMatchObject({ status: 2 });
  expect(await world.run('cp volumes/vm backups/a/b/c')).toMatchObject({ status: 22 });
});

test('deep cp: snapshots come along, and of a clone the parent, unless it is flattened', async () => {
  const world = await withImage();
  await world.ok('deep copy volumes/vm volumes/vm-2');
  expect(await json(world, 'snap ls --json volumes/vm-2')).toMatchObject([{ name: 'monday', size: 3 << 20 }]);
  await world.ok('snap protect volumes/vm@monday');
  await world.ok('clone volumes/vm@monday volumes/clone');
  await world.ok('deep cp volumes/clone volumes/clone-2');
  await world.ok('deep cp --rbd-default-clone-format 2 volumes/clone volumes/clone-3');
  await world.ok('deep cp --flatten volumes/clone volumes/clone-4');
  expect(await world.ok('children volumes/vm@monday')).toBe('volumes/clone\nvolumes/clone-2\nvolumes/clone-3\n');
  expect((await json(world, 'info --json volumes/clone-2')).op_features).toEqual([]);
  expect((await json(world, 'info --json volumes/clone-3')).op_features).toEqual(['clone-child']);
});

test('--dest-cluster-dir: the copy goes to another local pool', async () => {
  const world = await withImage();
  const there = `--cluster-dir ${world.path('other')}`;
  await world.ok(`${there} pool create volumes`);
  const dest = `--dest-cluster-dir ${world.path('other')}`;
  await world.ok(`cp ${dest} volumes/vm volumes/flat`);
  await world.ok(`deep cp ${dest} volumes/vm volumes/vm`);
  expect(await world.ok(`${there} ls volumes`)).toBe('flat\nvm\n');
  expect(await world.ok(`${there} diff volumes/vm`)).toBe(await world.ok('diff volumes/vm'));
  expect(await world.ok('ls volumes')).toBe('vm\n');
  await world.ok('snap protect volumes/vm@monday');
  await world.ok('clone volumes/vm@monday volumes/clone');
  expect(await world.run(`deep cp ${dest} volumes/clone volumes/clone`)).toMatchObject({
    status: 95,
    stderr: expect.stringContaining('--flatten'),
  });
  await world.ok(`deep cp --flatten ${dest} volumes/clone volumes/clone`);
  expect(await world.run(`cp ${dest} --dest-conf x volumes/vm volumes/vm-2`)).toMatchObject({ status: 1 });
});
