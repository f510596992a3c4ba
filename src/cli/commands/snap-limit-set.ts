// rbdelta snap limit set: how many snapshots an image may have.

import { RbdeltaError } from '../../error.ts';
import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'limit', ...cluster],
  examples: [['snap limit set --limit 8 volumes/vm-1', 'another one is refused']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const most = call.args.value('limit', wholeNumberFrom);
    if (most === null) throw new RbdeltaError('range', 'must specify --limit <num>');
    await withWritableImage(call, named, (image) => image.limitSnapshots(most));
  },
};
