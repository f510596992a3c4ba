// rbdelta image-cache ls: the bases of a pool, the least recently used first.

import { readCache } from '../../ops/image-cache.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { entryRow, entryTree } from '../image-cache.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { list, table } from '../print.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', ...output, ...cluster],
  examples: [['image-cache ls volumes', 'what is cached, how many clones it has, when it was used last']],
  notes: 'A base is ready, or being filled, or a leftover of a process that was killed, which the next one removes.',
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const entries = await withCluster(call, (cluster, pool) =>
      readCache(cluster, { pool: named.pool ?? pool, namespace: named.namespace }),
    );
    const columns = ['NAME', 'SIZE', 'CLONES', 'LAST USED', 'STATE', 'SOURCE'].map((title) => ({
      title,
      align: title === 'SIZE' || title === 'CLONES' ? ('right' as const) : ('left' as const),
    }));
    const plain = (): string => (entries.length === 0 ? '' : table(columns, entries.map(entryRow)));
    await print(call, format, 'bases', list('base', entries.map(entryTree)), plain);
  },
};
