// rbdelta namespace rm: removes an empty namespace of a pool.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { namespaceFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<pool/namespace>'],
  options: ['pool', 'namespace', ...cluster],
  examples: [['namespace rm volumes/tenant', 'it must not have images']],
  async run(call) {
    const { pool, namespace } = namespaceFrom(call.args, call.positionals);
    await withCluster(call, (cluster, defaultPool) => cluster.removeNamespace(pool ?? defaultPool, namespace));
  },
};
