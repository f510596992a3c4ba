// A place for tests of the command line: a directory of its own with a local pool, and rbdelta in it.

import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished, vi } from 'vitest';
import { run as runCommandLine } from '../../src/cli/run.ts';
import { type CommandOptions, rbdelta } from '../kit/command.ts';

export interface Result {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface World {
  dir: string;
  /** What the program finds around it: the local pool, and nothing of the machine's own. */
  env: Record<string, string | undefined>;
  path: (name: string) => string;
  /**
   * Runs to the end, in the directory, whatever the status: in this process, which is quicker, or, given options, as
   * the program that was built. Only that one has a standard input and output of its own.
   */
  run: (line: string | string[], options?: CommandOptions) => Promise<Result>;
  /** As `run`; the status must be 0. Resolves to stdout. */
  ok: (line: string | string[], options?: CommandOptions) => Promise<string>;
}

/** With the pools `volumes` and `backups` unless `pools` says otherwise. Removed after the test. */
export async function makeWorld({ pools = ['volumes', 'backups'] } = {}): Promise<World> {
  const dir = mkdtempSync(join(tmpdir(), 'rbdelta-cli-'));
  const home = process.cwd();
  process.chdir(dir);
  // librados looks for itself.
  vi.stubEnv('CEPH_CONF', undefined);
  vi.stubEnv('CEPH_ARGS', undefined);
  onTestFinished(() => {
    vi.unstubAllEnvs();
    process.chdir(home);
    rmSync(dir, { recursive: true, force: true });
  });
  const env = {
    RBDELTA_DIR: join(dir, 'pool'),
    CEPH_CONF: undefined,
    CEPH_ARGS: undefined,
    HOME: dir,
    LANG: 'C.UTF-8',
    COLUMNS: '80',
    TZ: 'UTC',
  };
  const run: World['run'] = async (line, options) => {
    const words = typeof line === 'string' ? line.split(' ') : line;
    if (options === undefined) return runHere(words, env);
    const result = await rbdelta(words, { cwd: dir, ...options, env: { ...env, ...options.env } });
    return { status: result.status, stdout: result.stdout.toString(), stderr: result.stderr };
  };
  const ok: World['ok'] = async (line, options) => {
    const { status, stdout, stderr } = await run(line, options);
    if (status !== 0) throw new Error(`rbdelta ${String(line)}: status ${status}: ${stderr}`);
    return stdout;
  };
  for (const pool of pools) await ok(`pool create ${pool}`);
  return { dir, env, path: (name) => join(dir, name), run, ok };
}

async function runHere(words: string[], env: Record<string, string | undefined>): Promise<Result> {
  let [stdout, stderr] = ['', ''];
  const status = await runCommandLine(words, {
    env,
    signal: new AbortController().signal,
    stdout: { write: async (text) => void (stdout += text), flush: async () => undefined },
    writeError: (text) => void (stderr += text),
    columns: () => 80,
    progress: false,
  });
  return { status, stdout, stderr };
}
