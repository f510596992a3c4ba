// rbdelta image-meta remove: takes a key and its value away.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { metadataKeyFrom } from './image-meta-set.ts';

export const command: Command = {
  positionals: ['<image>', '<key>'],
  options: [...imageNames, ...cluster],
  examples: [['image-meta remove volumes/vm-1 owner', 'the key and its value']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const key = metadataKeyFrom(call);
    await withCluster(call, (cluster, pool) => cluster.removeMetadata(inPool(named, pool), key));
  },
};
