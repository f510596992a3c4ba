// Every verb that is spelled as rbd's takes every option that `rbd help VERB` names, by all of their names; and the README
// names the verbs that are not there.

import { readFile } from 'node:fs/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { optionNamed } from '../../src/cli/options.ts';
import { run } from '../kit/command.ts';

const on = process.env['RBDELTA_TEST_CEPH'] === '1';

/** Verbs of the command line that are not rbd's, though rbd has verbs that begin alike. */
const own = /^(backup|restore|inspect|doctor|objects|omap|completion|repo .*|pool .*|image-cache .*)$/u;

const help = async (...words: string[]): Promise<string> => (await run('rbd', ['help', ...words])).stdout.toString();

describe.skipIf(!on)('as rbd', () => {
  const verbs = commands.filter(({ names }) => !own.test(names[0] ?? ''));

  /** What rbd's list of verbs calls each, and what else: `disk-usage (du)`, `image-meta list (... ls)`. */
  let listed: string[][];
  beforeAll(async () => {
    const text = (await help()).replaceAll(/\n {36,}/gu, ' ');
    listed = [...text.matchAll(/^ {4}([a-z][a-z -]*?)(?: \(([^)]+)\))?(?: {2,}| *\n| [A-Z])/gmu)].map(
      ([, name = '', other]) => {
        const before = name.split(' ').slice(0, -1).join(' ');
        return other === undefined ? [name] : [name, other.replace('...', before)];
      },
    );
  });

  test.each(verbs.map(({ names }) => names))('%s: by all names that rbd has for it', (...names) => {
    const found = listed.filter((verb) => verb.some((name) => names.includes(name))).flat();
    expect(found).not.toEqual([]);
    expect(found.filter((name) => !names.includes(name))).toEqual([]);
  });

  test('but for those that the README names', async () => {
    const readme = await readFile(new URL('../../README.md', import.meta.url), 'utf8');
    const sentence = /^Not there are [^.]*\./mu.exec(readme)?.[0] ?? '';
    const named = [...sentence.matchAll(/`([^`]+)`/gu)].map(([, name = '']) => name);
    const isNamed = (verb: string): boolean =>
      named.some((name) => (name.endsWith(' …') ? verb.startsWith(name.slice(0, -1)) : verb === name));
    const ours = new Set(commands.flatMap(({ names }) => names));
    const absent = listed.filter((verb) => !verb.some((name) => ours.has(name))).map(([name = '']) => name);
    expect(absent).toContain('mirror pool peer bootstrap create');
    expect(absent.filter((verb) => !isNamed(verb))).toEqual([]);
    expect(named.filter((name) => commands.some((one) => one.names.includes(name)))).toEqual([]);
  });

  test.each(verbs.map(({ names }) => names[0] ?? ''))('%s: with all options', async (name) => {
    const { command } = await commands.find((one) => one.names[0] === name)!.load();
    const text = await help(...name.split(' '));
    const usage = text.slice(0, text.indexOf('Positional'));
    const options = [...new Set([...usage.matchAll(/--([a-z-]+)/gu)].map(([, option = '']) => option))];
    const missing = options.filter((option) => {
      const known = optionNamed(option);
      return known === undefined || !command.options.includes(known);
    });
    expect(options).not.toEqual([]);
    expect(missing).toEqual([]);
    const short = [...text.matchAll(/^ +-([a-z]) \[ --([a-z-]+) \]/gmu)];
    for (const [, letter = '', option = ''] of short) expect(optionNamed(letter)).toBe(optionNamed(option));
  });
});
