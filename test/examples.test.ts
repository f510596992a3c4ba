// The examples do what they say. (examples/quickstart.sh and examples/blocks-that-differ.mjs are run by .ci/run.)

import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { rbdeltaOk, rbdeltaProgram, succeed } from './kit/command.ts';
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

test('examples/nightly.sh and examples/restore.sh: a night, another night, and three ways back', async () => {
  const repository = dir('repository');
  const env = { RBDELTA: `${process.execPath} ${rbdeltaProgram}`, RBDELTA_DIR: dir('here') };
  await rbdeltaOk(['repo', 'init', repository]);
  const night = (): Promise<Buffer> => succeed('bash', ['examples/nightly.sh', repository, 'volumes/vm-*'], { env });
  expect((await night()).toString()).toBe('');
  await writeFile(dir('more.raw'), noise(9, 100_000));
  const diff = ['examples/blocks-that-differ.mjs', dir('after.raw'), dir('more.raw'), 'tuesday', 'wednesday'];
  const stdin = await succeed(process.execPath, diff);
  await here('snap', 'rollback', '--no-progress', 'volumes/vm-1@tuesday');
  await rbdeltaOk(['--cluster-dir', dir('here'), 'import-diff', '--no-progress', '-', 'volumes/vm-1'], { stdin });
  expect((await night()).toString()).toBe('');
  await succeed('bash', ['examples/restore.sh', repository, 'volumes/vm-1', dir('restored')], { env });
  const restored = await readFile(dir('restored/by-hand.raw'));
  expect(restored.equals(await bytesOf('here', 'volumes/vm-1@wednesday'))).toBe(true);
});
