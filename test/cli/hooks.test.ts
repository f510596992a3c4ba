// Hooks: what they end with, their time limit, and what an interrupt does to them.

import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { type Hook, runHook } from '../../src/cli/hooks.ts';
import { makeWorld } from './world.ts';

const hook = (command: string, more: Partial<Hook> = {}): Promise<void> =>
  runHook({ option: 'pre', command, env: process.env, timeoutMs: 60_000, ...more });

const isThere = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};

test('the status decides', async () => {
  await hook('true');
  await expect(hook('exit 3')).rejects.toMatchObject({ code: 'io', message: "--pre 'exit 3' ended with status 3" });
  await expect(hook('kill -KILL $$')).rejects.toMatchObject({
    code: 'io',
    message: expect.stringContaining('SIGKILL'),
  });
});

test('one that takes too long is ended with all it started', async () => {
  const { path } = await makeWorld({ pools: [] });
  const command = `sleep 600 & echo $! > ${path('pid')}; wait`;
  await expect(hook(command, { timeoutMs: 500 })).rejects.toMatchObject({
    code: 'timeout',
    message: expect.stringMatching(/ did not end within 0.5 s$/),
    hint: expect.stringContaining('--hook-timeout'),
  });
  expect(isThere(Number(readFileSync(path('pid'), 'utf8')))).toBe(false);
});

test('an interrupt ends it, and is the failure', async () => {
  const { path } = await makeWorld({ pools: [] });
  const controller = new AbortController();
  const running = hook(`trap 'touch ${path('cleaned')}; exit' TERM; touch ${path('begun')}; sleep 600 & wait`, {
    signal: controller.signal,
  });
  const failed = running.catch((error: unknown) => error);
  while (!existsSync(path('begun'))) await sleep(20);
  controller.abort(new RbdeltaError('interrupted', 'interrupted by SIGINT'));
  expect(await failed).toMatchObject({ code: 'interrupted' });
  expect(existsSync(path('cleaned'))).toBe(true);
  await expect(hook('true', { signal: controller.signal })).rejects.toMatchObject({ code: 'interrupted' });
});

test('a backup whose --pre takes too long fails with timeout; --post runs', async () => {
  const { ok, run, path } = await makeWorld();
  await ok('repo init repo');
  await ok('create --size 1 volumes/vm');
  const words = ['backup', 'volumes/vm', 'repo', '--hook-timeout', '0.3', '--pre', 'sleep 600'];
  const { status, stderr } = await run([...words, '--post', `echo $RBDELTA_IMAGE > ${path('post')}`]);
  expect(status).toBe(110);
  expect(stderr).toContain("--pre 'sleep 600' did not end within 0.3 s");
  expect(readFileSync(path('post'), 'utf8')).toBe('volumes/vm\n');
  expect(await ok('snap ls volumes/vm')).toBe('');
});
