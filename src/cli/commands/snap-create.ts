// rbdelta snap create: a snapshot of the head.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, 'skip-quiesce', 'ignore-quiesce-error', 'no-progress', ...cluster],
  examples: [['snap create volumes/vm-1@monday', 'a snapshot of what the image holds now']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'must', rules: 'newSnap' });
    await withWritableImage(call, named, (image) => image.createSnapshot(named.snap ?? ''));
  },
};
