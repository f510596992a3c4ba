// Signals and broken pipes: cleaned up, with the status that a shell expects.

import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { constants } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
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
