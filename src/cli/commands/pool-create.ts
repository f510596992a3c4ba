// rbdelta pool create: a pool of the local pool's directory.

import { withLocalPool } from '../cluster.ts';
import { usage } from '../args.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster } from '../options.ts';
import { wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<pool>', '[pg-num]', '[pgp-num]'],
  options: ['pool', ...cluster],
  examples: [['pool create --cluster-dir /tmp/try volumes', 'a pool in a directory, without Ceph']],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    // as for ceph: a local pool has no placement groups
    for (const what of ['pg-num', 'pgp-num']) {
      const given = call.positionals.take();
      if (given !== null && wholeNumberFrom(given) === null) throw usage(`${what} '${given}' is not a whole number`);
    }
    await withLocalPool(call, `ceph osd pool create ${pool} && rbd pool init ${pool}`, (local) =>
      local.createPool(pool),
    );
  },
};
