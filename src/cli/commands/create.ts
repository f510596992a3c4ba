// rbdelta create: an empty image.

import { RbdeltaError } from '../../error.ts';
import { createThick } from '../../ops/create-thick.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, creation, imageNames } from '../options.ts';
import { imageSizeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'size', ...creation, 'thick-provision', 'no-progress', ...cluster],
  examples: [['create --size 10G volumes/vm-1', 'an image of 10 GiB']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none', rules: 'new' });
    const options = creationFrom(call);
    const size = call.args.value('size', imageSizeFrom);
    if (size === null) throw new RbdeltaError('invalid', 'must specify --size <M/G/T>', { hint: 'as --size 10G' });
    await withCluster(call, async (cluster, pool) => {
      const spec = inPool(named, pool);
      if (!call.args.has('thick-provision')) return cluster.create(spec, { ...options, size });
      const progress = call.progress('Thick provisioning');
      await createThick(cluster, spec, { ...options, size }, { signal: call.signal, onProgress: progress.update });
      progress.finish('wrote all of the image');
    });
  },
};
