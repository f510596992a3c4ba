// rbdelta snap rename: another name for a snapshot.

import { RbdeltaError } from '../../error.ts';
import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image@snap>', '<image@new snap>'],
  options: [...snapNames, 'dest-pool', 'dest-namespace', 'dest', 'dest-snap', ...cluster],
  examples: [['snap rename volumes/vm-1@monday volumes/vm-1@first', 'of the same image']],
  async run(call) {
    const { args, positionals } = call;
    const named = imageFrom(args, positionals, { snap: 'must' });
    const otherwise = { ...named, snap: args.text('dest-snap') };
    const to = imageFrom(args, positionals, { dest: true, snap: 'must', rules: 'newSnap', otherwise });
    for (const [part, what] of [
      ['pool', 'pool'],
      ['namespace', 'namespace'],
      ['image', 'image'],
    ] as const) {
      if (named[part] !== to[part]) {
        throw new RbdeltaError('invalid', `source and destination ${what} name must be the same`);
      }
    }
    await withWritableImage(call, named, (image) => image.renameSnapshot(named.snap ?? '', to.snap ?? ''));
  },
};
