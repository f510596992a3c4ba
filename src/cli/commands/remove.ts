// rbdelta rm: deletes an image.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'no-progress', ...cluster],
  examples: [['rm volumes/vm-1', 'delete it; it must not have snapshots']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    await withCluster(call, async (cluster, pool) => {
      const progress = call.progress('Removing image');
      await cluster.remove(inPool(named, pool), progress.steps);
      progress.finish(`removed ${named.image}`);
    });
  },
};
