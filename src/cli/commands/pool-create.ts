// rbdelta pool create: a pool of the local pool's directory.

import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<pool>'],
  options: ['pool', ...cluster],
  examples: [['pool create --cluster-dir /tmp/try volumes', 'a pool in a directory, without Ceph']],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    await withLocalPool(call, `ceph osd pool create ${pool} && rbd pool init ${pool}`, (local) =>
      local.createPool(pool),
    );
  },
};
