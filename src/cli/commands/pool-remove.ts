// rbdelta pool rm: removes an empty pool from the local pool's directory.

import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<pool>'],
  options: ['pool', ...cluster],
  examples: [['pool rm --cluster-dir /tmp/try volumes', 'it must not have images']],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    await withLocalPool(call, `ceph osd pool rm ${pool}`, (local) => local.removePool(pool));
  },
};
