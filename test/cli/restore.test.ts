// `restore` and `repo verify` as they are called.

import { spawnSync } from 'node:child_process';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { rbdeltaOk } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { makeWorld, type World } from './world.ts';

const size = 1 << 20;

/** Two points of volumes/vm in `repo`: their contents and ids. */
async function makePoints(world: World): Promise<{ contents: Buffer[]; ids: string[] }> {
  const { ok, path } = world;
  await ok('repo init repo');
  const first = noise(1, size);
  const second = Buffer.from(first);
  second.fill(0, 100_000, 300_000);
  second.write('hello', 700_000);
  await writeFile(path('raw'), first);
  await ok('import raw volumes/vm');
  await ok('backup volumes/vm repo');
  await writeFile(path('raw2'), second);
  await ok('export-diff file:raw2 raw2.rbdiff');
  await ok('import-diff --overwrite raw2.rbdiff volumes/vm');
  await ok('backup volumes/vm repo');
  const ids = (await readdir(path('repo/volumes/vm'))).filter((name) => /^\d/.test(name)).sort();
  return { contents: [first, second], ids };
}

const contentOf = async (world: World, image: string): Promise<Buffer> => {
  const path = world.path('content');
  await rm(path, { force: true });
  await world.ok(`export ${image} content`);
  return readFile(path);
};

test('a new image, a file, an image in place; what is named and how it is refused', async () => {
  const world = await makeWorld();
  const { ok, run, path } = world;
  const { contents, ids } = await makePoints(world);
  expect(await run(['restore', 'repo', 'volumes/vm@latest', 'backups/new'])).toEqual({
    status: 0,
    stdout: '',
    stderr: expect.stringMatching(/^rbdelta: restored .* of volumes\/vm: .* fetched, .* written, [\d.]+ s\n$/),
  });
  expect(contents[1]!.equals(await contentOf(world, 'backups/new'))).toBe(true);
  await ok(`restore repo ${ids[0]} file:old.raw`);
  expect(contents[0]!.equals(await readFile(path('old.raw')))).toBe(true);

  const there = await run('restore repo vm@latest volumes/vm');
  expect(there).toMatchObject({ status: 17, stderr: expect.stringMatching(/already\nhint: .*--in-place/) });
  const noPoint = await run('restore repo vm@1999-01-01 backups/x');
  expect(noPoint).toMatchObject({ status: 2, stderr: expect.stringContaining(ids[0]!) });
  expect(await run('restore repo vm@latest /tmp/x')).toMatchObject({
    status: 22,
    stderr: expect.stringContaining('hint: a file is file:/tmp/x'),
  });
  expect(await run('restore repo vm@latest')).toMatchObject({ status: 22 });
  expect(await run('restore repo')).toMatchObject({ status: 22 });
  expect(await run('restore repo vm@latest backups/x@snap')).toMatchObject({
    status: 22,
    stderr: expect.stringMatching(/ is a snapshot: .*\nhint: backups\/x, /),
  });

  const result = JSON.parse(await ok(`restore --in-place --json repo ${ids[0]} volumes/vm`));
  expect(result).toMatchObject({ point: ids[0], image: 'volumes/vm', size, chain: 1 });
  expect(result.written_bytes).toBeLessThanOrEqual(result.differing_blocks * 65536);
  expect(result.differing_blocks).toBe(5);
  expect(contents[0]!.equals(await contentOf(world, 'volumes/vm'))).toBe(true);
});

test('a point that cannot be read does not keep others back', async () => {
  const world = await makeWorld();
  const { ok, run, path } = world;
  const { contents, ids } = await makePoints(world);
  await rm(path('repo/volumes/vm/catalog.json'));
  await writeFile(path(`repo/volumes/vm/${ids[1]}/manifest.json`), '{');
  for (const point of [ids[0]!, 'vm@latest']) {
    await rm(path('old.raw'), { force: true });
    const { status, stderr } = await run(`restore repo ${point} file:old.raw`);
    expect({ status, stderr }).toEqual({
      status: 0,
      stderr: expect.stringMatching(/manifest\.json.*rbdelta repo check/s),
    });
    expect(contents[0]!.equals(await readFile(path('old.raw')))).toBe(true);
    await ok(`repo cat repo ${point} old.rbdiff`);
    await rm(path('old.rbdiff'));
    await ok(`repo show repo ${point}`);
  }
  expect(await run(`restore --force repo ${ids[0]} file:new.raw`)).toMatchObject({ status: 1 });
});

test('a dry run says what would be fetched, and writes nothing', async () => {
  const world = await makeWorld();
  const { ok } = world;
  const { contents, ids } = await makePoints(world);
  const text = await ok('restore --dry-run repo vm@latest backups/new');
  expect(text.split('\n')[0]).toBe(`volumes/vm at ${ids[1]}: 1 MiB, a chain of 2`);
  expect(text).toContain('\nto a new backups/new\n');
  expect(text).toMatch(/^to fetch: .* in 1 frame; to write: .*$/m);
  expect(await ok('ls backups')).toBe('');
  const plan = JSON.parse(await ok(`restore --dry-run --in-place --json repo ${ids[0]} volumes/vm`));
  expect(plan).toMatchObject({ differing_blocks: 5, chain: 1, from: [{ point: ids[0] }] });
  expect(contents[1]!.equals(await contentOf(world, 'volumes/vm'))).toBe(true);
});

test('a dry run is refused where the run would be', async () => {
  const world = await makeWorld();
  const { ok, run } = world;
  await makePoints(world);
  const targets = { 'volumes/vm': 17, 'nosuch/new': 2, 'volumes/nosuch/new': 2, 'file:raw': 17, 'file:nosuch/new': 2 };
  for (const [target, status] of Object.entries(targets)) {
    const real = await run(`restore repo vm@latest ${target}`);
    const dry = await run(`restore --dry-run repo vm@latest ${target}`);
    expect(real.status).toBe(status);
    expect(dry).toEqual({ ...real, stdout: '' });
  }
  await ok('restore --dry-run repo vm@latest file:new');
  expect((await readdir(world.dir)).includes('new')).toBe(false);
});

test('a device that is too short is refused as it is', async ({ skip }) => {
  const world = await makeWorld();
  const { run, path } = world;
  await makePoints(world);
  await writeFile(path('short'), noise(7, size / 2));
  const { status: made, stdout } = spawnSync('losetup', ['--find', '--show', path('short')], { encoding: 'utf8' });
  if (made !== 0) return skip();
  const device = stdout.trim();
  try {
    const { status, stderr } = await run(`restore --in-place repo vm@latest file:${device}`);
    expect({ status, stderr }).toEqual({
      status: 28,
      stderr: `rbdelta: "${device}" has ${size / 2} bytes, the image needs ${size}\nhint: choose a device that is at least as large\n`,
    });
  } finally {
    spawnSync('losetup', ['--detach', device]);
  }
  expect(noise(7, size / 2).equals(await readFile(path('short')))).toBe(true);
});

test('raw bytes go to standard output, with no json among them', async () => {
  const world = await makeWorld();
  const { contents, ids } = await makePoints(world);
  expect(await world.run(`restore --json repo ${ids[0]} -`)).toMatchObject({ status: 1 });
  const { status, stderr } = await world.run(['restore', 'repo', ids[0]!, '-'], {});
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  const bytes = await rbdeltaOk(['restore', 'repo', ids[0]!, '-'], { cwd: world.dir, env: world.env });
  expect(contents[0]!.equals(bytes)).toBe(true);
});

test('a raw file is backed up, named by its path, and restored over itself', async () => {
  const world = await makeWorld();
  const { ok, path } = world;
  const content = noise(3, 300_000);
  await ok('repo init repo');
  await writeFile(path('disk'), content);
  await ok('backup file:disk repo');
  await writeFile(path('disk'), noise(4, 500_000));
  await ok('restore repo file:disk@latest file:disk --in-place');
  expect(content.equals(await readFile(path('disk')))).toBe(true);
  expect(await ok('repo verify --level source repo file:disk@latest')).toContain('source: ok');
  await ok('restore repo file:disk@latest volumes/disk');
  expect(content.equals(await contentOf(world, 'volumes/disk'))).toBe(true);
});

test('repo verify: good, then damaged', async () => {
  const world = await makeWorld();
  const { ok, run, path } = world;
  const { ids } = await makePoints(world);
  const file = path(`repo/volumes/vm/${ids[0]}/000000.rbdiff.zst`);
  expect(await ok('repo verify repo')).toMatch(new RegExp(`^volumes/vm@${ids[1]}: audit: ok: .*\n$`));
  expect(await ok('repo verify --all --level scrub repo')).toMatch(/scrub: ok.*\n.*scrub: ok/);
  expect(await ok('repo verify --level source repo volumes/vm@latest')).toContain('source: ok');
  expect(await ok(['repo', 'verify', '--level', 'rehearse', '--command', 'test -s $RBDELTA_IMAGE', 'repo'])).toContain(
    'the command found it good',
  );
  const bytes = await readFile(file);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(file, bytes);
  const scrub = await run('repo verify --level scrub repo');
  expect(scrub.status).toBe(74);
  expect(scrub.stdout).toContain('DAMAGED');
  expect(scrub.stdout).toContain(`cannot be restored: ${ids.join(' ')}`);
  const json = await run('repo verify --level scrub --json repo');
  expect(json.status).toBe(74);
  expect(JSON.parse(json.stdout)).toMatchObject([{ ok: false, affected: ids, damages: [{ point: ids[0] }] }]);
  await rm(path(`repo/volumes/vm/${ids[1]}/index`));
  expect(await run('repo verify repo')).toMatchObject({ status: 74, stdout: expect.stringContaining('is missing') });
  await writeFile(path(`repo/volumes/vm/${ids[1]}/manifest.json`), '{');
  expect(await run('repo verify repo')).toMatchObject({ status: 74 });
  expect(await run('repo verify --percent 5 repo')).toMatchObject({ status: 1 });
  expect(await run('repo verify --level scrub --percent 0 repo')).toMatchObject({ status: 1 });
});
