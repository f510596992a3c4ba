// rbdelta trash mv: takes an image's name away and keeps the rest, so that it can be restored.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { timeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'expires-at', ...cluster],
  examples: [
    ['trash mv volumes/vm-1', 'rbdelta trash ls shows its id'],
    ['trash mv --expires-at "7 days" volumes/vm-1', 'not removed before that, but by force'],
  ],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const untilMs = call.args.value('expires-at', timeFrom);
    await withCluster(call, (cluster, pool) => cluster.moveToTrash(inPool(named, pool), untilMs));
  },
};
