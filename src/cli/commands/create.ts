// rbdelta create: an empty image.

import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, creation, imageNames } from '../options.ts';
import { imageSizeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'size', ...creation, 'thick-provision', 'no-progress', ...cluster],
  examples: [['create --size 10G volumes/vm-1', 'an image of 10 GiB']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none', rules: 'new' });
    const options = creationFrom(call);
    const size = call.args.value('size', imageSizeFrom);
    if (size === null) throw new RbdeltaError('invalid', 'must specify --size <M/G/T>', { hint: 'as --size 10G' });
    await withCluster(call, (cluster, pool) => cluster.create(inPool(named, pool), { ...options, size }));
  },
};
