// rbdelta: finds the command, runs it, and turns how it ended into an exit status.

import { RbdeltaError } from '../error.ts';
import { commandLine } from './command-line.ts';
import { endWith, onSignals } from './end.ts';
import { run } from './run.ts';
import { columns, isTerminal, textOutput, writeError } from './terminal.ts';

const interrupt = onSignals();
const ended = run(commandLine(), {
  env: process.env,
  signal: interrupt.signal,
  stdout: textOutput(1),
  writeError,
  columns: () => columns(process.env),
  progress: isTerminal(2),
}).catch((error: unknown) => {
  // `run` knows every failure that it can: this is one of its own.
  writeError(`${error instanceof RbdeltaError ? error.message : String(error)}\n`);
  return 70;
});
void ended.then((status) => endWith(status, interrupt.received()));
