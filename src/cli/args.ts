// Reads a command line as rbd (boost) does: `--opt value`, `--opt=value`, `-ovalue`, options anywhere, each once.

import { RbdeltaError } from '../error.ts';
import { type OptionName, optionNamed, options, valueHint } from './options.ts';

export const usage = (message: string, hint?: string): RbdeltaError =>
  new RbdeltaError('usage', message, hint === undefined ? {} : { hint });

/** Names that a script may leave empty, as in `--from-snap "$last"`: rbd takes that for none. */
const emptyIsNone: ReadonlySet<OptionName> = new Set<OptionName>([
  'pool',
  'namespace',
  'image',
  'snap',
  'image-id',
  'dest',
  'dest-pool',
  'dest-namespace',
  'dest-snap',
  'from-snap',
  'data-pool',
  'journal-pool',
]);

/** A command line, taken apart. The command's own words are the first of `positionals` until `take` removes them. */
export class Args {
  readonly positionals: string[] = [];
  /** Options that are none of ours, as they were written: librados may know them. */
  readonly foreign: string[] = [];
  /** Words that were taken for values of foreign options, with the option: a guess, of which a failure must tell. */
  readonly guessed: { option: string; value: string }[] = [];
  readonly #values = new Map<OptionName, string[]>();

  set(name: OptionName, value: string): void {
    if (value === '' && emptyIsNone.has(name)) return;
    const values = this.#values.get(name);
    if (values === undefined) this.#values.set(name, [value]);
    else if (options[name].many) values.push(value);
    else throw usage(`option '--${name}' cannot be specified more than once`);
  }

  /** The names of the options that were given. */
  given(): OptionName[] {
    return [...this.#values.keys()];
  }

  has(name: OptionName): boolean {
    return this.#values.has(name);
  }

  text(name: OptionName): string | null {
    return this.#values.get(name)?.[0] ?? null;
  }

  /** All values of an option that may be repeated. */
  texts(name: OptionName): readonly string[] {
    return this.#values.get(name) ?? [];
  }

  /** A value as `read` understands it (null: it does not); null if the option is absent. Else as rbd: status 1. */
  value<T>(name: OptionName, read: (text: string) => T | null): T | null {
    const text = this.text(name);
    if (text === null) return null;
    const value = read(text);
    if (value !== null) return value;
    throw invalidValue(name, text);
  }
}

export const invalidValue = (name: OptionName, text: string): RbdeltaError =>
  usage(`the argument for option '--${name}' is invalid: '${text}'`, valueHint(name));

const missingValue = (name: OptionName): RbdeltaError =>
  usage(`the required argument for option '--${name}' is missing`, valueHint(name));

/** Foreign options that stand alone; of any other, a word that follows is its value. */
const foreignFlags = new Set(['--no-mon-config', '--no-config-file']);

/** Fails with `usage` (1): an option twice, a value missing, a flag with a value. */
export function readArgs(argv: readonly string[]): Args {
  const args = new Args();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] as string;
    if (word === '--') {
      args.positionals.push(...argv.slice(i + 1));
      break;
    }
    const next = argv[i + 1];
    const follows = next !== undefined && (next === '-' || !next.startsWith('-')) ? next : null;
    let took = false;
    if (word.startsWith('--')) took = readLong(args, word, follows);
    else if (word.length > 1 && word.startsWith('-')) took = readShort(args, word, follows);
    else args.positionals.push(word);
    if (took) i++;
  }
  return args;
}

/** Returns whether the word that follows was the value. */
function readLong(args: Args, word: string, follows: string | null): boolean {
  const equals = word.indexOf('=');
  const written = equals < 0 ? word : word.slice(0, equals);
  // An option of one letter is written with one dash; librados takes `_` for `-`, so `--mon_host` is ours as well.
  const bare = written.slice(2).replaceAll('_', '-');
  const name = bare.length > 1 ? optionNamed(bare) : undefined;
  if (name === undefined) {
    args.foreign.push(word);
    if (equals >= 0 || follows === null || foreignFlags.has(written)) return false;
    args.foreign.push(follows);
    args.guessed.push({ option: word, value: follows });
    return true;
  }
  if (options[name].value === undefined) {
    if (equals >= 0) throw usage(`option '--${name}' does not take any arguments`);
    args.set(name, '');
    return false;
  }
  if (equals === word.length - 1) {
    throw usage(`the argument for option '--${name}' should follow immediately after the equal sign`);
  }
  if (equals >= 0) {
    args.set(name, word.slice(equals + 1));
    return false;
  }
  if (follows === null) throw missingValue(name);
  args.set(name, follows);
  return true;
}

/** `-l -p pool`, `-lppool`. Returns whether the word that follows was the value. */
function readShort(args: Args, word: string, follows: string | null): boolean {
  for (let at = 1; at < word.length; at++) {
    const name = optionNamed(word.charAt(at));
    if (name === undefined) throw usage(`unrecognised option '${word}'`);
    if (options[name].value === undefined) {
      args.set(name, '');
      continue;
    }
    const rest = word.slice(at + 1);
    if (rest !== '') {
      args.set(name, rest);
      return false;
    }
    if (follows === null) throw missingValue(name);
    args.set(name, follows);
    return true;
  }
  return false;
}
