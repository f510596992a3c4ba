// rbdelta deep cp: a new image with all that another one has: snapshots, metadata, of a clone its parent.

import { counted } from '../../bytes/text.ts';
import { deepCopyImage } from '../../ops/deep-copy.ts';
import { withClusters } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool, labelOf } from '../names.ts';
import { cluster, creation, destination, snapNames } from '../options.ts';
import { bytesText } from '../print.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<image[@snap]>', '<new image>'],
  options: [
    ...snapNames,
    ...destination,
    ...creation,
    'flatten',
    'rbd-default-clone-format',
    'no-progress',
    ...cluster,
    'dest-cluster-dir',
    'dest-conf',
  ],
  describe: { flatten: 'no parent: the copy of a clone holds all that it shows' },
  examples: [
    ['deep cp volumes/vm-1 volumes/vm-2', 'with its snapshots'],
    ['deep cp volumes/vm-1@monday volumes/vm-2', 'up to that snapshot, as which vm-2 reads'],
    ['deep cp --flatten volumes/clone volumes/vm-2', 'independent of the parent'],
  ],
  notes:
    'The copy has its name only when it is whole. What is left of one that was killed is called rbdelta-copy-…, and may ' +
    'be removed. Inside one Ceph librbd copies, which an interruption waits for; a second one does not.',
  async run(call) {
    const named = imageFrom(call.args, call.positionals);
    const dest = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new' });
    const create = creationFrom(call);
    const format = call.args.value('rbd-default-clone-format', oneOf('1', '2', 'auto'));
    const progress = call.progress('Image deep copy');
    const { size, snapshots } = await withClusters(call, (from, to, pools) =>
      deepCopyImage(from, inPool(named, pools.from), to, inPool(dest, pools.to), {
        create,
        flatten: call.args.has('flatten'),
        ...(format === '1' ? { cloneFormat: 1 } : format === '2' ? { cloneFormat: 2 } : {}),
        signal: call.signal,
        onNotice: call.notice,
        onProgress: progress.steps,
      }),
    );
    const what = `${bytesText(size)}, ${counted(snapshots.length, 'snapshot')}`;
    progress.finish(`copied ${labelOf(named)} to ${labelOf(dest)}: ${what}`);
  },
};
