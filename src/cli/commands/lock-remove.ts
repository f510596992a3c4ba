// rbdelta lock rm: takes a lock off an image, whoever holds it.

import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool, lockIdFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>', '<lock id>', '<locker>'],
  options: [...imageNames, ...cluster],
  examples: [['lock rm volumes/vm-1 maintenance client.4123', 'both as lock ls shows them']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const id = lockIdFrom(call.positionals);
    const locker = call.positionals.take();
    if (locker === null || locker === '') {
      throw new RbdeltaError('invalid', 'locker was not specified', { hint: 'as client.4123, from rbdelta lock ls' });
    }
    await withCluster(call, (cluster, pool) => cluster.removeLock(inPool(named, pool), id, locker));
  },
};
