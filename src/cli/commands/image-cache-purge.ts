// rbdelta image-cache purge: bases without clones go, all or those past the limits.

import { leftovers, planPurge, purgeCache, readCache } from '../../ops/image-cache.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { entryTree, limitOptions, limitsFrom } from '../image-cache.ts';
import { poolFrom } from '../names.ts';
import { cluster } from '../options.ts';
import { list, object, toJson } from '../print.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', ...limitOptions, 'dry-run', 'json', ...cluster],
  describe: { 'dry-run': 'say what would go, change nothing' },
  examples: [
    ['image-cache purge volumes', 'all that no volume is a clone of'],
    ['image-cache purge volumes --max-count 10', 'the least recently used of them, until there are ten'],
  ],
  notes: 'What killed processes left behind goes as well.',
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const limits = limitsFrom(call.args);
    const isDry = call.args.has('dry-run');
    const { removed, entries } = await withCluster(call, async (cluster, pool) => {
      const space = { pool: named.pool ?? pool, namespace: named.namespace };
      if (!isDry) return purgeCache(cluster, space, limits);
      const all = await readCache(cluster, space);
      const swept = [...(await leftovers(cluster, space)).keys()];
      const kept = all.filter(({ image }) => !swept.includes(image));
      const gone = [...swept, ...planPurge(kept, limits).map(({ image }) => image)];
      return { removed: gone, entries: kept.filter(({ image }) => !gone.includes(image)) };
    });
    if (call.args.has('json')) {
      const tree = object(['removed', list('image', removed)], ['kept', list('base', entries.map(entryTree))]);
      await call.stdout.write(toJson(tree, false));
    } else await call.stdout.write(removed.map((image) => `${image}${isDry ? ' would be' : ''} removed\n`).join(''));
  },
};
