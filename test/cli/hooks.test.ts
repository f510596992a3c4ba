// Hooks: what they end with, their time limit, and what an interrupt does to them.

import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
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

test('of a file, they run around the whole of the reading', async () => {
  const { ok, run, path } = await makeWorld({ pools: [] });
  await ok('repo init repo');
  writeFileSync(path('f.raw'), 'a'.repeat(65_536));
  // What --pre writes is in the point: it ran before the first read; --post after the last one.
  const pre = `printf frozen > ${path('f.raw')}; truncate -s 65536 ${path('f.raw')}`;
  const post = `printf thawed > ${path('f.raw')}; echo "$RBDELTA_IMAGE" > ${path('post')}`;
  await ok(['backup', 'file:f.raw', 'repo', '--pre', pre, '--post', post]);
  await ok(['restore', 'repo', `file:${path('f.raw')}@latest`, 'file:again.raw']);
  expect(readFileSync(path('again.raw'), 'utf8')).toBe(`frozen${'\0'.repeat(65_530)}`);
  expect(readFileSync(path('f.raw'), 'utf8')).toBe('thawed');
  expect(readFileSync(path('post'), 'utf8')).toBe('file:f.raw\n');

  for (const hooks of [
    ['--pre', 'false'],
    ['--post', 'false'],
  ]) {
    const { status, stderr } = await run(['backup', 'file:f.raw', 'repo', ...hooks]);
    expect({ status, stderr }).toEqual({ status: 5, stderr: expect.stringContaining(`'false' ended with status 1`) });
  }
  expect(JSON.parse(await ok('repo list --json repo'))).toHaveLength(1);
  rmSync(path('post'));
  rmSync(path('f.raw'));
  const gone = await run(['backup', 'file:f.raw', 'repo', '--post', `touch ${path('post')}`]);
  expect({ status: gone.status, post: existsSync(path('post')) }).toEqual({ status: 2, post: true });
});

test('with --snap there is nothing for them to run around: it is refused', async () => {
  const { ok, run } = await makeWorld();
  await ok('repo init repo');
  await ok('create --size 1 volumes/vm');
  await ok('snap create volumes/vm@mine');
  for (const option of ['--pre', '--post']) {
    const { status, stderr } = await run(['backup', '--snap', 'mine', option, 'true', 'volumes/vm', 'repo']);
    expect({ status, stderr }).toEqual({ status: 1, stderr: expect.stringContaining(`${option} and --snap`) });
  }
});
