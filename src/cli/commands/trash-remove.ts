// rbdelta trash rm: removes an image from the trash, for good.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { inPool, trashedFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<image id>'],
  options: ['pool', 'namespace', 'image-id', 'force', 'no-progress', ...cluster],
  describe: { force: 'even if it is protected for some time yet' },
  examples: [['trash rm volumes/103e2a04b500', 'rbdelta trash ls shows the ids']],
  async run(call) {
    const named = trashedFrom(call.args, call.positionals);
    const progress = call.progress('Removing image');
    await withCluster(call, (cluster, pool) =>
      cluster.removeFromTrash(inPool(named, pool), call.args.has('force'), progress.steps),
    );
    progress.finish(`removed ${named.id}`);
  },
};
