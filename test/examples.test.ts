// The examples do what they say. (examples/quickstart.sh and examples/blocks-that-differ.mjs are run by .ci/run.)

import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openLocalPool } from '../src/image/local/index.ts';
import { rbd, rbdeltaOk, rbdeltaProgram, run as runProgram, succeed } from './kit/command.ts';
import { noise } from './kit/noise.ts';

let folder: string;
const dir = (name: string): string => join(folder, name);
const here = (...args: string[]): Promise<Buffer> => rbdeltaOk(['--cluster-dir', dir('here'), ...args]);
const bytesOf = (cluster: string, spec: string): Promise<Buffer> =>
  rbdeltaOk(['--cluster-dir', dir(cluster), 'export', '--no-progress', spec, '-']);

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'rbdelta-examples-'));
  const [before, after] = [noise(1, 300_000), noise(1, 300_000)];
  after.fill(0, 8192, 16_384);
  after.set(noise(2, 100), 200_000);
  await writeFile(dir('before.raw'), before);
  await writeFile(dir('after.raw'), after);
  await here('pool', 'create', 'volumes');
  await here('import', '--no-progress', dir('before.raw'), 'volumes/vm-1');
  await here('snap', 'create', 'volumes/vm-1@monday');
});

afterAll(() => rm(folder, { recursive: true }));

test('examples/blocks-that-differ.mjs writes a diff that makes the one file of the other', async () => {
  const args = ['examples/blocks-that-differ.mjs', dir('before.raw'), dir('after.raw'), 'monday', 'tuesday'];
  const stdin = await succeed(process.execPath, args);
  await rbdeltaOk(['--cluster-dir', dir('here'), 'import-diff', '--no-progress', '-', 'volumes/vm-1'], { stdin });
  expect((await bytesOf('here', 'volumes/vm-1@tuesday')).equals(await readFile(dir('after.raw')))).toBe(true);
});

test('examples/two-clusters.sh carries a full and an increment from one cluster to another', async () => {
  await rbdeltaOk(['--cluster-dir', dir('there'), 'pool', 'create', 'volumes']);
  const env = { RBDELTA: `${process.execPath} ${rbdeltaProgram}` };
  for (const [old = '', snap = ''] of [
    ['-', 'monday'],
    ['monday', 'tuesday'],
  ]) {
    const args = ['examples/two-clusters.sh', dir('here'), dir('there'), 'volumes/vm-1', old, snap];
    await succeed('bash', args, { env });
  }
  const [sent, arrived] = [
    await bytesOf('here', 'volumes/vm-1@tuesday'),
    await bytesOf('there', 'volumes/vm-1@tuesday'),
  ];
  expect(arrived.equals(sent)).toBe(true);
});

test('examples/library.mjs lists what changed, and writes it as a stream', async () => {
  const args = ['examples/library.mjs', dir('here'), 'volumes/vm-1@tuesday', 'monday', dir('library.diff')];
  expect((await succeed(process.execPath, args)).toString()).toMatch(/^data 196608~4096$/m);
  expect((await rbdeltaOk(['inspect', '--json', dir('library.diff')])).toString()).toContain('"tuesday"');
});

describe('a repository', () => {
  /** `rbdelta` as a crontab and a unit find it. */
  const program = (): string => dir('bin/rbdelta');
  const repository = (): string => dir('repository');
  const env = (): Record<string, string> => ({ RBDELTA: program() });

  beforeAll(async () => {
    await mkdir(dir('bin'));
    const script = `#!/bin/sh\nRBDELTA_DIR='${dir('here')}' exec '${process.execPath}' '${rbdeltaProgram}' "$@"\n`;
    await writeFile(program(), script, { mode: 0o755 });
    await rbdeltaOk(['repo', 'init', repository()]);
  });

  const changeImage = async (seed: number): Promise<void> => {
    const pool = await openLocalPool(dir('here'));
    const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'vm-1', snap: null });
    await image.write(seed * 10_000, noise(seed, 50_000));
    await image.writeZeroes(0, 8192);
    await image.close();
    await pool.close();
  };
  const points = async (): Promise<{ point: string; last_proof?: object }[]> =>
    JSON.parse((await rbdeltaOk(['repo', 'list', '--json', repository()])).toString());

  /** Lines of a file that begin so, without that; `s3://…` is our repository. */
  const linesOf = async (name: string, begin: RegExp): Promise<string[]> => {
    const text = (await readFile(`examples/${name}`, 'utf8')).replaceAll('s3://backups/prod', repository());
    return text.split('\n').flatMap((line) => (begin.test(line) ? [line.replace(begin, '')] : []));
  };

  test('examples/nightly.sh: nothing is printed when all is well', async () => {
    for (const seed of [1, 2]) {
      await changeImage(seed);
      const night = ['examples/nightly.sh', repository(), 'volumes/vm-*'];
      expect((await succeed('bash', night, { env: env() })).toString()).toBe('');
    }
    // Two of one day, of which one stays; unless midnight has come between.
    const days = new Set((await points()).map(({ point }) => point.slice(0, 8)));
    expect(await points()).toHaveLength(days.size);
  });

  test('examples/crontab: cron has nothing to mail when all is well, and the end of the log when not', async () => {
    const variables = (await linesOf('crontab', /^(?=[A-Z]+=)/)).map((line) =>
      line.replace(/^LOG=.*/, `LOG=${dir('log')}`),
    );
    const given: Record<string, string> = Object.fromEntries(
      variables.map((line) => [line.split('=')[0], line.slice(line.indexOf('=') + 1)]),
    );
    const around = { ...given, PATH: `${dir('bin')}:${given['PATH']}`, HOME: folder };
    const lines = await linesOf('crontab', /^(?:[\d*/,-]+ +){5}root +/);
    expect(lines.map((line) => line.split(' ').slice(0, 3).join(' '))).toEqual([
      'rbdelta backup --wait',
      'rbdelta repo prune',
      'rbdelta repo verify',
    ]);
    await changeImage(3);
    const run = async (line: string) => {
      expect(line).not.toMatch(/(?<!\\)%/); // cron would make a line break of it
      const { status, stdout, stderr } = await runProgram('env', [
        '-i',
        ...Object.entries(around).map(([name, value]) => `${name}=${value}`),
        given['SHELL'] ?? '',
        '-c',
        line,
      ]);
      return { status, stdout: stdout.toString(), stderr };
    };
    for (const line of lines) expect(await run(line)).toEqual({ status: 0, stdout: '', stderr: '' });
    expect((await points()).at(-1)).toMatchObject({ last_proof: {} });
    expect(await readFile(dir('log'), 'utf8')).toContain('volumes/vm-1: ');
    await rename(repository(), dir('away'));
    const failed = await run(lines[0] ?? '');
    await rename(dir('away'), repository());
    expect(failed.stdout).toMatch(/rbdelta: .*repository.*\n/);
  });

  test('examples/rbdelta.service and examples/rbdelta.timer: systemd takes them', async ({ skip }) => {
    if ((await runProgram('sh', ['-c', 'command -v systemd-analyze'])).status !== 0) return skip();
    for (const unit of ['rbdelta.service', 'rbdelta.timer']) {
      const text = await readFile(`examples/${unit}`, 'utf8');
      await writeFile(dir(unit), text.replaceAll('/usr/local/bin/rbdelta', program()));
    }
    const units = [dir('rbdelta.service'), dir('rbdelta.timer')];
    const verified = await runProgram('systemd-analyze', ['verify', '--man=no', ...units]);
    expect({ ...verified, stdout: verified.stdout.toString() }).toMatchObject({ status: 0, stdout: '', stderr: '' });
  });

  test('examples/rbdelta.service: each line does its work', async () => {
    await changeImage(4);
    const before = (await points()).length;
    const lines = await linesOf('rbdelta.service', /^ExecStart=\/usr\/local\/bin\/rbdelta /);
    expect(lines).toHaveLength(3);
    // No shell stands between: nobody else expands a pattern.
    for (const line of lines) await succeed(program(), line.split(' '));
    expect((await points()).length).toBeGreaterThanOrEqual(before);
    expect((await points()).at(-1)).toMatchObject({ last_proof: {} });
  });

  test('examples/restore.sh: what there is, and a new image beside the old one', async () => {
    const restore = async (...args: string[]): Promise<string> =>
      (await succeed('bash', ['examples/restore.sh', repository(), ...args], { env: env() })).toString();
    const newest = (await points()).at(-1)!.point;
    expect(await restore()).toContain('volumes/vm-1');
    expect(await restore('volumes/vm-1')).toContain(newest);
    const head = await bytesOf('here', 'volumes/vm-1');
    expect(await restore('volumes/vm-1@latest')).toContain(`is now volumes/vm-1-restored-${newest.split('Z')[0]}`);
    expect((await bytesOf('here', `volumes/vm-1-restored-${newest.split('Z')[0]}`)).equals(head)).toBe(true);
    await restore(newest, `file:${dir('restored.raw')}`);
    expect((await readFile(dir('restored.raw'))).equals(head)).toBe(true);
    await expect(restore('volumes/vm-1@latest')).rejects.toThrow('status 17');
    // A raw file that was backed up, with a name that is two words: beside it as well.
    const disk = dir('old disk.raw');
    await writeFile(disk, head);
    const files = dir('files');
    await rbdeltaOk(['repo', 'init', files]);
    await rbdeltaOk(['backup', `file:${disk}`, files]);
    await succeed('bash', ['examples/restore.sh', files, `file:${disk}@latest`], { env: env() });
    const [name = ''] = (await readdir(folder)).filter((one) => one.startsWith('old disk.raw-restored-'));
    expect((await readFile(dir(name))).equals(head)).toBe(true);
  });

  /** A new point, what it holds, and a call that restores it; rbdelta is not on the path. */
  const byHand = async (seed: number) => {
    await changeImage(seed);
    await rbdeltaOk(['--cluster-dir', dir('here'), 'backup', 'volumes/vm-1', repository()]);
    const newest = (await points()).at(-1)!.point;
    const script = ['examples/restore-without-rbdelta.sh', `${repository()}/volumes/vm-1`, newest];
    const restore = (target: string) => succeed('bash', [...script, target], { env: { PATH: '/usr/bin:/bin' } });
    return { head: await bytesOf('here', 'volumes/vm-1'), restore };
  };

  test('examples/restore-without-rbdelta.sh: by zstd and examples/apply-diffs.py', async () => {
    const { head, restore } = await byHand(5);
    await restore(`file:${dir('by-hand.raw')}`);
    expect((await readFile(dir('by-hand.raw'))).equals(head)).toBe(true);
  });

  test.runIf(process.env['RBDELTA_TEST_CEPH'] === '1')('the same, by zstd and rbd', async () => {
    const { head, restore } = await byHand(6);
    const image = `volumes/by-hand-${process.pid}`;
    await rbd(['create', '--size', '1', image]);
    await restore(image);
    expect((await rbd(['export', '--no-progress', image, '-'])).equals(head)).toBe(true);
    await rbd(['snap', 'purge', '--no-progress', image]);
    await rbd(['rm', '--no-progress', image]);
  });
});
