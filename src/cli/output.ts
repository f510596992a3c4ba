// Prints a result in the format that was asked for: plain, json or xml.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { usage } from './args.ts';
import type { Call } from './command.ts';
import { type Tree, toJson, toXml } from './print.ts';
import { oneOf } from './values.ts';

export interface OutputFormat {
  format: 'plain' | 'json' | 'xml';
  pretty: boolean;
}

/** From `--format`, `--json` and `--pretty-format`, refused as rbd refuses them. */
export function outputFormat({ args }: Call): OutputFormat {
  const asked = args.value('format', oneOf('plain', 'json', 'xml'));
  if (args.has('json') && asked !== null && asked !== 'json')
    throw usage(`--json and --format ${asked} exclude each other`);
  const format = args.has('json') ? 'json' : (asked ?? 'plain');
  const pretty = args.has('pretty-format');
  if (pretty && format === 'plain') {
    throw new RbdeltaError('invalid', '--pretty-format only works when --format is json or xml');
  }
  return { format, pretty };
}

/** How plain output shows a name: harmless on a terminal, in a pipe or a file as the bytes it is. */
export const nameText =
  ({ stdout }: Call) =>
  (name: string): string =>
    stdout.terminal ? printable(name) : name;

/** `root` is what xml calls the whole. */
export async function print(
  call: Call,
  output: OutputFormat,
  root: string,
  tree: Tree,
  plain: () => string,
): Promise<void> {
  const { format, pretty } = output;
  const text = format === 'plain' ? plain() : format === 'json' ? toJson(tree, pretty) : toXml(root, tree, pretty);
  await call.stdout.write(text);
}
