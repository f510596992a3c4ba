// What a command is to the command line, and what it is given to run.

import type { Args } from './args.ts';
import type { Positionals } from './names.ts';
import type { OptionName } from './options.ts';
import type { Progress } from './progress.ts';
import type { TextOutput } from './terminal.ts';

export interface Command {
  /** Names of the positionals, in order, as the help shows them; `[…]` may be left out, `…` at the end repeats. */
  positionals: readonly string[];
  options: readonly OptionName[];
  /** What options are for, where that differs from what they are for elsewhere. */
  describe?: Partial<Record<OptionName, string>>;
  /** Command lines without the leading `rbdelta`, each with what it does. */
  examples: readonly (readonly [string, string])[];
  /** More to know, below the options. */
  notes?: string;
  /** Resolves when all is done: to the exit status, or to nothing for 0. */
  run(call: Call): Promise<number | void>;
}

/** One call of a command: everything from outside comes from here. */
export interface Call {
  args: Args;
  positionals: Positionals;
  env: Readonly<Record<string, string | undefined>>;
  /** Aborted by SIGINT and SIGTERM, with the failure as its reason. */
  signal: AbortSignal;
  stdout: TextOutput;
  /** Width of the terminal, or what COLUMNS says, or 80. */
  columns: number;
  /** One line to the person, on stderr. */
  notice: (text: string) => void;
  /** Shows on stderr how far a task is; silent where that is no terminal. */
  progress: (task: string) => Progress;
}

/** A command of the list: its code is loaded when it is called. */
export interface CommandEntry {
  /** The words of the command; the first is the one that is shown. */
  names: readonly string[];
  /** One line for the list of commands. */
  summary: string;
  load: () => Promise<{ command: Command }>;
}
