// What README says of `--json` of the commands of a repository is what they print.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { makeWorld, type World } from './world.ts';

const readme = readFileSync(new URL('../../README.md', import.meta.url), 'utf8');

/** Fields of each command line that the table has; `?` at the end of those that may be absent. */
const table = new Map<string, string[]>();
const [, rows = ''] = readme.split('| `--json` of | fields |\n| --- | --- |\n');
for (const row of rows.slice(0, rows.indexOf('\n\n')).split('\n')) {
  const [, lines = '', fields = ''] = row.split('|');
  for (const [, line = ''] of lines.matchAll(/`([^`]+)`/gu))
    table.set(line, fields.replaceAll('`', '').trim().split(' '));
}

type Fields = Record<string, unknown>;

const checked = new Set<string>();

/** The object, or the first of the list, that the command line prints: it has the fields of `command`. */
async function printed({ run }: World, command: string, more: string, status = 0): Promise<Fields> {
  const result = await run(`${command} --json ${more}`);
  expect(result).toMatchObject({ status });
  const value = JSON.parse(result.stdout) as Fields | Fields[];
  const object = Array.isArray(value) ? value[0]! : value;
  const told = table.get(command) ?? [];
  const names = Object.keys(object);
  expect(told.map((name) => name.replace('?', ''))).toEqual(expect.arrayContaining(names));
  expect(names).toEqual(expect.arrayContaining(told.filter((name) => !name.endsWith('?'))));
  checked.add(command);
  return object;
}

test('every command of the table prints the fields that it names', async () => {
  const world = await makeWorld();
  const { ok, path } = world;
  await ok('repo init repo');
  await ok('repo init other --like repo');
  await ok('create --size 1 volumes/vm');
  await printed(world, 'backup', 'volumes/vm repo');
  await printed(world, 'backup --dry-run', 'volumes/vm repo');
  const { base } = await printed(world, 'backup', 'volumes/vm repo');
  expect(base).toEqual(expect.any(String));
  const [first] = JSON.parse(await ok('repo list --json repo'));
  await printed(world, 'repo list', 'repo');
  await printed(world, 'repo list --images', 'repo');
  await printed(world, 'repo show', 'repo vm@latest');
  await printed(world, 'repo verify', 'repo vm@latest');
  await printed(world, 'repo check', 'repo');
  await printed(world, 'repo stats', 'repo');
  await printed(world, 'repo pin', 'repo vm@latest');
  await printed(world, 'repo unpin', 'repo vm@latest');
  await printed(world, 'repo tag', '--tag blue repo vm@latest');
  await printed(world, 'restore --dry-run', 'repo vm@latest volumes/new');
  await printed(world, 'restore', 'repo vm@latest volumes/new');
  await printed(world, 'repo copy --dry-run', 'repo other');
  const { copied } = await printed(world, 'repo copy', 'repo other');
  expect(copied).toMatchObject([{ point: first.point, stored_bytes: expect.any(Number) }, { base: first.point }]);
  await printed(world, 'repo flatten --dry-run', 'other vm@latest');
  await printed(world, 'repo flatten', 'other vm@latest');
  await printed(world, 'repo forget --dry-run', `repo ${first.point}`);
  await printed(world, 'repo prune --dry-run', 'repo --keep-last 1');
  await printed(world, 'repo prune', 'repo --keep-last 1');
  await printed(world, 'repo forget', 'repo vm@latest');
  writeFileSync(path('other/volumes/vm/catalog.json'), '{');
  await printed(world, 'repo repair', 'other');
  const lock = { format: 1, owner: { host: 'elsewhere', pid: 7, startTime: null, id: 'abcd' }, operation: 'backup' };
  const held = { ...lock, acquired: new Date().toISOString(), leaseSeconds: 300 };
  mkdirSync(path('other/volumes/vm/lock'), { recursive: true });
  writeFileSync(path('other/volumes/vm/lock/abcd.json'), JSON.stringify(held));
  await printed(world, 'repo unlock', 'other');
  expect([...checked].sort()).toEqual([...table.keys()].sort());
  // What failed tells why.
  const failed = JSON.parse((await world.run('repo prune other --keep-last 1 --json')).stdout);
  expect(Object.keys(failed[0])).toEqual(['image', 'status', 'error']);
});
