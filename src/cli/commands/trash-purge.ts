// rbdelta trash purge: removes what has expired from the trash of a pool.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster } from '../options.ts';
import { timeFrom } from '../values.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', 'expired-before', 'no-progress', ...cluster],
  examples: [['trash purge volumes', 'all that has expired by now']],
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const beforeMs = call.args.value('expired-before', timeFrom) ?? Date.now();
    const progress = call.progress('Removing images');
    await withCluster(call, async (cluster, defaultPool) => {
      const [pool, namespace] = [named.pool ?? defaultPool, named.namespace];
      const expired = (await cluster.trash(pool, namespace)).filter((image) => image.protectedUntilMs <= beforeMs);
      let left = expired;
      // a clone may keep its parent: once it is gone, the parent may go
      for (let before = -1; left.length > 0 && left.length !== before; ) {
        before = left.length;
        const kept: typeof left = [];
        for (const image of left) {
          if (call.signal.aborted) throw call.signal.reason;
          try {
            await cluster.removeFromTrash({ pool, namespace, image: '', id: image.id, snap: null }, true);
          } catch (error) {
            if (!(error instanceof RbdeltaError && ['notEmpty', 'busy'].includes(error.code))) throw error;
            kept.push(image);
          }
        }
        left = kept;
        progress.update(expired.length - left.length, expired.length);
      }
      if (left.length > 0) {
        const names = left.map(({ name }) => `'${printable(name)}'`).join(', ');
        throw new RbdeltaError('notEmpty', `some expired images could not be removed: ${names}`, {
          hint: 'they are in use, or have snapshots: rbdelta snap ls --all --image-id ID',
        });
      }
      progress.finish(`removed ${expired.length} images`);
    });
  },
};
