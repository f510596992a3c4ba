// Beside the real rbd: the same command line gives the same bytes on stdout, and the same status.

import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run as runCommandLine } from '../../src/cli/run.ts';
import { rbd, run } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { makePool } from '../image/ceph/pools.ts';

const prefix = `cli-${process.pid}`;
const [plain, clone, striped] = [`volumes/${prefix}-plain`, `backups/${prefix}-clone`, `volumes/${prefix}-striped`];

interface Ended {
  status: number | null;
  stdout: string;
  stderr: string;
}

async function ours(words: string[]): Promise<Ended> {
  let [stdout, stderr] = ['', ''];
  const status = await runCommandLine(words, {
    env: { CEPH_CONF: process.env['CEPH_CONF'] },
    signal: new AbortController().signal,
    stdout: { write: async (text) => void (stdout += text), flush: async () => undefined },
    writeError: (text) => void (stderr += text),
    columns: () => 80,
    progress: false,
  });
  return { status, stdout, stderr };
}

async function theirs(words: string[]): Promise<Ended> {
  const { status, stdout, stderr } = await run('rbd', words);
  return { status, stdout: stdout.toString(), stderr };
}

describe.skipIf(!process.env['RBDELTA_TEST_CEPH'])('beside rbd', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rbdelta-rbd-'));
  const home = process.cwd();

  beforeAll(async () => {
    process.chdir(dir);
    await writeFile('raw', noise(1, 1 << 20));
    await rbd(['import', 'raw', plain, '--no-progress']);
    await rbd(['snap', 'create', `${plain}@s`, '--no-progress']);
    await rbd(['snap', 'protect', `${plain}@s`]);
    await rbd(['resize', plain, '--size', '1234567B', '--no-progress']);
    await rbd(['bench', plain, '--io-type', 'write', '--io-size', '4096', '--io-total', '64K', '--io-pattern', 'rand']);
    await rbd(['clone', `${plain}@s`, clone]);
    await rbd(['snap', 'create', `${clone}@x`, '--no-progress']);
    const feature = ['--image-feature', 'layering', '--data-pool', 'backups'];
    await rbd(['create', striped, '--size', '8', '--stripe-unit', '64K', '--stripe-count', '3', ...feature]);
  });

  afterAll(async () => {
    for (const image of [clone, plain, striped]) {
      await run('rbd', ['snap', 'unprotect', `${image}@s`]);
      await run('rbd', ['snap', 'purge', image]);
      await run('rbd', ['rm', image]);
    }
    process.chdir(home);
    rmSync(dir, { recursive: true, force: true });
  });

  const printed = [
    `info ${plain}`,
    `info ${plain}@s`,
    `info ${clone}`,
    `info ${clone}@x`,
    `info ${striped}`,
    `snap ls ${plain}`,
    `snap ls ${striped}`,
    `snap ls --all ${plain}`,
    `diff ${plain}`,
    `diff ${plain} --from-snap s`,
    `diff ${plain} --from-snap s --whole-object`,
    `diff ${plain}@s --from-snap s`,
    `diff ${clone}`,
    `diff ${striped}`,
  ];
  test.each(printed)('%s prints the same bytes in every format', async (line) => {
    for (const format of [
      '',
      ' --format plain',
      ' --format json',
      ' --format xml --pretty-format',
      ' --pretty-format',
    ]) {
      const words = `${line}${format}`.split(' ');
      const [mine, real] = [await ours(words), await theirs(words)];
      expect({ words, status: mine.status, stdout: mine.stdout }).toEqual({
        words,
        status: real.status,
        stdout: real.stdout,
      });
    }
  });

  test('ls and ls -l print the same lines', async () => {
    // Others may make images beside this test: only its own are compared.
    const own = (text: string): string[] =>
      text
        .split('\n')
        .filter((line) => line.includes(prefix))
        .map(squeezed);
    const squeezed = (line: string): string => line.replaceAll(/ +/gu, ' ');
    for (const words of [
      ['ls', 'volumes'],
      ['ls', '-l', 'volumes'],
      ['ls', '--long', '-pbackups'],
    ]) {
      const [mine, real] = [await ours(words), await theirs(words)];
      expect(own(mine.stdout)).toEqual(own(real.stdout));
    }
    const [mine, real] = [
      await ours(['ls', '-l', 'backups', '--format=json']),
      await theirs(['ls', '-l', 'backups', '--format=json']),
    ];
    const named = (text: string) => JSON.parse(text).filter(({ image }: { image: string }) => image.startsWith(prefix));
    expect(named(mine.stdout)).toEqual(named(real.stdout));
  });

  test('ls -l shows who holds an image', async () => {
    const [one, two] = [`${prefix}-excl`, `${prefix}-shr`];
    for (const image of [one, two]) await rbd(['create', `volumes/${image}`, '--size', '1']);
    await rbd(['lock', 'add', `volumes/${one}`, 'here']);
    await rbd(['lock', 'add', '--shared', 'tag', `volumes/${two}`, 'here']);
    await rbd(['lock', 'add', '--shared', 'tag', `volumes/${two}`, 'there']);
    const rows = async (words: string[]) =>
      [await ours(words), await theirs(words)].map(({ stdout }) =>
        stdout.split('\n').filter((line) => line.includes(prefix)),
      );
    const [mine, real] = await rows(['ls', '-l', 'volumes']);
    expect(mine).toEqual(real);
    expect(mine?.filter((line) => /(excl|shr ?)$/u.test(line))).toHaveLength(2);
    const json = ['ls', '-l', 'volumes', '--format', 'json'];
    const [mineJson, realJson] = await rows(json);
    expect(mineJson).toEqual(realJson);
    for (const image of [one, two]) {
      const locks = JSON.parse((await rbd(['lock', 'ls', `volumes/${image}`, '--format', 'json'])).toString());
      for (const { id, locker } of locks) await rbd(['lock', 'rm', `volumes/${image}`, id, locker]);
      await rbd(['rm', `volumes/${image}`, '--no-progress']);
    }
  });

  test('snap rm --force flattens the clones and takes the protection', async () => {
    const [parent, child] = [`volumes/${prefix}-forced`, `backups/${prefix}-flat`];
    await rbd(['import', 'raw', parent, '--no-progress']);
    await rbd(['snap', 'create', `${parent}@s`, '--no-progress']);
    await rbd(['snap', 'protect', `${parent}@s`]);
    await rbd(['clone', `${parent}@s`, child]);
    expect(await ours(['snap', 'rm', `${parent}@s`])).toMatchObject({ status: 16 });
    expect(await ours(['snap', 'rm', '--force', `${parent}@nosuch`])).toMatchObject({ status: 2 });
    expect(await ours(['snap', 'rm', '--force', `${parent}@s`])).toEqual({ status: 0, stdout: '', stderr: '' });
    expect(JSON.parse((await rbd(['info', child, '--format', 'json'])).toString())).not.toHaveProperty('parent');
    expect(await rbd(['export', child, '-', '--no-progress'])).toEqual(noise(1, 1 << 20));
    for (const image of [child, parent]) expect(await ours(['rm', image])).toMatchObject({ status: 0 });
  });

  test('--image-id finds an image, one in the trash as well', async () => {
    const name = `volumes/${prefix}-by-id`;
    await rbd(['create', name, '--size', '1']);
    for (const snap of ['a', 'b', 'c']) await rbd(['snap', 'create', `${name}@${snap}`, '--no-progress']);
    await rbd(['snap', 'protect', `${name}@a`]);
    const { id } = JSON.parse((await rbd(['info', name, '--format', 'json'])).toString());
    const same = async (line: string) => {
      const words = line.split(' ');
      const [mine, real] = [await ours(words), await theirs(words)];
      expect({ line, status: mine.status, stdout: mine.stdout }).toEqual({
        line,
        status: real.status,
        stdout: real.stdout,
      });
    };
    await same(`info --image-id ${id} -p volumes`);
    await same(`info --image-id ${id} -p volumes --snap a --format json`);
    await same(`info --image-id ${id} ${name}`);
    await same(`info --image-id ${id} -p backups`);
    await same('info --image-id nosuch -p volumes');
    await same(`snap rm --image-id ${id} -p volumes`);
    await same(`snap rm --image-id ${id} -p volumes --snap b --snap-id 3`);
    await same(`snap rm ${name} --snap-id 99999 --force`);
    await same(`snap rm ${name} --snap-id 99999`);
    await same(`snap unprotect --image-id ${id} -p volumes --snap b`);
    await rbd(['trash', 'mv', name]);
    await same(`info --image-id ${id} -p volumes`);
    await same(`snap ls --image-id ${id} -p volumes`);
    const [{ id: snapId }] = JSON.parse((await ours(['snap', 'ls', '--image-id', id, '-pvolumes', '--json'])).stdout);
    expect(await ours(['snap', 'unprotect', '--image-id', id, '-pvolumes', '--snap', 'a'])).toMatchObject({
      status: 0,
    });
    const byId = ['snap', 'rm', '--image-id', id, '-pvolumes', '--snap-id', String(snapId)];
    expect(await ours(byId)).toMatchObject({ status: 0, stderr: '' });
    expect(await ours(['snap', 'rm', '--image-id', id, '-pvolumes', '--snap', 'b'])).toMatchObject({ status: 0 });
    expect(await ours(['snap', 'purge', '--image-id', id, '-p', 'volumes'])).toMatchObject({ status: 0, stderr: '' });
    expect((await ours(['snap', 'ls', '--image-id', id, '-p', 'volumes'])).stdout).toBe('');
    await rbd(['trash', 'rm', `volumes/${id}`, '--no-progress']);
  });

  test('an image is mirrored from the beginning where its pool is, and refused where it is not', async () => {
    const { pool, removePool } = await makePool();
    const words = ['create', `${pool}/vm`, '--size', '1', '--mirror-image-mode', 'snapshot'];
    const [mine, real] = [await ours(words), await theirs(words)];
    expect(mine.status).toBe(real.status);
    expect(mine.stderr).toContain('rbd mirror pool enable');
    await rbd(['mirror', 'pool', 'enable', pool, 'image']);
    expect(await ours(words)).toEqual({ status: 0, stdout: '', stderr: '' });
    const info = JSON.parse((await rbd(['info', `${pool}/vm`, '--format', 'json'])).toString());
    expect(info.mirroring).toMatchObject({ mode: 'snapshot', state: 'enabled' });
    await removePool();
  });

  test('a journal is made as rbd makes it', async () => {
    const [mine, real] = [`volumes/${prefix}-journal`, `volumes/${prefix}-journal2`];
    const options =
      '--size 1 --image-feature exclusive-lock,journaling --journal-object-size 5M --journal-splay-width 7 --journal-pool backups';
    expect(await ours(['create', mine, ...options.split(' ')])).toEqual({ status: 0, stdout: '', stderr: '' });
    await rbd(['create', real, ...options.split(' ')]);
    const journal = async (image: string) => {
      const { header_oid, object_oid_prefix, ...rest } = JSON.parse(
        (await rbd(['journal', 'info', '--pool', 'volumes', '--image', image.slice(8), '--format', 'json'])).toString(),
      );
      expect([header_oid, object_oid_prefix].every((name) => name.startsWith('journal'))).toBe(true);
      return { ...rest, journal_id: '' };
    };
    expect(await journal(mine)).toEqual(await journal(real));
    for (const image of [mine, real]) await rbd(['rm', image, '--no-progress']);
  });

  const lines = [
    'export-diff',
    `export-diff ${plain}`,
    `export-diff ${plain}@nosuch x`,
    `export-diff ${plain} raw`,
    `export-diff ${plain} --from-snap nosuch x`,
    `export-diff ${plain}@s --from-snap s x`,
    'export-diff a b c',
    'export-diff --nosuch=1 a b',
    'export-diff nosuch/a x',
    'export-diff volumes/nosuch x',
    `export-diff --image ${prefix}-plain --pool volumes --snap s --path x`,
    `export-diff --image ${prefix}-plain --pool volumes x`,
    `export-diff -pvolumes ${prefix}-plain@s x`,
    `-p volumes export-diff ${prefix}-plain x`,
    `export-diff --namespace a@b ${plain} x`,
    `export-diff --image=${plain}@s --path=x --no-progress`,
    'export-diff volumes/@s x',
    'export-diff @s x',
    `export-diff --from-snap= ${plain} x`,
    `export-diff ${plain} x --from-snap`,
    `export-diff ${plain} x --from-snap EMPTY`,
    `export-diff ${plain} x --snap EMPTY`,
    `export-diff --image EMPTY ${plain} x`,
    `diff --pool EMPTY ${plain}`,
    `export-diff --path EMPTY ${plain} x`,
    'merge-diff EMPTY raw x',
    'merge-diff raw EMPTY x',
    `export-diff -- ${plain} x`,
    `export-diff --rbd-concurrent-management-ops=5 ${plain} x`,
    `export-diff --rbd_concurrent_management_ops 5 ${plain} x`,
    'import-diff',
    'import-diff raw',
    'import-diff raw volumes/nosuch',
    `import-diff raw ${plain}`,
    `import-diff nosuch ${plain}`,
    `import-diff raw ${plain}@s`,
    `import-diff raw ${plain} --sparse-size x`,
    `import-diff raw ${plain} x`,
    'merge-diff',
    'merge-diff a',
    'merge-diff a b',
    'merge-diff a b x',
    'merge-diff raw raw --path x',
    `diff ${plain}@nosuch`,
    `diff ${plain} --from-snap nosuch`,
    `diff ${plain} --format yaml`,
    'export',
    `export ${plain}`,
    `export ${plain} raw`,
    `export ${plain} x --export-format 3`,
    `export --image ${plain}@s --path x`,
    `export ${plain} --export-format 2 x`,
    `export ${plain}@nosuch --export-format 2 x`,
    'import',
    'import nosuch volumes/nosuch',
    `import raw ${plain}`,
    'import raw volumes/nosuch@s',
    'import raw volumes/nosuch --order 99',
    'import raw volumes/nosuch --image-feature bogus',
    'import raw volumes/a/b/c',
    'import --export-format 2 raw volumes/nosuch',
    `create ${plain} --size 1`,
    'create volumes/nosuch',
    'create --size 1Q volumes/nosuch',
    'resize volumes/nosuch --size 1',
    `resize ${plain} --size 1K`,
    `snap create ${plain}@s`,
    `snap create ${plain}`,
    `snap create ${plain}@a/b`,
    `snap create --snap EMPTY ${plain}`,
    `snap rm ${plain}@s`,
    `snap rm ${plain}@nosuch`,
    `snap protect ${plain}@s`,
    `snap unprotect ${clone}@x`,
    `snap rollback ${plain}@nosuch`,
    `rm ${plain}@s`,
    'rm volumes/nosuch',
    'snap nosuch',
    'nosuch',
  ];
  // EMPTY is a word without a letter.
  test.each(lines)('%s ends with the same status', async (line) => {
    const words = line.split(' ').map((word) => (word === 'EMPTY' ? '' : word));
    const real = await theirs(words);
    rmSync('x', { force: true });
    const mine = await ours(words);
    rmSync('x', { force: true });
    expect({ line, status: mine.status, stderr: mine.stderr, real: real.stderr }).toMatchObject({
      status: real.status,
    });
  });

  test('a diff holds what that of rbd holds', async () => {
    await rbd(['export-diff', `${plain}@s`, 'theirs', '--no-progress']);
    expect(await ours(['export-diff', `${plain}@s`, 'ours'])).toMatchObject({ status: 0, stderr: '' });
    const inspected = async (path: string) => JSON.parse((await ours(['inspect', '--json', path])).stdout).diffs[0];
    const [mine, real] = [await inspected('ours'), await inspected('theirs')];
    expect(mine).toMatchObject({ to_snap: 's', size: real.size, write_bytes: real.write_bytes });
  });
});
