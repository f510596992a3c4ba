// rbdelta objects: the objects of a pool, as RBD keeps them there.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { list, object, table } from '../print.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', ...output, ...cluster],
  examples: [['objects volumes', 'rbd_directory, rbd_id.*, rbd_header.*, rbd_object_map.*, rbd_data.*']],
  notes: 'Sizes are those of data: what rbd_directory, rbd_header.* and others have are keys, which omap shows.',
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const shown = nameText(call);
    const all = await withCluster(call, (cluster, pool) => cluster.objects(named.pool ?? pool));
    const objects = all.filter(({ namespace }) => named.namespace === '' || namespace === named.namespace);
    const trees = objects.map(({ namespace, name, bytes }) =>
      object(['namespace', namespace], ['name', name], ['size', bytes]),
    );
    const rows = objects.map(({ namespace, name, bytes }) => [shown(namespace), shown(name), String(bytes)]);
    const plain = (): string => (rows.length === 0 ? '' : table(columns, rows));
    await print(call, format, 'objects', list('object', trees), plain);
  },
};

const columns = [
  { title: 'NAMESPACE', align: 'left' },
  { title: 'NAME', align: 'left' },
  { title: 'SIZE', align: 'right' },
] as const;
