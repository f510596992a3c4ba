// Commands of a repository over several images: one that fails does not keep the others from being done.

import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { noise } from '../kit/noise.ts';
import { makeWorld, type World } from './world.ts';

/** `volumes/a` and `volumes/b` with two points each in `repo`, and an empty repository `other`. */
async function withImages(): Promise<World & { ids: (image: string, repo?: string) => Promise<string[]> }> {
  const world = await makeWorld();
  await world.ok('repo init repo');
  await world.ok('repo init other --like repo');
  for (const name of ['a', 'b']) await world.ok(`create --size 1 volumes/${name}`);
  for (let i = 0; i < 2; i++) await world.ok('backup volumes/a volumes/b repo');
  const ids = async (image: string, repo = 'repo'): Promise<string[]> =>
    JSON.parse(await world.ok(`repo list --json ${repo} ${image}`)).map(({ point }: { point: string }) => point);
  return { ...world, ids };
}

/** As if another host were writing. */
function lock({ path }: World, folder: string): void {
  mkdirSync(path(`${folder}/lock`), { recursive: true });
  const owner = { host: 'elsewhere', pid: 7, startTime: null, id: 'abcd' };
  const acquired = new Date().toISOString();
  const file = { format: 1, owner, operation: 'backup', acquired, leaseSeconds: 300 };
  writeFileSync(path(`${folder}/lock/abcd.json`), `${JSON.stringify(file)}\n`);
}

const locked = { image: 'volumes/a', status: 16, error: expect.stringContaining('elsewhere') };

test('repo prune prunes the rest when one image is locked', async () => {
  const world = await withImages();
  lock(world, 'repo/volumes/a');
  const { status, stdout, stderr } = await world.run('repo prune repo --keep-last 1 --json');
  expect(status).toBe(16);
  expect(JSON.parse(stdout)).toEqual([
    locked,
    {
      image: 'volumes/b',
      status: 0,
      removed: [expect.any(String)],
      freed_bytes: expect.any(Number),
      rewritten: [expect.anything()],
    },
  ]);
  expect(stderr).toMatch(/^rbdelta: volumes\/a: .*elsewhere.*\n(hint: .*\n)?rbdelta: volumes\/b: 1 point removed/);
  expect(await world.ids('volumes/a')).toHaveLength(2);
  expect(await world.ids('volumes/b')).toHaveLength(1);
  const missing = await world.run('repo prune repo nosuch volumes/b --keep-last 1 --json');
  expect(missing).toMatchObject({ status: 2 });
  expect(JSON.parse(missing.stdout)).toMatchObject([
    { image: 'nosuch', status: 2, error: expect.any(String) },
    { image: 'volumes/b', status: 0, removed: [] },
  ]);
});

test('repo forget forgets the rest when one image is locked, or one point is not there', async () => {
  const world = await withImages();
  lock(world, 'repo/volumes/a');
  const line = 'repo forget repo b@nosuch a@latest b@latest --json';
  const { status, stdout } = await world.run(line);
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject([
    { image: 'b@nosuch', status: 2 },
    locked,
    { image: 'volumes/b', status: 0 },
  ]);
  expect(await world.ids('volumes/a')).toHaveLength(2);
  expect(await world.ids('volumes/b')).toHaveLength(1);
});

test('repo copy copies the rest when one image is locked there', async () => {
  const world = await withImages();
  lock(world, 'other/volumes/a');
  const { status, stdout } = await world.run('repo copy repo other --json');
  expect(status).toBe(16);
  const [first, second] = await world.ids('volumes/b');
  const stored_bytes = expect.any(Number);
  expect(JSON.parse(stdout)).toEqual([
    locked,
    {
      image: 'volumes/b',
      status: 0,
      copied: [
        { point: first, stored_bytes },
        { point: second, base: first, stored_bytes },
      ],
    },
  ]);
});

test('repo copy that fails half-way tells what was copied', async () => {
  const world = await withImages();
  writeFileSync(world.path('raw'), noise(1, 100_000));
  await world.ok('import raw volumes/c');
  await world.ok('backup volumes/c repo');
  await world.ok('backup volumes/c repo --full');
  const [first, second] = await world.ids('volumes/c');
  const path = world.path(`repo/volumes/c/${second}/000000.rbdiff.zst`);
  const bytes = readFileSync(path);
  bytes[bytes.length >> 1]! ^= 1;
  writeFileSync(path, bytes);
  await world.ok('repo init another');
  const { status, stdout, stderr } = await world.run('repo copy repo another volumes/c --json');
  expect(status).toBe(74);
  const error = expect.stringContaining(`${second}/000000.rbdiff.zst`);
  const copied = [{ point: first, stored_bytes: expect.any(Number) }];
  expect(JSON.parse(stdout)).toEqual([{ image: 'volumes/c', status: 74, error, copied }]);
  expect(stderr).toMatch(/^rbdelta: volumes\/c: copied 1 point, .*\nrbdelta: volumes\/c: .*\n/);
  expect(await world.ids('volumes/c', 'another')).toEqual([first]);
});

test('repo prune by a tag that no point of an image has leaves that image alone', async () => {
  const world = await withImages();
  await world.ok('repo tag --tag monthly repo b@latest');
  const { status, stdout, stderr } = await world.run('repo prune repo --keep-tag monthly --json');
  expect(status).toBe(22);
  const error = expect.stringContaining('no rule keeps any point');
  expect(JSON.parse(stdout)).toMatchObject([
    { image: 'volumes/a', status: 22, error },
    { image: 'volumes/b', status: 0, removed: [expect.any(String)] },
  ]);
  expect(stderr).toMatch(/^rbdelta: volumes\/a: no rule keeps any point.*\nhint: .*repo forget/);
  expect(await world.ids('volumes/a')).toHaveLength(2);
  expect(await world.run('repo prune repo volumes/a --keep-tag monthly --dry-run')).toMatchObject({ status: 22 });
});

test('backup backs up the rest when a pattern matches nothing', async () => {
  const world = await withImages();
  const { status, stdout, stderr } = await world.run(['backup', 'volumes/none-*', 'volumes/b', 'repo', '--json']);
  expect(status).toBe(2);
  expect(JSON.parse(stdout)).toMatchObject([
    { image: 'volumes/none-*', status: 2, error: 'no image matches "volumes/none-*"' },
    { image: 'volumes/b', status: 0, method: 'increment' },
  ]);
  expect(stderr).toMatch(/^rbdelta: volumes\/none-\*: no image matches .*\nhint: .*\nrbdelta: volumes\/b: /);
  expect(await world.ids('volumes/b')).toHaveLength(3);
});

test('backup that goes on with an interrupted one tells of both points, also when the second fails', async () => {
  const { ok, run, path, ...world } = await withImages();
  writeFileSync(path('raw'), noise(1, 300_000));
  await ok('import raw volumes/c');
  // A failure behind the snapshot leaves what the next run goes on with.
  expect(await run('backup volumes/c repo --post false')).toMatchObject({ status: 5 });
  const half = await run('backup volumes/c repo --pre false --json');
  expect(half.status).toBe(5);
  const [first] = await world.ids('volumes/c');
  const full = { point: first, method: 'full', data_bytes: expect.any(Number), fingerprint: expect.any(String) };
  const error = expect.stringContaining("--pre 'false'");
  const [failed] = JSON.parse(half.stdout);
  expect(failed).toEqual({ image: 'volumes/c', status: 5, error, resumed: expect.objectContaining(full) });
  expect(failed.resumed.read_bytes).toBeGreaterThan(100_000);
  expect(half.stderr).toMatch(new RegExp(`\nrbdelta: volumes/c: ${first} .* stored, .*\nrbdelta: volumes/c: --pre`));

  expect(await run('backup volumes/c repo --post false')).toMatchObject({ status: 5 });
  const { status, stdout, stderr } = await run('backup volumes/c repo --json');
  const [, second, third] = await world.ids('volumes/c');
  expect({ status, all: JSON.parse(stdout) }).toMatchObject({
    status: 0,
    all: [{ image: 'volumes/c', point: third, base: second, resumed: { point: second, base: first } }],
  });
  expect(stderr).toMatch(new RegExp(`${second} .*\nrbdelta: volumes/c: ${third} `));
});

test('dry runs tell in json what the run would do, in the same shape', async () => {
  const world = await withImages();
  const [first, second] = await world.ids('volumes/a');
  const json = async (line: string): Promise<unknown> => JSON.parse(await world.ok(line));
  const plan = {
    image: 'volumes/a',
    status: 0,
    remove: [first],
    freed_bytes: expect.any(Number),
    rewrite: [{ point: second, absorbs: [first] }],
  };
  expect(await json(`repo forget repo ${first} --dry-run --json`)).toEqual([plan]);
  expect(await json('repo prune repo volumes/a --keep-last 1 --dry-run --json')).toEqual([
    { ...plan, keep: [{ point: second, reasons: expect.any(Array) }] },
  ]);
  expect(await json('repo copy repo other volumes/a --dry-run --json')).toEqual([
    { image: 'volumes/a', status: 0, copy: [{ point: first }, { point: second, base: first }] },
  ]);
  expect(readdirSync(world.path('other'))).toEqual(['rbdelta.json']);
  const flat = { image: 'volumes/a', rewrite: [{ point: second, absorbs: [first] }] };
  expect(await json('repo flatten repo a@latest --dry-run --json')).toEqual(flat);
  expect(await json('repo flatten repo a@latest --json')).toMatchObject({
    image: 'volumes/a',
    rewritten: [{ point: second, stored_bytes: expect.any(Number) }],
  });
  expect(await json('repo flatten repo a@latest --json')).toEqual({ image: 'volumes/a', rewritten: [] });
  expect(await json('repo flatten repo a@latest --dry-run --json')).toEqual({ image: 'volumes/a', rewrite: [] });
});
