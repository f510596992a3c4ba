// rbdelta pool ls: the pools of the cluster.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { cluster, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { list } from '../print.ts';

export const command: Command = {
  positionals: [],
  options: [...output, ...cluster],
  examples: [['pool ls', 'their names']],
  async run(call) {
    const format = outputFormat(call);
    const shown = nameText(call);
    const pools = await withCluster(call, (cluster) => cluster.pools());
    await print(call, format, 'pools', list('pool', pools), () => pools.map((pool) => `${shown(pool)}\n`).join(''));
  },
};
