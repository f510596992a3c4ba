// rbdelta clone: a new image that shows a snapshot, and holds only what is written to it.

import type { CloneOptions } from '../../image/port.ts';
import { cloneWithin } from '../../ops/clone.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, creation, snapNames } from '../options.ts';
import { oneOf, wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image@snap>', '<new image>'],
  options: [
    ...snapNames,
    'dest-pool',
    'dest-namespace',
    'dest',
    'max-depth',
    ...creation,
    'rbd-default-clone-format',
    'no-progress',
    ...cluster,
  ],
  examples: [
    ['clone volumes/base@v1 volumes/vm-1', 'of a protected snapshot, which stays so'],
    ['clone --rbd-default-clone-format 2 volumes/base@v1 volumes/vm-1', 'of any snapshot'],
    ['clone --max-depth 5 volumes/vm-1@mon volumes/vm-2', 'flattened, should it have more than five parents'],
  ],
  notes:
    'What a clone reads may come from any of its parents, one asked after the other: --max-depth N keeps that short. ' +
    'With 0, the new image is always one of its own.',
  async run(call) {
    const parent = imageFrom(call.args, call.positionals, { snap: 'must' });
    const child = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new' });
    const format = call.args.value('rbd-default-clone-format', oneOf('1', '2', 'auto'));
    const maxDepth = call.args.value('max-depth', wholeNumberFrom);
    const options: CloneOptions = {
      ...creationFrom(call),
      ...(format === '1' ? { cloneFormat: 1 } : format === '2' ? { cloneFormat: 2 } : {}),
    };
    const progress = call.progress('Image flatten');
    await withCluster(call, async (cluster, pool) => {
      const [from, to] = [inPool(parent, pool), inPool(child, pool)];
      if (maxDepth === null) return cluster.clone(from, to, options);
      const flattened = await cloneWithin(cluster, from, to, maxDepth, options, progress.steps);
      if (flattened) progress.finish(`flattened ${child.image}: it would have had more than ${maxDepth} parents`);
    });
  },
};
