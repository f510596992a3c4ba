// rbdelta snap limit clear: any number of snapshots again.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, ...cluster],
  examples: [['snap limit clear volumes/vm-1', 'any number of snapshots']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    await withWritableImage(call, named, (image) => image.limitSnapshots(null));
  },
};
