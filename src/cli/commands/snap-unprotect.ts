// rbdelta snap unprotect: lets a snapshot be deleted.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrIdFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, 'image-id', ...cluster],
  examples: [['snap unprotect volumes/vm-1@monday', 'snap rm may delete it']],
  async run(call) {
    const named = imageOrIdFrom(call.args, call.positionals, { snap: 'must' });
    await withWritableImage(call, named, (image) => image.unprotectSnapshot(named.snap ?? ''));
  },
};
