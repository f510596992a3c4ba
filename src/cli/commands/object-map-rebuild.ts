// rbdelta object-map rebuild: makes the map of the head or a snapshot anew.

import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image[@snap]>'],
  options: [...snapNames, 'no-progress', ...cluster],
  examples: [['object-map rebuild volumes/vm-1', 'each snapshot has a map of its own']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals);
    const progress = call.progress('Object Map Rebuild');
    await withWritableImage(call, named, (image) => image.rebuildObjectMap(named.snap, progress.steps));
    progress.finish('rebuilt the object map');
  },
};
