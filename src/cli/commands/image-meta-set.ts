// rbdelta image-meta set: a key and its value, kept with the image.

import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>', '<key>', '<value>'],
  options: [...imageNames, ...cluster],
  examples: [['image-meta set volumes/vm-1 owner alice', 'kept with the image']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const key = metadataKeyFrom(call);
    const value = call.positionals.take();
    if (value === null || value === '') throw new RbdeltaError('invalid', 'metadata value was not specified');
    await withCluster(call, (cluster, pool) => cluster.setMetadata(inPool(named, pool), key, value));
  },
};

/** The next positional. */
export function metadataKeyFrom({ positionals }: Call): string {
  const key = positionals.take();
  if (key === null || key === '') throw new RbdeltaError('invalid', 'metadata key was not specified');
  return key;
}
