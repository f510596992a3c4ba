// Help: laid out by yargs (but for the examples, which it would wrap), from the same tables that the command line is read with.

import type { Argv } from 'yargs';
import type { Command, CommandEntry } from './command.ts';
import { commands } from './commands.ts';
import { type OptionGroup, options } from './options.ts';

const widest = 100;

/** Help of one command. */
export async function helpOf(entry: CommandEntry, command: Command, columns: number): Promise<string> {
  const parser = await layout(columns);
  parser.usage([`rbdelta ${entry.names[0]} [options]`, ...command.positionals].join(' '));
  parser.usage(entry.summary);
  const groups = new Map<OptionGroup, string[]>();
  for (const option of command.options) {
    const spec = options[option];
    if (spec.hidden) continue;
    const shown = spec.value === undefined ? option : `${option}`;
    groups.set(spec.group, [...(groups.get(spec.group) ?? []), shown]);
    const text = command.describe?.[option] ?? spec.describe;
    const describe = spec.value === undefined ? text : `${spec.value}: ${text}`;
    parser.option(shown, { alias: [...(spec.alias ?? [])], describe });
  }
  for (const [group, names] of groups) parser.group(names, `${group}:`);
  return `${await parser.getHelp()}\n${examplesText(command.examples)}${notesText(command.notes, columns)}`;
}

/** The list of commands; of one group (`snap`) alone, if it is named. */
export async function overview(columns: number, group?: string): Promise<string> {
  const parser = await layout(columns);
  parser.usage('rbdelta <command> [options]');
  parser.usage('Incremental backups of Ceph RBD images, as rbd diff streams.');
  for (const { names, summary } of commands) {
    const name = names[0] ?? '';
    if (group === undefined || name.startsWith(`${group} `)) parser.command(name, summary);
  }
  const example = [
    'export-diff --from-snap mon vm-1@tue - | ssh dr rbdelta import-diff - vm-1',
    'an increment',
  ] as const;
  const notes =
    'rbdelta help <command> tells more. Options and specs are those of rbd; a path may be a file, - or s3://bucket/key.';
  const examples = group === undefined ? examplesText([example]) : '';
  return `${await parser.getHelp()}\n${examples}${notesText(notes, columns)}`;
}

/** Each command on a line of its own and never wrapped, so that it can be pasted. */
const examplesText = (examples: Command['examples']): string =>
  `\nExamples:\n${examples.map(([line, what]) => `  ${what}:\n    rbdelta ${line}\n`).join('')}`;

function notesText(notes: string | undefined, columns: number): string {
  if (notes === undefined) return '';
  const most = Math.min(columns, widest);
  const lines: string[] = [];
  for (const word of notes.split(' ')) {
    const longer = `${lines.at(-1)} ${word}`;
    if (lines.length > 0 && longer.length <= most) lines[lines.length - 1] = longer;
    else lines.push(word);
  }
  return `\n${lines.join('\n')}\n`;
}

async function layout(columns: number): Promise<Argv> {
  const { default: yargs } = await import('yargs');
  const parser = yargs([]).locale('en').help(false).version(false).scriptName('rbdelta');
  return parser.wrap(Math.min(columns, widest));
}
