// How the process ends: by a status, or, when it was interrupted and something cannot be called back, by the signal.

import { constants } from 'node:os';
import { RbdeltaError } from '../error.ts';

export interface Interrupt {
  /** Aborted by the first SIGINT, SIGTERM or SIGHUP; one that comes later ends the process at once. */
  signal: AbortSignal;
  received(): NodeJS.Signals | null;
}

const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/** `timeout` and shells signal the process, and its group besides: what comes so soon is the same interrupt. */
const sameMs = 500;

export function onSignals(): Interrupt {
  const controller = new AbortController();
  let received: NodeJS.Signals | null = null;
  const interrupt = (signal: NodeJS.Signals): void => {
    if (received !== null) return;
    received = signal;
    setTimeout(forget, sameMs).unref();
    controller.abort(new RbdeltaError('interrupted', `interrupted by ${signal}`));
  };
  const forget = (): void => {
    for (const one of signals) process.removeListener(one, interrupt);
  };
  for (const one of signals) process.on(one, interrupt);
  return { signal: controller.signal, received: () => received };
}

/** What an interrupted process ends with: 130 for SIGINT, 143 for SIGTERM. */
export const statusOfSignal = (signal: NodeJS.Signals): number => 128 + constants.signals[signal];

let abandoned = false;

/** Says that a thread still waits inside a library, which nothing shows and nobody can call back. */
export const abandon = (): void => {
  abandoned = true;
};

/** Threads that wait inside a system call (a read of a pipe) or a library (a connection) would hold up `exit`. */
const waiting = (): boolean => abandoned || process.getActiveResourcesInfo().some((name) => /Req|Work/u.test(name));

export function endWith(status: number, interruptedBy: NodeJS.Signals | null): void {
  if (interruptedBy === null) process.exit(status);
  const ends = status === 130 ? statusOfSignal(interruptedBy) : status;
  // A shell sees the same status either way.
  if (waiting()) {
    process.removeAllListeners(interruptedBy);
    process.kill(process.pid, interruptedBy);
  } else process.exit(ends);
}
