// rbdelta lock ls: who has locked an image, as rbd prints it.

import type { ImageLocks } from '../../image/port.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, imageNames, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { type Column, list, object, table } from '../print.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, ...output, ...cluster],
  examples: [['lock ls volumes/vm-1', 'who, and with which id']],
  async run(call) {
    const named = imageFrom(call.args, call.positionals, { snap: 'none' });
    const format = outputFormat(call);
    const shown = nameText(call);
    const locks = await withCluster(call, (cluster, pool) => cluster.locks(inPool(named, pool)));
    const trees = locks.lockers.map(({ id, client, address }) =>
      object(['id', id], ['locker', client], ['address', address]),
    );
    await print(call, format, 'locks', list('lock', trees), () => plain(locks, shown));
  },
};

const columns: Column[] = ['Locker', 'ID', 'Address'].map((title) => ({ title, align: 'left' }));

function plain({ exclusive, tag, lockers }: ImageLocks, shown: (name: string) => string): string {
  const kind = exclusive ? 'exclusive' : 'shared';
  if (lockers.length === 0) return '';
  const count = lockers.length === 1 ? `There is 1 ${kind} lock` : `There are ${lockers.length} ${kind} locks`;
  const rows = lockers.map(({ client, id, address }) => [client, shown(id), address]);
  return `${count} on this image.\n${exclusive ? '' : `Lock tag: ${shown(tag)}\n`}${table(columns, rows)}`;
}
