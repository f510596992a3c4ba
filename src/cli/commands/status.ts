// rbdelta status: who has an image open, as rbd prints it.

import { withImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom } from '../names.ts';
import { cluster, imageNames, output } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { list, object } from '../print.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, ...output, ...cluster],
  examples: [['status volumes/vm-1', 'its watchers']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const format = outputFormat(call);
    const watchers = await withImage(call, named, async (image) => (await image.watchers?.()) ?? []);
    const trees = watchers.map(({ address, client, cookie }) =>
      object(['address', address], ['client', client], ['cookie', cookie]),
    );
    const plain = (): string => {
      if (watchers.length === 0) return 'Watchers: none\n';
      const line = ({ address, client, cookie }: (typeof watchers)[number]) =>
        `\twatcher=${address} client.${client} cookie=${cookie}\n`;
      return `Watchers:\n${watchers.map(line).join('')}`;
    };
    await print(call, format, 'status', object(['watchers', list('watcher', trees)]), plain);
  },
};
