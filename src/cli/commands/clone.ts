// rbdelta clone: a new image that shows a snapshot, and holds only what is written to it.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, creation, snapNames } from '../options.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<image@snap>', '<new image>'],
  options: [...snapNames, 'dest-pool', 'dest-namespace', 'dest', ...creation, 'rbd-default-clone-format', ...cluster],
  examples: [
    ['clone volumes/base@v1 volumes/vm-1', 'of a protected snapshot, which stays so'],
    ['clone --rbd-default-clone-format 2 volumes/base@v1 volumes/vm-1', 'of any snapshot'],
  ],
  async run(call) {
    const parent = imageFrom(call.args, call.positionals, { snap: 'must' });
    const child = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new' });
    const format = call.args.value('rbd-default-clone-format', oneOf('1', '2', 'auto'));
    const options = creationFrom(call);
    await withCluster(call, (cluster, pool) =>
      cluster.clone(inPool(parent, pool), inPool(child, pool), {
        ...options,
        ...(format === '1' ? { cloneFormat: 1 } : format === '2' ? { cloneFormat: 2 } : {}),
      }),
    );
  },
};
