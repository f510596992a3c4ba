// rbdelta image-meta list: the metadata of an image, as rbd prints it.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { object, table } from '../print.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, ...output, ...cluster],
  examples: [['image-meta list volumes/vm-1', 'keys and values']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const format = outputFormat(call);
    const shown = nameText(call);
    const pairs = [...(await withCluster(call, (cluster, pool) => cluster.metadata(inPool(named, pool))))];
    const columns = ['Key', 'Value'].map((title) => ({ title, align: 'left' as const }));
    const plain = (): string => {
      if (pairs.length === 0) return 'There are 0 metadata on this image.\n';
      const head = pairs.length === 1 ? 'is 1 metadatum' : `are ${pairs.length} metadata`;
      const rows = pairs.map((pair) => pair.map(shown));
      return `There ${head} on this image:\n\n${table(columns, rows)}`;
    };
    await print(call, format, 'metadatas', object(...pairs), plain);
  },
};
