// rbdelta flatten: gives a clone the data that it shows of its parent, and makes it independent.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'no-progress', ...cluster],
  examples: [['flatten volumes/vm-1', 'its parent may be removed afterwards']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const progress = call.progress('Image flatten');
    await withWritableImage(call, named, (image) => image.flatten(progress.steps));
    progress.finish(`flattened ${named.image}`);
  },
};
