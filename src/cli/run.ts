// One command line from its words to its exit status. Everything from outside is passed in.

import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import { errnoOf } from '../bytes/errno.ts';
import { printable } from '../bytes/text.ts';
import { exitStatus } from '../error.ts';
import { type Args, readArgs, usage } from './args.ts';
import type { Command } from './command.ts';
import { chooseCluster } from './cluster.ts';
import { commandOf, commands } from './commands.ts';
import { knownFailure } from './failure.ts';
import { Positionals } from './names.ts';
import { cluster } from './options.ts';
import { type Progress, silent, terminalProgress } from './progress.ts';
import type { TextOutput } from './terminal.ts';
import { oneOf } from './values.ts';

export interface Surroundings {
  env: Readonly<Record<string, string | undefined>>;
  signal: AbortSignal;
  stdout: TextOutput;
  writeError: (text: string) => void;
  columns: () => number;
  /** Whether there is somebody to look at progress. */
  progress: boolean;
}

/** Resolves to the exit status; prints failures, never rejects with one. */
export async function run(argv: readonly string[], around: Surroundings): Promise<number> {
  let progress: Progress = silent;
  const say = (text: string): void => {
    progress.clear();
    around.writeError(text);
  };
  try {
    if (argv.includes('--get-yargs-completions')) {
      const { printCompletions } = await import('./completion.ts');
      await printCompletions(argv);
      return 0;
    }
    const args = readArgs(argv);
    const status = await dispatch(args, around, say, (task) => {
      if (!around.progress || args.has('no-progress')) return silent;
      progress = terminalProgress({
        task,
        write: around.writeError,
        columns: around.columns,
        nowMs: () => performance.now(),
      });
      return progress;
    });
    await around.stdout.flush();
    return status;
  } catch (error) {
    return fail(error, say);
  }
}

async function dispatch(
  args: Args,
  around: Surroundings,
  say: (text: string) => void,
  progress: (task: string) => Progress,
): Promise<number> {
  const words = args.positionals;
  const asksHelp = words[0] === 'help' || args.has('help');
  if (words[0] === 'help') words.shift();
  else if (args.has('version')) {
    const { version } = await import('./version.ts');
    await around.stdout.write(`rbdelta ${version}\n`);
    return 0;
  }
  const found = commandOf(words);
  if (found === null) {
    if (words.length > 0 && !isGroup(words)) {
      const named = words.slice(0, isGroup(words.slice(0, 1)) ? 2 : 1);
      throw usage(`unknown command '${named.join(' ')}'`, 'rbdelta help lists the commands');
    }
    const { overview } = await import('./help.ts');
    await around.stdout.write(await overview(around.columns(), words.join(' ') || undefined));
    return words.length > 0 && !asksHelp ? exitStatus.usage : 0;
  }
  const { command } = await found.entry.load();
  if (asksHelp) {
    const { helpOf } = await import('./help.ts');
    await around.stdout.write(await helpOf(found.entry, command, around.columns()));
    return 0;
  }
  words.splice(0, found.words);
  acceptFormat(args, command);
  check(args, command, found.entry.names[0] ?? '', around.env);
  // rbd is silent about these; a person may have meant something else.
  const taken = command.positionals.length - replaced(args, command);
  const ignored = takesMany(command) ? [] : args.positionals.slice(taken);
  if (ignored.length > 0) say(`rbdelta: ignored, since an option says it: ${ignored.join(' ')}\n`);
  const positionals = new Positionals(args);
  const status = await command.run({
    args,
    positionals,
    env: around.env,
    signal: around.signal,
    stdout: around.stdout,
    columns: around.columns(),
    notice: (text) => say(`rbdelta: ${text}\n`),
    progress,
  });
  return status ?? 0;
}

/** The first words of several commands, as `snap`. */
const isGroup = (words: readonly string[]): boolean =>
  words.length > 0 && commands.some(({ names }) => names[0]?.startsWith(`${words.join(' ')} `));

/** Of a command that prints its result as json or not at all, `--format json` is `--json`. */
function acceptFormat(args: Args, { options }: Command): void {
  if (!options.includes('json') || options.includes('format') || !args.has('format')) return;
  const format = args.value('format', oneOf('plain', 'json'));
  if (format === 'plain' && args.has('json')) throw usage('--json and --format plain exclude each other');
  if (format === 'json' && !args.has('json')) args.set('json', '');
}

/** Refuses what the command does not take. */
function check(args: Args, command: Command, name: string, env: Surroundings['env']): void {
  const hint = `rbdelta help ${name}`;
  for (const option of args.given()) {
    // `acceptFormat` has dealt with it.
    if (option === 'format' && command.options.includes('json')) continue;
    // Ceph's options may be given to any command, as they may to rbd.
    if (!command.options.includes(option) && !(cluster as readonly string[]).includes(option)) {
      throw usage(`unrecognised option '--${option}' of ${name}`, hint);
    }
  }
  const foreign = args.foreign[0];
  const forCeph = command.options.includes('conf') && chooseCluster(args, env).kind === 'ceph';
  if (foreign !== undefined && !forCeph) throw usage(`unrecognised option '${foreign}'`, hint);
  const most = takesMany(command) ? Number.POSITIVE_INFINITY : command.positionals.length;
  if (args.positionals.length > most)
    throw usage(`too many arguments: '${args.positionals[most]}' is one more than ${name} takes`, hint);
}

/** How many positionals options stand for. `--image` of import (which has `--dest`) does not. */
const replaced = (args: Args, { options }: Command): number =>
  (['path', 'image', 'dest'] as const).filter(
    (name) => args.has(name) && options.includes(name) && !(name === 'image' && options.includes('dest')),
  ).length;

const takesMany = ({ positionals }: Command): boolean => positionals.at(-1)?.includes('...') ?? false;

/** Prints what went wrong; returns the status. */
function fail(error: unknown, say: (text: string) => void): number {
  const known = knownFailure(error);
  if (known === null) {
    say(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
    say('rbdelta: this is a bug in rbdelta, please report it with the lines above\n');
    return exitStatus.bug;
  }
  // Nobody listens at the other end of the pipe: that somebody left is no news.
  if (known.code !== 'brokenPipe') {
    say(`rbdelta: ${oneLine(known.message)}\n`);
    const hint = known.hint ?? missingDirectory(known.cause);
    if (hint !== undefined) say(`hint: ${oneLine(hint)}\n`);
  }
  return exitStatus[known.code];
}

/** Of a file that is not there: that its directory is not there either is what there is to know. */
function missingDirectory(cause: unknown): string | undefined {
  const { path } = (cause ?? {}) as { path?: unknown };
  if (errnoOf(cause) !== 'ENOENT' || typeof path !== 'string' || existsSync(dirname(path))) return undefined;
  return `there is no directory ${dirname(path)}`;
}

/** Whatever was named: one line, and nothing that moves the cursor. */
const oneLine = (text: string): string =>
  text.replaceAll(/\s*\n\s*/gu, ' ').replaceAll(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu, printable);
