// The commands as users type them, on the local pool.

import { readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { rbdeltaProgram, run as runProgram } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { makeWorld } from './world.ts';

const size = 1 << 20;

describe('the way of a backup', () => {
  test('a full and an increment, through files, end in equal images; the summary is for terminals only', async () => {
    const { run, ok, path } = await makeWorld();
    const first = noise(1, size);
    await writeFile(path('raw'), first);
    await ok('import raw volumes/vm');
    await ok('snap create volumes/vm@mon');
    const full = await run('export-diff volumes/vm@mon mon.rbdiff');
    expect(full).toMatchObject({ status: 0, stderr: '' });
    await ok('create --size 1 backups/vm');
    await ok('import-diff mon.rbdiff backups/vm');
    await ok('resize --size 2 volumes/vm');
    await ok('snap create volumes/vm@tue');
    await ok(
      'export-diff --from-snap mon --snap tue --pool volumes --image vm --path tue.rbdiff.zst --compress zstd:1',
    );
    await ok('import-diff --image backups/vm --path tue.rbdiff.zst --no-progress');
    await ok('export backups/vm@tue out');
    expect(await readFile(path('out'))).toEqual(Buffer.concat([first, Buffer.alloc(size)]));
    expect(JSON.parse(await ok('snap ls --json backups/vm')).map(({ name }: { name: string }) => name)).toEqual([
      'mon',
      'tue',
    ]);
  });

  test('merged diffs are one diff; a chain on standard input is applied in turn', async () => {
    const { ok, path } = await makeWorld();
    await writeFile(path('raw'), noise(2, size));
    await ok('import raw volumes/vm');
    for (const snap of ['a', 'b', 'c']) await ok(`snap create volumes/vm@${snap}`);
    await ok('export-diff volumes/vm@a a');
    await ok('export-diff volumes/vm@b --from-snap a b');
    await ok('export-diff volumes/vm@c --from-snap b c');
    const merged = JSON.parse(await ok('merge-diff a b c abc --json'));
    expect(merged).toMatchObject({ data_bytes: size });
    await ok('merge-diff a b --path ab');
    await ok('merge-diff a b ab2');
    expect(await readFile(path('ab2'))).toEqual(await readFile(path('ab')));
    await ok('create backups/vm -s 1M');
    const chain = Buffer.concat(await Promise.all(['a', 'b', 'c'].map((name) => readFile(path(name)))));
    const done = JSON.parse(await ok('import-diff - backups/vm --json', { stdin: chain }));
    expect(done.diffs.map((diff: { to_snap: string }) => diff.to_snap)).toEqual(['a', 'b', 'c']);
  });

  test('ranges of a diff put together are the whole', async () => {
    const { ok, run, path } = await makeWorld();
    await writeFile(path('raw'), noise(3, size));
    await ok('import raw volumes/vm');
    await ok('export-diff volumes/vm --length 300K one');
    await ok('export-diff volumes/vm --offset 300K --length 100K two');
    await ok('export-diff volumes/vm --offset 400K three');
    const span = async (name: string) => JSON.parse(await ok(`inspect --json ${name}`)).diffs[0];
    const [first, second] = [300 << 10, 400 << 10];
    expect(await span('one')).toMatchObject({
      first_offset: 0,
      last_end: first,
      size,
      part_offset: 0,
      part_end: first,
    });
    expect(await span('three')).toMatchObject({ first_offset: second, last_end: size, part_end: size });
    expect(await ok('inspect two')).toContain(`part        from ${first} to ${second}`);
    const gap = { status: 22, stderr: expect.stringContaining('hint: give all parts of the diff') };
    expect(await run('merge-diff one three whole')).toMatchObject(gap);
    expect(await run('merge-diff one two whole')).toMatchObject(gap);
    expect(await run('merge-diff two three whole')).toMatchObject(gap);
    await ok(`create --size ${size}B backups/vm`);
    for (const part of ['one', 'two', 'three'])
      expect(await run(`import-diff ${part} backups/vm`)).toMatchObject({
        status: 22,
        stderr: expect.stringContaining('hint: merge-diff makes the whole of all parts'),
      });
    await ok('merge-diff one two three whole');
    await ok('import-diff whole backups/vm');
    await ok('export backups/vm copy');
    expect(await readFile(path('copy'))).toEqual(await readFile(path('raw')));
  });

  test('an empty name is no name: of a snapshot to start from, of one to make, of an input', async () => {
    const { ok, run, path } = await makeWorld();
    await ok('create --size 1 volumes/vm --stripe-unit 0 --stripe-count 0');
    expect(JSON.parse(await ok('info volumes/vm --json'))).not.toHaveProperty('stripe_count');
    expect(await run(['snap', 'create', 'volumes/vm', '--snap', ''])).toMatchObject({ status: 22 });
    expect(await ok('snap ls volumes/vm')).toBe('');
    await ok('snap create volumes/vm@s');
    await ok(['export-diff', '--from-snap', '', 'volumes/vm@s', 'full']);
    await ok('export-diff volumes/vm@s again');
    expect(await readFile(path('full'))).toEqual(await readFile(path('again')));
    expect(await run(['merge-diff', '', 'full', 'x'])).toMatchObject({ status: 22 });
    expect(await run(['merge-diff', 'full', '', 'x'])).toMatchObject({ status: 22 });
  });

  test('export of format 2 refuses a snapshot that is not there, though it exports all of them', async () => {
    const { ok, run } = await makeWorld();
    await ok('create --size 1 volumes/vm');
    await ok('snap create volumes/vm@s');
    expect(await run('export --export-format 2 volumes/vm@nosuch x')).toMatchObject({ status: 2 });
    await ok('export --export-format 2 volumes/vm@s x');
  });

  test('a raw file is a source and a target', async () => {
    const { ok, path } = await makeWorld();
    await writeFile(path('raw'), noise(4, size));
    await ok('export-diff file:raw full');
    await ok('import-diff full file:copy');
    expect(await readFile(path('copy'))).toEqual(await readFile(path('raw')));
  });

  test('export and import carry snapshots in format 2, and the name of a file where none is given', async () => {
    const { ok, path } = await makeWorld({ pools: ['rbd'] });
    await writeFile(path('vm'), noise(5, size));
    await ok('import vm');
    await ok('snap create vm@mon');
    await ok('export vm vm.rbd --export-format=2 --compress zstd');
    await ok('import --export-format 2 vm.rbd copy');
    expect(await ok('ls')).toBe('copy\nvm\n');
    expect(JSON.parse(await ok('snap ls copy --format json'))).toMatchObject([{ name: 'mon', size }]);
    await ok('import --image old --pool rbd vm').then(() => ok('info old'));
  });
});

test('raw bytes that look like zstd come back as they went out; a path in .zst is decompressed, with a notice', async () => {
  const { run, ok, path } = await makeWorld({ pools: ['rbd'] });
  const raw = noise(6, size);
  raw.writeUInt32LE(0xfd2fb528);
  await writeFile(path('raw'), raw);
  await ok('import raw vm');
  await ok('export vm again');
  expect((await readFile(path('again'))).equals(raw)).toBe(true);
  await ok('import - piped', { stdin: raw });
  await ok('export piped piped.raw');
  expect((await readFile(path('piped.raw'))).equals(raw)).toBe(true);
  await ok('export vm vm.zst --compress zstd');
  expect(await run('import vm.zst packed')).toEqual({
    status: 0,
    stdout: '',
    stderr: 'rbdelta: "vm.zst" is decompressed\n',
  });
  await ok('export packed packed.raw');
  expect((await readFile(path('packed.raw'))).equals(raw)).toBe(true);
});

test('a dry run prints its plan, a line for each diff, and --json has it', async () => {
  const { ok, path } = await makeWorld();
  await writeFile(path('raw'), noise(7, size));
  await ok('import raw volumes/vm');
  await ok('snap create volumes/vm@a');
  await ok('resize --size 2M volumes/vm');
  await ok('snap create volumes/vm@b');
  await ok('snap protect volumes/vm@b');
  await ok('export-diff volumes/vm@a a');
  await ok('export-diff volumes/vm@b --from-snap a --diff-format 2 b');
  await ok('import raw backups/vm');
  expect(await ok('import-diff --dry-run --overwrite a backups/vm')).toBe(
    `nothing -> "a", size ${size} -> ${size}, clear\n`,
  );
  await ok('import-diff --overwrite a backups/vm');
  await ok('resize --size 3M backups/vm');
  expect(await ok('import-diff --dry-run --rollback b backups/vm')).toBe(
    `"a" -> "b", size ${size} -> ${2 * size}, rollback, protect\n`,
  );
  expect(await ok('import-diff --dry-run --skip-existing a backups/vm')).toBe(
    `nothing -> "a", size ${3 * size} -> ${3 * size}, skip\n`,
  );
  const { diffs } = JSON.parse(await ok('import-diff --dry-run --rollback --json b backups/vm'));
  expect(diffs[0].plan).toEqual({
    old_size: size,
    size: 2 * size,
    skip: false,
    rollback: true,
    clear: false,
    create_snapshot: true,
    protect: true,
  });
  await ok('snap unprotect volumes/vm@b');
});

describe('image verbs', () => {
  test('an image lives: created, listed, resized, protected, purged, removed', async () => {
    const { run, ok } = await makeWorld();
    await ok('create --size 4M --object-size 1M --image-feature layering,exclusive-lock,object-map volumes/vm');
    expect(JSON.parse(await ok('info volumes/vm --json'))).toMatchObject({
      size: 4 << 20,
      objects: 4,
      order: 20,
      features: ['layering', 'exclusive-lock', 'object-map', 'fast-diff'],
    });
    expect(await ok('ls -l volumes')).toMatch(/^NAME  SIZE   PARENT  FMT  PROT  LOCK\nvm    4 MiB {12}2 {12}\n$/u);
    await ok('resize volumes/vm --size 2 --allow-shrink');
    await ok('snap create volumes/vm@a');
    await ok('snap create volumes/vm@b');
    await ok('snap protect volumes/vm@a');
    expect((await run('snap rm volumes/vm@a')).status).toBe(16);
    const purge = await run('snap purge volumes/vm');
    expect(purge).toMatchObject({ status: 0, stderr: expect.stringContaining("'a'") });
    await ok('snap rollback volumes/vm@a');
    await ok('snap unprotect volumes/vm@a');
    await ok('snap rm volumes/vm@a');
    await ok('rm volumes/vm');
    expect(await ok('ls volumes')).toBe('');
    await ok('pool rm volumes');
    expect(await ok('pool ls')).toBe('backups\n');
    // as ceph osd pool
    await ok('pool create volumes 8 8');
    await ok('create --size 1M volumes/vm');
    expect((await run('pool create volumes eight')).status).toBe(1);
    expect((await run('pool rm volumes')).status).toBe(39);
    expect((await run('pool rm volumes --yes-i-really-really-mean-it')).status).toBe(1);
    expect((await run('pool rm volumes backups --yes-i-really-really-mean-it')).status).toBe(1);
    await ok('pool rm volumes volumes --yes-i-really-really-mean-it');
    expect(await ok('pool ls')).toBe('backups\n');
  });
});

test('names of images and snapshots may be any bytes', async () => {
  const { dir, env, ok } = await makeWorld();
  const script = [
    'name=$(printf "by\\377tes")',
    '"$0" "$1" create -s 1 "volumes/$name"',
    '"$0" "$1" snap create "volumes/$name@$name"',
    '"$0" "$1" snap ls "volumes/$name"',
    '"$0" "$1" ls volumes',
  ].join('; ');
  const { stdout } = await runProgram('bash', ['-ec', script, process.execPath, rbdeltaProgram], { cwd: dir, env });
  expect(stdout.includes(Buffer.from('by\xfftes  1 MiB', 'latin1'))).toBe(true);
  expect(stdout.includes(Buffer.from('by\xfftes\n', 'latin1'))).toBe(true);
  expect(JSON.parse(await ok('ls volumes --json'))).toEqual(['by\udcfftes']);
});

describe('inspect and doctor', () => {
  test('inspect draws what is there, and names what is damaged', async () => {
    const { run, ok, path } = await makeWorld({ pools: [] });
    await writeFile(path('raw'), Buffer.concat([noise(6, size / 2), Buffer.alloc(size / 2)]));
    await ok('export-diff file:raw full');
    const text = await ok('inspect full');
    expect(text).toContain('the beginning to the head');
    expect(text).toMatch(/\|█+ *\|/u);
    const whole = await readFile(path('full'));
    const cut = await run('inspect -', { stdin: whole.subarray(0, whole.length - 1) });
    expect(cut.status).toBe(74);
    expect(cut.stdout).toContain('not whole');
    expect(cut.stderr).toMatch(/^rbdelta: .*\n(hint: .*\n)?$/u);
  });

  test('doctor says which cluster is meant and why, and looks at an image', async () => {
    const { ok, run, env } = await makeWorld();
    await ok('create --size 1 volumes/vm');
    const text = await ok('doctor volumes/vm');
    expect(text).toContain(`the local pool in ${env['RBDELTA_DIR']}, because RBDELTA_DIR names it`);
    expect(text).toContain('object maps are valid');
    const missing = await run('doctor --json volumes/nosuch');
    expect(missing.status).toBe(2);
    const problems = JSON.parse(missing.stdout).filter(({ state }: { state: string }) => state === 'problem');
    expect(problems).toMatchObject([{ area: 'image', code: 'notFound' }]);
  });
});

describe('help', () => {
  test('lists the commands, tells about each, and completes them', async () => {
    const { ok } = await makeWorld({ pools: [] });
    expect(await ok('help')).toContain('rbdelta export-diff');
    for (const line of ['help export-diff', 'export-diff --help', 'export-diff vm -h']) {
      const text = await ok(line);
      expect(text).toContain('--from-snap');
      expect(text).toContain('Examples:');
    }
    expect(await ok('--version', {})).toMatch(/^rbdelta \d+\.\d+\.\d+/u);
    expect(await ok('completion', { env: { SHELL: '/bin/bash' } })).toContain('complete -o');
    const next = async (...words: string[]) =>
      (await ok(['--get-yargs-completions', 'rbdelta', ...words, ''], {})).trim().split('\n');
    const afterSnap = await next('snap');
    expect(afterSnap).toEqual(expect.arrayContaining(['rollback', 'limit']));
    expect(new Set(afterSnap).size).toBe(afterSnap.length);
    expect((await next('snap', 'limit')).sort()).toEqual(['clear', 'set']);
    expect(await ok(['--get-yargs-completions', 'rbdelta', 'export-diff', '--f'], {})).toContain('--from-snap');
  });
});
