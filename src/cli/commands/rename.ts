// rbdelta rename: gives an image another name in the same pool.

import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>', '<new image>'],
  options: [...imageNames, 'dest-pool', 'dest-namespace', 'dest', ...cluster],
  examples: [['rename volumes/vm-1 volumes/vm-2', 'in the same pool and namespace']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const otherwise = { pool: named.pool, namespace: named.namespace, image: '', snap: null };
    const to = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new', otherwise });
    await withCluster(call, async (cluster, pool) => {
      const [from, dest] = [inPool(named, pool), inPool(to, pool)];
      if (from.pool !== dest.pool || from.namespace !== dest.namespace) {
        throw new RbdeltaError('invalid', 'an image is renamed only in its pool and namespace', {
          hint: 'export --export-format 2 and import carry it elsewhere',
        });
      }
      await cluster.rename(from, to.image);
    });
  },
};
