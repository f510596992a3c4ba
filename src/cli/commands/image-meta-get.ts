// rbdelta image-meta get: the value of one key.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { nameText } from '../output.ts';
import { metadataKeyFrom } from './image-meta-set.ts';

export const command: Command = {
  positionals: ['<image>', '<key>'],
  options: [...imageNames, ...cluster],
  examples: [['image-meta get volumes/vm-1 owner', 'its value']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const key = metadataKeyFrom(call);
    const metadata = await withCluster(call, (cluster, pool) => cluster.metadata(inPool(named, pool)));
    const value = metadata.get(key);
    if (value === undefined) {
      throw new RbdeltaError('notFound', `image '${printable(named.image)}' has no metadata '${printable(key)}'`, {
        hint: 'rbdelta image-meta list shows what it has',
      });
    }
    await call.stdout.write(`${nameText(call)(value)}\n`);
  },
};
