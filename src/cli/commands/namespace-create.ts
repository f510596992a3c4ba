// rbdelta namespace create: a part of a pool with images of its own.

import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { namespaceFrom } from '../names.ts';
import { cluster } from '../options.ts';

export const command: Command = {
  positionals: ['<pool/namespace>'],
  options: ['pool', 'namespace', ...cluster],
  examples: [['namespace create volumes/tenant', 'images in it are named volumes/tenant/IMAGE']],
  async run(call) {
    const { pool, namespace } = namespaceFrom(call.args, call.positionals);
    await withCluster(call, (cluster, defaultPool) => cluster.createNamespace(pool ?? defaultPool, namespace));
  },
};
