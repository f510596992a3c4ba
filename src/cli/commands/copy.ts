// rbdelta cp: a new image with what another one, or its snapshot, reads as.

import { copyImage } from '../../ops/copy-image.ts';
import { withClusters } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool, labelOf } from '../names.ts';
import { cluster, creation, destination, snapNames } from '../options.ts';
import { bytesText } from '../print.ts';
import { sparseBytes } from '../streams.ts';

export const command: Command = {
  positionals: ['<image[@snap]>', '<new image>'],
  options: [
    ...snapNames,
    ...destination,
    ...creation,
    'sparse-size',
    'no-progress',
    ...cluster,
    'dest-cluster-dir',
    'dest-conf',
  ],
  examples: [
    ['cp volumes/vm-1@monday volumes/vm-2', 'as it was on Monday, without snapshots'],
    ['cp --object-size 1M volumes/vm-1 volumes/vm-2', 'with smaller objects'],
    ['cp --dest-cluster-dir ~/pool volumes/vm-1 volumes/vm-1', 'from a Ceph to a local pool'],
  ],
  notes:
    'The copy has its name only when it is whole. What is left of one that was killed is called rbdelta-copy-…, and may ' +
    'be removed.',
  async run(call) {
    const named = imageFrom(call.args, call.positionals);
    const dest = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new' });
    const create = creationFrom(call);
    const sparse = sparseBytes(call);
    const progress = call.progress('Image copy');
    const { size, writtenBytes } = await withClusters(call, (from, to, pools) =>
      copyImage(from, inPool(named, pools.from), to, inPool(dest, pools.to), {
        create,
        ...sparse,
        signal: call.signal,
        onNotice: call.notice,
        onProgress: progress.update,
      }),
    );
    const data = writtenBytes === null ? '' : `, ${bytesText(writtenBytes)} of data`;
    progress.finish(`copied ${labelOf(named)} to ${labelOf(dest)}: ${bytesText(size)}${data}`);
  },
};
