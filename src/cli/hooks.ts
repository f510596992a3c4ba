// Commands of the user's own that run around a step, as fsfreeze around the making of a snapshot.

import { spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { RbdeltaError } from '../error.ts';

export interface Hook {
  /** For messages: the option that gave it. */
  option: string;
  /** Run by sh; what it prints goes to stderr. */
  command: string;
  env: Readonly<Record<string, string | undefined>>;
  /** A hook that takes longer is ended. */
  timeoutMs: number;
  /** Ends it as well. Absent: it is what undoes something, and is to run in any case. */
  signal?: AbortSignal;
}

/** Resolves when it ended with status 0. `io` if it fails or cannot be run, `timeout`, or the reason of the signal. */
export async function runHook({ option, command, env, timeoutMs, signal }: Hook): Promise<void> {
  signal?.throwIfAborted();
  const name = `--${option} '${command}'`;
  // A process group of its own: what it has started is ended with it.
  const child = spawn('/bin/sh', ['-c', command], { stdio: ['ignore', 2, 2], env, detached: true });
  const ended = new Promise<void>((resolve, reject) => {
    child.on('error', (error) =>
      reject(new RbdeltaError('io', `cannot run ${name}: ${error.message}`, { cause: error })),
    );
    child.on('exit', (status, by) => {
      if (status === 0) return resolve();
      const how = by === null ? `ended with status ${status}` : `was ended by ${by}`;
      reject(new RbdeltaError('io', `${name} ${how}`));
    });
  });
  let stop: (error: unknown) => void = () => {};
  const stopped = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const timer = setTimeout(() => {
    const message = `${name} did not end within ${timeoutMs / 1000} s`;
    stop(new RbdeltaError('timeout', message, { hint: '--hook-timeout SECONDS gives it more time' }));
  }, timeoutMs);
  const onAbort = (): void => stop(signal?.reason);
  signal?.addEventListener('abort', onAbort);
  let isStopped = true;
  try {
    await Promise.race([ended.finally(() => (isStopped = false)), stopped]);
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener('abort', onAbort);
    if (isStopped && child.pid !== undefined) await endGroup(child.pid);
  }
}

/** How long processes have to end by themselves. */
const graceMs = 5000;

async function endGroup(group: number): Promise<void> {
  const send = (signal: NodeJS.Signals | 0): boolean => {
    try {
      return process.kill(-group, signal);
    } catch {
      // None of them is there any more, or none may be told.
      return false;
    }
  };
  const giveUpMs = performance.now() + graceMs;
  send('SIGTERM');
  while (send(0)) {
    if (performance.now() > giveUpMs) return void send('SIGKILL');
    await sleep(20);
  }
}
