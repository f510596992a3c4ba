// rbdelta resize: grows an image, or cuts it.

import { RbdeltaError } from '../../error.ts';
import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { bytesText } from '../print.ts';
import { imageSizeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'size', 'allow-shrink', 'no-progress', ...cluster],
  examples: [['resize --size 20G volumes/vm-1', 'grow to 20 GiB']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const size = call.args.value('size', imageSizeFrom);
    if (size === null) throw new RbdeltaError('invalid', 'must specify --size <M/G/T>', { hint: 'as --size 10G' });
    await withWritableImage(call, named, async (image) => {
      const { size: oldSize } = await image.info();
      if (size === oldSize)
        throw new RbdeltaError('invalid', `new size is equal to original size (${bytesText(size)})`);
      if (size < oldSize && !call.args.has('allow-shrink')) {
        throw new RbdeltaError(
          'invalid',
          `shrinking an image is only allowed with the --allow-shrink flag (it has ${bytesText(oldSize)})`,
        );
      }
      const progress = call.progress('Resizing image');
      await image.resize(size, progress.steps);
      progress.finish(`resized ${named.image} to ${bytesText(size)}`);
    });
  },
};
