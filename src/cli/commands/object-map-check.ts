// rbdelta object-map check: whether the map of the head or a snapshot is right; one that is not is flagged invalid.

import { printable } from '../../bytes/text.ts';
import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, labelOf } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image[@snap]>'],
  options: [...snapNames, 'no-progress', ...cluster],
  examples: [['object-map check volumes/vm-1', 'each snapshot has a map of its own']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals);
    const progress = call.progress('Object Map Check');
    const wrong = await withWritableImage(call, named, (image) => image.checkObjectMap(named.snap, progress.steps));
    progress.finish('checked the object map');
    if (wrong === 0) return;
    const label = printable(labelOf(named));
    call.notice(
      `${wrong} objects of ${label} are not as its map says, which is flagged invalid now (rbdelta object-map rebuild)`,
    );
  },
};
