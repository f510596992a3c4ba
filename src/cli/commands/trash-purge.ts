// rbdelta trash purge: removes what has expired from the trash of a pool.

import { purgeTrash } from '../../ops/purge-trash.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster } from '../options.ts';
import { shareFrom, timeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', 'expired-before', 'threshold', 'no-progress', ...cluster],
  examples: [
    ['trash purge volumes', 'all that has expired by now'],
    ['trash purge --threshold 0.8 volumes', 'if the pool is fuller than that: until it is not'],
  ],
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const threshold = call.args.value('threshold', shareFrom) ?? null;
    const before = call.args.value('expired-before', timeFrom);
    const beforeMs = threshold === null && before !== null ? before : Date.now();
    const progress = call.progress('Removing images');
    await withCluster(call, async (cluster, defaultPool) => {
      const { signal } = call;
      const onProgress = progress.update;
      const options = { beforeMs, threshold, signal, onProgress };
      const removed = await purgeTrash(cluster, named.pool ?? defaultPool, named.namespace, options);
      progress.finish(`removed ${removed} images`);
    });
  },
};
