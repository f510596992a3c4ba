// Signals and broken pipes: cleaned up, with the status that a shell expects.

import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readdirSync, statSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { CreateBucketCommand, DeleteBucketCommand } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { openLocalPool } from '../../src/image/local/index.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/port.ts';
import { connectS3 } from '../../src/store/s3.ts';
import { rbdeltaProgram, run as runProgram } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { collect, keysOf } from '../suites/store.ts';
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

async function until(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}

describe('interrupted', () => {
  test('an export removes its file and ends with 130', async () => {
    const world = await makeWorld();
    await writeFile(world.path('raw'), noise(1, 4 << 20));
    const child = start(world, 'export-diff file:raw out --max-rate 100K');
    const status = statusOf(child);
    await until(() => existsSync(world.path('out')));
    child.kill('SIGINT');
    // As `timeout` does, which signals the process and then its group.
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
    await sleep(20);
    child.kill('SIGTERM');
    expect(await status).toBe(143);
    expect(await world.ok('diff backups/vm')).toBe('');
  });
});

const MiB = 1 << 20;
const rate = '2M';

/** Where repositories are. */
const places = ['a directory', ...(process.env['RBDELTA_TEST_S3'] === '1' ? ['S3'] : [])];
const bucket = `rbdelta-interrupt-${process.pid}-${randomBytes(4).toString('hex')}`;

beforeAll(async () => {
  if (!places.includes('S3')) return;
  const { client } = await connectS3();
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
  client.destroy();
});
afterAll(async () => {
  if (!places.includes('S3')) return;
  const [store, { client }] = [await openStore(`s3://${bucket}`), await connectS3()];
  await store.remove(await keysOf(store));
  await client.send(new DeleteBucketCommand({ Bucket: bucket }));
  await store.close();
  client.destroy();
});

interface Repo {
  /** As the command line has it. */
  where: string;
  /** Past the command line. */
  store: Store;
}
interface Backups extends World {
  repo: Repo;
  other: Repo;
  ids: (repo: Repo) => Promise<string[]>;
}

/**
 * `repo` with a point of `volumes/vm`, which was changed since in every other block: so much that nothing at `rate` is done
 * at once. `other` is empty.
 */
async function withBackup(place: string): Promise<Backups> {
  const world = await makeWorld();
  const prefix = place === 'S3' ? `s3://${bucket}/${randomBytes(4).toString('hex')}/` : '';
  const init = async (name: string): Promise<Repo> => {
    const where = prefix + name;
    await world.ok(`repo init ${where}`);
    const store = await openStore(where);
    onTestFinished(() => store.close());
    return { where, store };
  };
  const [repo, other] = [await init('repo'), await init('other')];
  await writeFile(world.path('raw'), noise(11, 24 * MiB));
  await world.ok('import raw volumes/vm');
  await world.ok(`backup volumes/vm ${repo.where}`);
  const pool = await openLocalPool(world.path('pool'));
  const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'vm', snap: null });
  for (let at = 0; at < 24 * MiB; at += MiB / 8) await image.write(at, noise(at, MiB / 16));
  await image.close();
  await pool.close();
  const ids = async ({ where }: Repo): Promise<string[]> =>
    JSON.parse(await world.ok(`repo list --json ${where}`)).map(({ point }: { point: string }) => point);
  return { ...world, repo, other, ids };
}

const files = (dir: string): string[] => readdirSync(dir, { recursive: true }).map(String);
/** Those of all images: another text as soon as a byte of one is written. */
const objects = ({ path }: World): string =>
  files(path('pool/objects'))
    .map((name) => `${name} ${statSync(path(`pool/objects/${name}`), { throwIfNoEntry: false })?.mtimeMs}`)
    .join();
/** A writer has begun. */
const isBegun = async ({ store }: Repo): Promise<boolean> =>
  (await keysOf(store)).some((key) => /\/intent\//.test(key));

const rows = places.flatMap((place) => [['SIGINT', place, 130] as const, ['SIGTERM', place, 143] as const]);

describe.each(rows)('%s, with %s, in the middle of a', { timeout: 300_000 }, (signal, place, status) => {
  /** It says so in one line (a backup in another one what comes next), does not wait for what the rate allows, and leaves no lock and nothing half written. */
  async function stop(world: Backups, line: string, isMiddle: () => boolean | Promise<boolean>): Promise<void> {
    const child = start(world, `${line} --max-rate ${rate}`);
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    const ended = statusOf(child);
    await until(async () => child.exitCode !== null || isMiddle());
    await sleep(500);
    child.kill(signal);
    const hint = line.startsWith('backup ') ? 'hint: the next run goes on\n' : '';
    expect({ status: await ended, said }).toEqual({ status, said: `rbdelta: interrupted by ${signal}\n${hint}` });
    for (const { store } of [world.repo, world.other]) {
      expect((await keysOf(store)).filter((key) => /\/lock\//.test(key))).toEqual([]);
      expect(await collect(store.leftovers(''))).toEqual([]);
    }
  }
  const expectClean = async (world: World, { where }: Repo): Promise<void> =>
    expect(JSON.parse(await world.ok(`repo check --json ${where}`))).toMatchObject({ findings: [] });
  /** The newest point is what the volume is now. */
  const expectRight = async (world: Backups, repo = world.repo): Promise<void> => {
    await world.ok(`restore ${repo.where} volumes/vm@latest file:back`);
    await world.ok('export volumes/vm now');
    expect((await readFile(world.path('back'))).equals(await readFile(world.path('now')))).toBe(true);
    await expectClean(world, repo);
  };

  test('backup: there is no point; the next one goes on', async () => {
    const world = await withBackup(place);
    const before = await world.ids(world.repo);
    await stop(world, `backup volumes/vm ${world.repo.where}`, () => isBegun(world.repo));
    expect(await world.ids(world.repo)).toEqual(before);
    await world.ok(`backup volumes/vm ${world.repo.where}`);
    await expectRight(world);
  });

  test('restore: nothing half is left, of a file or of an image', async () => {
    const world = await withBackup(place);
    await stop(world, `restore ${world.repo.where} volumes/vm@latest file:back`, () => existsSync(world.path('back')));
    expect(readdirSync(world.dir)).not.toContain('back');
    const before = files(world.path('pool')).length;
    await stop(
      world,
      `restore ${world.repo.where} volumes/vm@latest volumes/new`,
      () => files(world.path('pool')).length > before + 2,
    );
    expect(await world.ok('ls volumes')).toBe('vm\n');
    expect(JSON.parse(await world.ok('pool check --json'))).toMatchObject({ findings: [] });
  });

  test('restore in place: it says what the target is; the next one makes it whole', async () => {
    const world = await withBackup(place);
    await world.ok(`backup volumes/vm ${world.repo.where}`);
    const [first = '', second = ''] = await world.ids(world.repo);
    const before = objects(world);
    const child = start(world, `restore --in-place --max-rate ${rate} ${world.repo.where} ${first} volumes/vm`);
    let said = '';
    child.stderr?.on('data', (text: Buffer) => (said += text.toString()));
    const ended = statusOf(child);
    await until(() => child.exitCode !== null || objects(world) !== before);
    await sleep(500);
    child.kill(signal);
    expect(await ended).toBe(status);
    expect(said).toMatch(/^rbdelta: interrupted by SIG.*a mixture/m);
    await world.ok(`restore --in-place ${world.repo.where} ${first} volumes/vm`);
    await world.ok('export volumes/vm first');
    expect((await readFile(world.path('first'))).equals(await readFile(world.path('raw')))).toBe(true);
    await world.ok(`restore --in-place ${world.repo.where} ${second} volumes/vm`);
    await expectRight(world);
  });

  test('repo prune: what is to stay is whole; the next one does it', async () => {
    const world = await withBackup(place);
    await world.ok(`backup volumes/vm ${world.repo.where}`);
    const [first, second] = await world.ids(world.repo);
    await stop(world, `repo prune --keep-last 1 ${world.repo.where}`, () => isBegun(world.repo));
    expect(await world.ids(world.repo)).toEqual([first, second]);
    await world.ok(`restore ${world.repo.where} volumes/vm@latest file:meanwhile`);
    await world.ok(`repo prune --keep-last 1 ${world.repo.where}`);
    expect(await world.ids(world.repo)).toEqual([second]);
    await expectRight(world);
    expect((await readFile(world.path('meanwhile'))).equals(await readFile(world.path('now')))).toBe(true);
  });

  test('repo copy: nothing half is a point there; the next one does it', async () => {
    const world = await withBackup(place);
    await world.ok(`backup volumes/vm ${world.repo.where}`);
    await stop(world, `repo copy ${world.repo.where} ${world.other.where}`, () => isBegun(world.other));
    expect(await world.ids(world.other)).toEqual([]);
    await world.ok(`repo copy ${world.repo.where} ${world.other.where}`);
    expect(await world.ids(world.other)).toEqual(await world.ids(world.repo));
    await expectRight(world, world.other);
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
