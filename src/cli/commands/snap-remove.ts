// rbdelta snap rm: deletes a snapshot.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, 'no-progress', ...cluster],
  examples: [['snap rm volumes/vm-1@monday', 'delete the snapshot; the image stays as it is']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'must' });
    await withWritableImage(call, named, async (image) => {
      const progress = call.progress('Removing snap');
      await image.removeSnapshot(named.snap ?? '', progress.steps);
      progress.finish(`removed ${named.image}@${named.snap}`);
    });
  },
};
