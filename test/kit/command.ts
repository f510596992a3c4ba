// Runs programs for tests: the real rbd, the built rbdelta, and whatever else has a command line.

import { type ChildProcess, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Readable } from 'node:stream';

export interface CommandResult {
  status: number | null;
  signal: NodeJS.Signals | null;
  stdout: Buffer;
  stderr: string;
}

export interface CommandOptions {
  stdin?: Uint8Array;
  env?: Record<string, string | undefined>;
  cwd?: string;
}

export const rbdeltaProgram = `${process.cwd()}/dist/cli/main.cjs`;

const collect = async (stream: Readable): Promise<Buffer> => {
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
};

const ended = async (child: ChildProcess): Promise<{ status: number | null; signal: NodeJS.Signals | null }> => {
  const [status, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { status, signal };
};

export interface Started {
  child: ChildProcess;
  result: Promise<CommandResult>;
}

export function start(program: string, args: string[], options: CommandOptions = {}): Started {
  const child = spawn(program, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: { ...process.env, ...options.env },
    ...(options.cwd !== undefined && { cwd: options.cwd }),
  });
  child.stdin.on('error', () => undefined); // a program may end without reading its input
  child.stdin.end(options.stdin);
  const result = Promise.all([ended(child), collect(child.stdout), collect(child.stderr)]).then(
    ([end, stdout, stderr]) => ({
      ...end,
      stdout,
      stderr: stderr.toString(),
    }),
  );
  return { child, result };
}

/** Runs to the end, whatever the status. */
export const run = (program: string, args: string[], options: CommandOptions = {}): Promise<CommandResult> =>
  start(program, args, options).result;

/** Runs to the end, which must be good; resolves to stdout. */
export async function succeed(program: string, args: string[], options: CommandOptions = {}): Promise<Buffer> {
  const result = await run(program, args, options);
  if (result.status !== 0) {
    throw new Error(`${program} ${args.join(' ')}: status ${result.status ?? result.signal}: ${result.stderr.trim()}`);
  }
  return result.stdout;
}

/** SHA-256 of what the program prints, which may be more than fits into memory. */
export async function digestOf(program: string, args: string[]): Promise<string> {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const hash = createHash('sha256');
  child.stdout.on('data', (chunk: Buffer) => hash.update(chunk));
  const [end, stderr] = await Promise.all([ended(child), collect(child.stderr)]);
  if (end.status !== 0) throw new Error(`${program} ${args.join(' ')}: status ${end.status}: ${stderr.toString()}`);
  return hash.digest('hex');
}

const quoted = (words: string[]): string => words.map((word) => `'${word.replaceAll("'", `'\\''`)}'`).join(' ');

/** `from | to` through a pipe of the shell, as users write it: how each ended, and what both said. */
export async function pipe(from: string[], to: string[]): Promise<{ statuses: number[]; stderr: string }> {
  const script = `${quoted(from)} | ${quoted(to)} >&2; echo "\${PIPESTATUS[*]}"`;
  const { stdout, stderr } = await run('bash', ['-c', script]);
  return { statuses: stdout.toString().trim().split(' ').map(Number), stderr };
}

export const rbdelta = (args: string[], options: CommandOptions = {}): Promise<CommandResult> =>
  run(process.execPath, [rbdeltaProgram, ...args], options);

/** rbdelta, which must succeed; resolves to stdout. */
export const rbdeltaOk = (args: string[], options: CommandOptions = {}): Promise<Buffer> =>
  succeed(process.execPath, [rbdeltaProgram, ...args], options);

/** The real `rbd`, which must succeed; resolves to stdout. */
export const rbd = (args: string[], options: CommandOptions = {}): Promise<Buffer> => succeed('rbd', args, options);
