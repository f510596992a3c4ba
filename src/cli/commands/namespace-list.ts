// rbdelta namespace ls: the namespaces of a pool, as rbd prints them.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { list, object, table } from '../print.ts';

export const command: Command = {
  positionals: ['[pool]'],
  options: ['pool', ...output, ...cluster],
  examples: [['namespace ls volumes', 'their names']],
  async run(call) {
    const { pool } = poolFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const shown = nameText(call);
    const names = await withCluster(call, (cluster, defaultPool) => cluster.namespaces(pool ?? defaultPool));
    const trees = names.map((name) => object(['name', name]));
    const rows = names.map((name) => [shown(name)]);
    const plain = (): string => (names.length === 0 ? '' : table([{ title: 'NAME', align: 'left' }], rows));
    await print(call, format, 'namespaces', list('namespace', trees), plain);
  },
};
