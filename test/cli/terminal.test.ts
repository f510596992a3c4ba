// What people see on a terminal: names that cannot harm it, help that can be pasted.

import { expect, test } from 'vitest';
import { commands } from '../../src/cli/commands.ts';
import { run } from '../../src/cli/run.ts';
import { makeWorld } from './world.ts';

test('names show their control characters on a terminal, and go out as they are to a program', async () => {
  const { env, ok } = await makeWorld();
  const name = 'a\u001b[2Jb';
  await ok(['create', '--size', '1', `volumes/${name}`]);
  await ok(['snap', 'create', `volumes/${name}@${name}`]);
  for (const line of [
    ['ls', 'volumes'],
    ['ls', '-l', 'volumes'],
    ['snap', 'ls', `volumes/${name}`],
    ['info', `volumes/${name}`],
  ]) {
    expect(await ok(line)).toContain(name);
    let shown = '';
    const stdout = { write: async (text: string) => void (shown += text), flush: async () => undefined };
    const around = { env, signal: new AbortController().signal, writeError: () => undefined, columns: () => 80 };
    expect(await run(line, { ...around, stdout: { ...stdout, terminal: true }, progress: false })).toBe(0);
    expect(shown).toContain('a\\x1b[2Jb');
    expect(shown).not.toContain('\u001b');
  }
});

test('examples of the help are whole lines, whatever the width', async () => {
  const { ok } = await makeWorld({ pools: [] });
  const lines = async (line: string): Promise<string[]> => (await ok(line)).split('\n');
  expect(await lines('help')).toContain(
    '    rbdelta export-diff --from-snap mon vm-1@tue - | ssh dr rbdelta import-diff - vm-1',
  );
  for (const { names, load } of commands) {
    const help = await lines(`help ${names[0]}`);
    const { examples } = (await load()).command;
    for (const [line, what] of examples) expect(help[help.indexOf(`    rbdelta ${line}`) - 1]).toBe(`  ${what}:`);
    const other = help.filter((line) => !line.startsWith('    rbdelta '));
    expect(Math.max(...other.map((line) => line.length))).toBeLessThanOrEqual(80);
  }
});
