// rbdelta trash restore: gives an image in the trash a name again.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { inPool, trashedFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<image id>'],
  options: ['pool', 'namespace', 'image-id', 'image', ...cluster],
  describe: { image: 'its new name [as it was called]' },
  examples: [['trash restore volumes/103e2a04b500', 'rbdelta trash ls shows the ids']],
  async run(call) {
    const named = trashedFrom(call.args, call.positionals);
    await withCluster(call, (cluster, pool) =>
      cluster.restoreFromTrash(inPool(named, pool), call.args.text('image') || null),
    );
  },
};
