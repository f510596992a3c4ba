// rbdelta snap rollback: makes the head equal to a snapshot.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, 'no-progress', ...cluster],
  examples: [['snap rollback volumes/vm-1@monday', 'throw away what was written since']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'must' });
    await withWritableImage(call, named, async (image) => {
      const progress = call.progress('Rolling back to snapshot');
      await image.rollback(named.snap ?? '', progress.steps);
      progress.finish(`rolled ${named.image} back to ${named.snap}`);
    });
  },
};
