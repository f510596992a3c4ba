// Shell completion, by yargs from the same tables: the script, and the answers that it asks rbdelta for.

import type { Argv } from 'yargs';
import type { Command, CommandEntry } from './command.ts';
import { commandOf, commands } from './commands.ts';
import { options } from './options.ts';

/** Prints the script for the shell that SHELL names. */
export async function printCompletionScript(): Promise<void> {
  (await parserOf([])).showCompletionScript();
}

/** Prints what may come next: `argv` is what the script calls rbdelta with. */
export async function printCompletions(argv: readonly string[]): Promise<void> {
  await (await parserOf(argv)).parse();
}

async function parserOf(argv: readonly string[]): Promise<Argv> {
  const { default: yargs } = await import('yargs');
  const parser = yargs([...argv])
    .locale('en')
    .help(false)
    .version(false)
    .scriptName('rbdelta')
    .exitProcess(false);
  const words = argv.slice(argv.indexOf('--get-yargs-completions') + 2).filter((word) => !word.startsWith('-'));
  const found = commandOf(words);
  // Only the options of the command that is already there are asked for.
  const called = found === null ? null : { entry: found.entry, command: (await found.entry.load()).command };
  const add = (to: Argv, name: string, entry: CommandEntry): void => {
    to.command(name, entry.summary, (inner) => {
      if (called?.entry === entry) addOptions(inner, called.command);
      return inner;
    });
  };
  // Commands of several words are commands of a command to yargs.
  type Member = [words: string[], entry: CommandEntry];
  const addAll = (to: Argv, members: readonly Member[]): void => {
    const groups = new Map<string, Member[]>();
    for (const [[first = '', ...rest], entry] of members) {
      if (rest.length === 0) add(to, first, entry);
      else groups.set(first, [...(groups.get(first) ?? []), [rest, entry]]);
    }
    for (const [group, inside] of groups) {
      to.command(group, inside.map(([words]) => words.join(' ')).join(', '), (inner) => {
        addAll(inner, inside);
        return inner;
      });
    }
  };
  addAll(
    parser,
    commands.map((entry) => [(entry.names[0] ?? '').split(' '), entry]),
  );
  return parser.completion('completion', false);
}

function addOptions(parser: Argv, command: Command): void {
  for (const option of command.options) {
    const { value, describe, hidden, alias } = options[option];
    if (hidden) continue;
    const choices =
      value !== undefined && /^[a-z0-9]+(\|[a-z0-9]+)+$/u.test(value) ? { choices: value.split('|') } : {};
    parser.option(option, {
      describe,
      alias: (alias ?? []).filter((name) => name.length > 1),
      boolean: value === undefined,
      ...choices,
    });
  }
}
