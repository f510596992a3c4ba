// The commands of a repository, from the command line to what is printed; a directory and the local pool.

import { readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { makeWorld, type World } from './world.ts';

interface Listed {
  point: string;
  [field: string]: unknown;
}

/** `volumes/vm` with three points in `repo`, of which the second has a tag. */
async function withPoints(): Promise<World & { points: Listed[]; list: (line?: string) => Promise<Listed[]> }> {
  const world = await makeWorld();
  const { ok, path } = world;
  await ok('repo init repo');
  await ok('create --size 1 volumes/vm');
  for (const [i, letter] of ['a', 'b', 'c'].entries()) {
    const diff = `rbd diff v1\ns${'\0\0\x10\0\0\0\0\0'}w${'\0\0\0\0\0\0\0\0'}${'\x04\0\0\0\0\0\0\0'}${letter.repeat(4)}e`;
    writeFileSync(path('change'), Buffer.from(diff, 'latin1'));
    await ok('import-diff change volumes/vm --force');
    await ok(`backup volumes/vm repo${i === 1 ? ' --tag blue' : ''}`);
  }
  const list = async (line = 'repo list --json repo'): Promise<Listed[]> => JSON.parse(await ok(line));
  return { ...world, list, points: await list() };
}

test('repo list tells of points and of images', async () => {
  const { ok, run, points, list } = await withPoints();
  expect(points).toHaveLength(3);
  expect(Object.keys(points[1] ?? {})).toEqual([
    'pool',
    'namespace',
    'image',
    'point',
    'created',
    'kind',
    'base',
    'snapshot',
    'size',
    'data_bytes',
    'stored_bytes',
    'seconds',
    'fingerprint',
    'tags',
    'pinned',
    'proofs',
    'failed',
    'failed_levels',
  ]);
  expect(points[1]).toMatchObject({ image: 'vm', kind: 'increment', base: points[0]?.point, tags: ['blue'] });
  const [titles, first, second] = (await ok('repo list repo')).split('\n');
  expect(titles).toMatch(/^IMAGE +POINT +CREATED \(UTC\) +KIND +SIZE +CHANGED +STORED +TAGS +PINNED +PROVED$/);
  expect(first).toMatch(/^volumes\/vm +\d{8}T\d{6}Z-\w{6} +\d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ +full +1 MiB .* never$/);
  expect(second).toMatch(/ increment .* blue /);
  expect(await list('repo list --json repo --tag blue')).toEqual([points[1]]);
  expect(await list('repo ls --json repo volumes/v*')).toEqual(points);
  const images = JSON.parse(await ok('repo list --images --json repo'));
  expect(images).toMatchObject([{ image: 'vm', points: 3, newest: points[2]?.point, size: 1 << 20 }]);
  expect(await ok('repo list --images repo')).toMatch(/^IMAGE +POINTS +NEWEST .*\nvolumes\/vm +3 /);
  expect(await run('repo list repo nosuch')).toMatchObject({ status: 2 });
  expect(await run('repo list nosuch')).toMatchObject({ status: 2 });
  expect(await run('repo list')).toMatchObject({ status: 22 });
});

test('repo show tells what a point is and what it builds on', async () => {
  const { ok, run, points, path } = await withPoints();
  const text = await ok('repo show repo vm@latest');
  expect(text).toContain(`point ${points[2]?.point}\n`);
  expect(text).toMatch(/chain: +whole, 3 points\n/);
  for (const { point } of points) expect(text).toContain(point);
  const shown = JSON.parse(await ok(`repo show --json repo ${points[2]?.point}`));
  expect(shown).toMatchObject({ whole: true, proofs: [], manifest: { format: 1, image: { name: 'vm' } } });
  expect(shown.chain.map((one: Listed) => one.point)).toEqual(points.map(({ point }) => point).toReversed());
  rmSync(path(`repo/volumes/vm/${points[0]?.point}/manifest.json`));
  expect(await run('repo show repo vm@latest')).toMatchObject({ status: 74 });
  expect(await run('repo show repo vm@nosuch')).toMatchObject({ status: 2 });
  expect(await run('repo show repo')).toMatchObject({ status: 22 });
  expect(await run('repo show repo not-a-point')).toMatchObject({ status: 1 });
});

test('repo cat writes streams that import-diff applies', async () => {
  const { ok, run, points, path } = await withPoints();
  const ids = points.map(({ point }) => point);
  for (const [i, id] of ids.entries()) await ok(`repo cat repo ${id} ${i}.rbdiff`);
  await ok(`repo cat --from ${ids[0]} repo vm@latest later.rbdiff`);
  await ok(`repo cat --from vm@${ids[0]} --compress zstd repo vm@latest zst.rbdiff`);
  await ok('repo cat --full repo vm@latest all.rbdiff');
  const chains = { one: ['0', '1', '2'], two: ['0', 'later'], three: ['all'], four: ['0', 'zst'] };
  for (const [name, diffs] of Object.entries(chains)) {
    await ok(`create --size 1 backups/${name}`);
    for (const diff of diffs) await ok(`import-diff ${diff}.rbdiff backups/${name}`);
    await ok(`export backups/${name} ${name}.raw`);
    expect(readFileSync(path(`${name}.raw`)).toString('latin1', 0, 5)).toBe('cccc\0');
  }
  expect(JSON.parse(await ok('repo cat --json --full repo vm@latest again.rbdiff'))).toMatchObject({
    data_bytes: 4096,
  });
  expect(await run('repo cat repo vm@latest all.rbdiff')).toMatchObject({ status: 17 });
  expect(await run(`repo cat --full --from ${ids[0]} repo vm@latest x`)).toMatchObject({ status: 1 });
  expect(await run(`repo cat --from ${ids[2]} repo ${ids[1]} x`)).toMatchObject({ status: 2 });
});

test('repo check and repo repair name what is damaged, and what to do', async () => {
  const { ok, run, points, path } = await withPoints();
  const folder = path(`repo/volumes/vm/${points[1]?.point}`);
  expect(await ok('repo check repo')).toBe('3 points of 1 image: all can be restored\n');
  writeFileSync(path('repo/volumes/vm/catalog.json'), '{');
  expect(await run('repo check repo')).toMatchObject({ status: 0, stdout: expect.stringContaining('note ') });
  expect(await ok('repo repair --dry-run repo')).toMatch(/^would be: wrote the catalog of volumes\/vm anew/);
  expect(await ok('repo repair repo')).toMatch(/^wrote the catalog of volumes\/vm anew/);
  expect(JSON.parse(await ok('repo repair --json repo'))).toEqual([]);
  truncateSync(`${folder}/000000.rbdiff.zst`, 10);
  const { status, stdout } = await run('repo check repo');
  expect(status).toBe(74);
  expect(stdout).toMatch(/^PROBLEM +the point .* is damaged: 000000.rbdiff.zst has 10 bytes, \d+ by the manifest\n/);
  const names = points.slice(1).map(({ point }) => `volumes/vm@${point}`);
  expect(stdout).toContain(`hint: rbdelta repo forget repo ${names.join(' ')}\n`);
  expect(stdout).toMatch(/3 points of 1 image: 1 can be restored, 2 cannot\n$/);
  expect(await run('repo repair repo vm')).toMatchObject({ status: 74 });
  const report = JSON.parse((await run('repo check --json repo volumes/vm')).stdout);
  expect(report).toMatchObject({
    images: [{ image: 'volumes/vm', points: 3, restorable: 1 }],
    findings: [
      { state: 'problem', kind: 'damaged', point: points[1]?.point },
      { state: 'problem', kind: 'affected', point: points[2]?.point },
    ],
    enforces_create: true,
  });
});

test('damage that a scrub found is told of by all who tell of points, until a scrub finds it gone', async () => {
  const { ok, run, points, path } = await withPoints();
  const [full, middle, newest] = points.map(({ point }) => point);
  const file = path(`repo/volumes/vm/${middle}/000000.rbdiff.zst`);
  const kept = readFileSync(file);
  const flipped = Buffer.from(kept);
  flipped[flipped.length >> 1]! ^= 1;
  writeFileSync(file, flipped);
  expect(await run('repo list repo')).toMatchObject({ status: 0 });
  expect(await run('repo verify --level scrub repo')).toMatchObject({ status: 74 });
  const checked = await run('repo check repo');
  expect(checked.status).toBe(74);
  expect(checked.stdout).toMatch(
    new RegExp(`^PROBLEM  the point ${middle} of .* verify --level scrub found at .* cannot be read`),
  );
  expect(checked.stdout).toContain(`hint: rbdelta repo verify --level scrub repo volumes/vm@${middle} looks again`);
  expect(checked.stdout).toContain(
    `PROBLEM  the point ${newest} of volumes/vm cannot be restored: it builds on ${middle}`,
  );
  expect(checked.stdout).toMatch(/1 can be restored, 2 cannot\n$/);
  const listed = await run('repo list repo');
  expect(listed.status).toBe(74);
  expect(listed.stdout.match(/FAILED/g)).toHaveLength(2);
  expect((await run('repo list --images repo')).stdout).toContain('FAILED');
  const tree: Listed[] = JSON.parse((await run('repo list --json repo')).stdout);
  expect(tree.map(({ failed, failed_levels }) => [failed, failed_levels])).toEqual([
    [false, []],
    [true, ['scrub']],
    [true, []],
  ]);
  for (const point of [middle, newest]) {
    const shown = await run(`repo show repo ${point}`);
    expect(shown).toMatchObject({ status: 74, stderr: expect.stringContaining(`last looked at ${middle} of`) });
    expect(shown.stdout).not.toContain('whole');
  }
  expect(await run(`repo show repo ${full}`)).toMatchObject({ status: 0 });
  writeFileSync(file, kept);
  await ok('repo verify --level scrub repo');
  expect(await ok('repo check repo')).toBe('3 points of 1 image: all can be restored\n');
  expect(await ok('repo list repo')).not.toContain('FAILED');
});

test('repo pin, unpin, tag, stats, unlock', async () => {
  const { ok, run, points, list } = await withPoints();
  expect(await ok('repo pin --dry-run repo vm@latest')).toMatch(/would be pinned/);
  const name = `volumes/vm@${points[2]?.point}`;
  const pinned = { status: 0, stdout: '', stderr: `rbdelta: ${name}: pinned, with the tags: none\n` };
  expect(await run('repo pin repo vm@latest')).toEqual(pinned);
  expect(await run('repo pin repo vm@latest')).toEqual({ ...pinned, stderr: '' });
  const kept = await run(`repo forget repo ${name}`);
  expect(kept).toMatchObject({
    status: 16,
    stderr: expect.stringContaining(`\nhint: rbdelta repo unpin REPOSITORY ${name}\n`),
  });
  expect((await list())[2]).toMatchObject({ pinned: true });
  expect(JSON.parse(await ok('repo unpin --json repo vm@latest'))).toMatchObject({ changed: true, pinned: false });
  await ok(`repo tag --tag green --tag red repo ${points[1]?.point}`);
  expect((await list())[1]).toMatchObject({ tags: ['blue', 'green', 'red'] });
  await ok(`repo tag --remove --tag green repo ${points[1]?.point}`);
  expect((await list())[1]).toMatchObject({ tags: ['blue', 'red'] });
  expect(await run('repo tag repo vm@latest')).toMatchObject({ status: 1 });
  const { images, total } = JSON.parse(await ok('repo stats --json repo'));
  expect(images).toMatchObject([{ image: 'volumes/vm', points: 3, fulls: 1, segments: 3, size: 1 << 20 }]);
  expect(total).toMatchObject({ points: 3, data_bytes: 4104 });
  expect(await ok('repo stats repo')).toMatch(/\nin all +3 +1 +3 +1 MiB +4.0 KiB /);
  expect(await run('repo forget repo')).toMatchObject({ status: 22 });
  expect(await run('repo pin repo')).toMatchObject({ status: 22 });
  expect(await run('repo copy repo')).toMatchObject({ status: 22, stderr: expect.stringContaining('to copy to') });
  for (const same of ['repo', './repo/'])
    expect(await run(`repo copy repo ${same}`)).toMatchObject({
      status: 22,
      stderr: expect.stringContaining('itself'),
    });
  expect(await run('repo init --dry-run new')).toMatchObject({
    status: 0,
    stderr: 'rbdelta: would make a repository in new\n',
  });
  expect((await run('repo init --dry-run repo')).status).toBe(17);
  expect((await run('repo list new')).status).toBe(2);
  expect(await run('repo init new')).toMatchObject({ stderr: expect.stringMatching(/^rbdelta: made .* in "new"\n$/) });
  expect(await ok('repo unlock repo')).toBe('');
  expect(JSON.parse(await ok('repo unlock --json repo vm'))).toEqual([]);
});

test('what was proved is shown, and check agrees with it', async () => {
  const { ok, points, list } = await withPoints();
  await ok('repo verify repo vm@latest');
  const proved = (await list()).find(({ point }) => point === points[2]?.point);
  expect(proved).toMatchObject({ proofs: { audit: expect.any(String) }, last_proof: expect.any(String) });
  expect(await ok('repo list repo')).toMatch(/ \d+ s\n$/);
  expect(await ok('repo show repo vm@latest')).toMatch(/proved: +audit, /);
  await ok('repo pin repo vm@latest');
  expect((await list()).find(({ point }) => point === points[2]?.point)).toMatchObject({ proofs: proved?.proofs });
  expect(await ok('repo check repo')).toBe('3 points of 1 image: all can be restored\n');
});

test('a file that was backed up is named by its path', async () => {
  const { ok, path } = await makeWorld();
  writeFileSync(path('vm.raw'), Buffer.alloc(8192, 7));
  await ok('repo init repo');
  await ok('backup file:vm.raw repo');
  const [{ point, image }] = JSON.parse(await ok(`repo list --json repo file:${path('vm.raw')}`));
  expect(image).toBe(path('vm.raw'));
  for (const name of [`file:${path('vm.raw')}@latest`, 'file:vm.raw@latest', point]) {
    expect(await ok(`repo show repo ${name}`)).toContain(`point ${point}\n`);
  }
  await ok('repo check repo');
});
