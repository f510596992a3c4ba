// Signals and broken pipes: cleaned up, with the status that a shell expects.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { openLocalPool } from '../../src/image/local/index.ts';
import { rbdeltaProgram, run as runProgram } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { makeWorld, type World } from './world.ts';

const start = ({ dir, env }: World, line: string): ChildProcess =>
  spawn(process.execPath, [rbdeltaProgram, ...line.split(' ')], {
    cwd: dir,
    env: { ...process.env, ...env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });

/** As a shell reports it. */
async function statusOf(child: ChildProcess): Promise<number> {
  const [status, signal] = (await once(child, 'exit')) as [number | null, NodeJS.Signals | null];
  return status ?? 128 + constants.signals[signal ?? 'SIGKILL'];
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await sleep(20);
}

describe('interrupted', () => {
  test('an export removes its file and ends with 130', async () => {
    const world = await makeWorld();
    await writeFile(world.path('raw'), noise(1, 4 << 20));
    const child = start(world, 'export-diff file:raw out --max-rate 100K');
    const status = statusOf(child);
    await until(() => existsSync(world.path('out')));
    child.kill('SIGINT');
    expect(await status).toBe(130);
    expect(readdirSync(world.dir).sort()).toEqual(['pool', 'raw']);
  });

  test('an import from a pipe that gives no more puts the image back and ends with 143', async () => {
    const world = await makeWorld();
    await writeFile(world.path('raw'), noise(2, 4 << 20));
    await world.ok('export-diff file:raw full');
    await world.ok('create backups/vm --size 4');
    const child = start(world, 'import-diff - backups/vm');
    const status = statusOf(child);
    const full = await readFile(world.path('full'));
    await new Promise((resolve) => child.stdin?.write(full.subarray(0, 3 << 20), resolve));
    await sleep(500);
    child.kill('SIGTERM');
    expect(await status).toBe(143);
    expect(await world.ok('diff backups/vm')).toBe('');
  });
});

const MiB = 1 << 20;
const rate = '2M';

interface Backups extends World {
  ids: (repo?: string) => Promise<string[]>;
}

/**
 * `repo` with a point of `volumes/vm`, which was changed since in every other block: so much that nothing at `rate` is done
 * at once. `other` is empty.
 */
async function withBackup(): Promise<Backups> {
  const world = await makeWorld();
  for (const repo of ['repo', 'other']) await world.ok(`repo init ${repo}`);
  await writeFile(world.path('raw'), noise(11, 24 * MiB));
  await world.ok('import raw volumes/vm');
  await world.ok('backup volumes/vm repo');
  const pool = await openLocalPool(world.path('pool'));
  const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'vm', snap: null });
  for (let at = 0; at < 24 * MiB; at += MiB / 8) await image.write(at, noise(at, MiB / 16));
  await image.close();
  await pool.close();
  const ids = async (repo = 'repo'): Promise<string[]> =>
    JSON.parse(await world.ok(`repo list --json ${repo}`)).map(({ point }: { point: string }) => point);
  return { ...world, ids };
}

const files = (dir: string): string[] => readdirSync(dir, { recursive: true }).map(String);
const locks = (dir: string): string[] => files(dir).filter((name) => /lock\/./.test(name));
/** A writer has begun. */
const isBegun = (dir: string) => () => files(dir).some((name) => /intent\/./.test(name));

describe.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('%s in the middle of a', { timeout: 300_000 }, (signal, expected) => {
  /** It says so in one line, and does not wait for what the rate allows. */
  async function stop(world: World, line: string, isMiddle: () => boolean): Promise<void> {
    const child = start(world, `${line} --max-rate ${rate}`);
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    const status = statusOf(child);
    await until(() => isMiddle() || child.exitCode !== null);
    await sleep(500);
    child.kill(signal);
    expect({ status: await status, said }).toEqual({ status: expected, said: `rbdelta: interrupted by ${signal}\n` });
    expect([...locks(world.path('repo')), ...locks(world.path('other'))]).toEqual([]);
  }
  const expectClean = async (world: World, repo: string): Promise<void> =>
    expect(JSON.parse(await world.ok(`repo check --json ${repo}`))).toMatchObject({ findings: [] });
  /** The newest point is what the volume is now. */
  const expectRight = async (world: World, repo = 'repo'): Promise<void> => {
    await world.ok(`restore ${repo} volumes/vm@latest file:back`);
    await world.ok('export volumes/vm now');
    expect((await readFile(world.path('back'))).equals(await readFile(world.path('now')))).toBe(true);
    await expectClean(world, repo);
  };

  test('backup: there is no point; the next one goes on', async () => {
    const world = await withBackup();
    const before = await world.ids();
    await stop(world, 'backup volumes/vm repo', isBegun(world.path('repo')));
    expect(await world.ids()).toEqual(before);
    await world.ok('backup volumes/vm repo');
    await expectRight(world);
  });

  test('restore: nothing half is left, of a file or of an image', async () => {
    const world = await withBackup();
    await stop(world, 'restore repo volumes/vm@latest file:back', () => existsSync(world.path('back')));
    expect(readdirSync(world.dir)).not.toContain('back');
    const before = files(world.path('pool')).length;
    await stop(
      world,
      'restore repo volumes/vm@latest volumes/new',
      () => files(world.path('pool')).length > before + 2,
    );
    expect(await world.ok('ls volumes')).toBe('vm\n');
    expect(JSON.parse(await world.ok('pool check --json'))).toMatchObject({ findings: [] });
  });

  test('restore in place: it says what the target is; the next one makes it whole', async () => {
    const world = await withBackup();
    await world.ok('backup volumes/vm repo');
    const [first = '', second = ''] = await world.ids();
    const child = start(world, `restore --in-place --max-rate ${rate} repo ${first} volumes/vm`);
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    const status = statusOf(child);
    await sleep(3000);
    child.kill(signal);
    expect(await status).toBe(expected);
    expect(said).toMatch(/^rbdelta: interrupted by SIG.*a mixture/m);
    await world.ok(`restore --in-place repo ${first} volumes/vm`);
    await world.ok('export volumes/vm first');
    expect((await readFile(world.path('first'))).equals(await readFile(world.path('raw')))).toBe(true);
    await world.ok(`restore --in-place repo ${second} volumes/vm`);
    await expectRight(world);
  });

  test('repo prune: what is to stay is whole; the next one does it', async () => {
    const world = await withBackup();
    await world.ok('backup volumes/vm repo');
    const [first, second] = await world.ids();
    await stop(world, 'repo prune --keep-last 1 repo', isBegun(world.path('repo')));
    expect(await world.ids()).toEqual([first, second]);
    await world.ok('restore repo volumes/vm@latest file:meanwhile');
    await world.ok('repo prune --keep-last 1 repo');
    expect(await world.ids()).toEqual([second]);
    await expectRight(world);
    expect((await readFile(world.path('meanwhile'))).equals(await readFile(world.path('now')))).toBe(true);
  });

  test('repo copy: nothing half is a point there; the next one does it', async () => {
    const world = await withBackup();
    await world.ok('backup volumes/vm repo');
    await stop(world, 'repo copy repo other', isBegun(world.path('other')));
    expect(await world.ids('other')).toEqual([]);
    await world.ok('repo copy repo other');
    expect(await world.ids('other')).toEqual(await world.ids());
    await expectRight(world, 'other');
  });
});

describe('nobody reads', () => {
  test.each(['export-diff file:raw -', 'export file:raw -', 'inspect --json full'])(
    '%s | true ends quietly with 32',
    async (line) => {
      const world = await makeWorld();
      await writeFile(world.path('raw'), noise(3, 4 << 20));
      await world.ok('export-diff file:raw full');
      // The reader is gone before the first byte.
      const script = `(sleep 0.2; exec "$0" ${rbdeltaProgram} ${line}; ) | true; echo "\${PIPESTATUS[0]}"`;
      const result = await runProgram('bash', ['-c', script, process.execPath], { cwd: world.dir, env: world.env });
      expect({ stdout: result.stdout.toString(), stderr: result.stderr }).toEqual({ stdout: '32\n', stderr: '' });
    },
  );
});
