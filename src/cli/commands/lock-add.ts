// rbdelta lock add: takes a lock on an image, which stays when this process has ended.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool, lockIdFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>', '<lock id>'],
  options: [...imageNames, 'shared', ...cluster],
  examples: [
    ['lock add volumes/vm-1 maintenance', 'nobody else may have one; until lock rm'],
    ['lock add --shared readers volumes/vm-1 report', 'others of the same tag may'],
  ],
  notes: 'An image with the feature exclusive-lock cannot be written while it has such a lock; one without it can.',
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const id = lockIdFrom(call.positionals);
    const tag = call.args.text('shared');
    await withCluster(call, (cluster, pool) => cluster.addLock(inPool(named, pool), id, tag));
  },
};
