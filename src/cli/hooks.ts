// Commands of the user's own that run around a step, as fsfreeze around the making of a snapshot.

import { spawn } from 'node:child_process';
import { RbdeltaError } from '../error.ts';
import type { Call } from './command.ts';

/** Runs `command` by sh, with `env` added to ours; what it prints goes to stderr. `io` if it fails, or cannot be run. */
export function runHook(call: Call, option: string, command: string, env: Record<string, string>): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', command], {
      stdio: ['ignore', 2, 2],
      env: { ...call.env, ...env },
    });
    child.on('error', (error) =>
      reject(new RbdeltaError('io', `cannot run --${option} '${command}': ${error.message}`, { cause: error })),
    );
    child.on('exit', (status, signal) => {
      if (status === 0) return resolve();
      const how = signal === null ? `ended with status ${status}` : `was ended by ${signal}`;
      reject(new RbdeltaError('io', `--${option} '${command}' ${how}`));
    });
  });
}
