// rbdelta snap protect: keeps a snapshot from being deleted.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, ...cluster],
  examples: [['snap protect volumes/vm-1@monday', 'snap rm now refuses it']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'must' });
    await withWritableImage(call, named, (image) => image.protectSnapshot(named.snap ?? ''));
  },
};
