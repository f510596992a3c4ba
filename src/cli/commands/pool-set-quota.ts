// rbdelta pool set-quota: how much a pool of the local kind may hold.

import { RbdeltaError } from '../../error.ts';
import { usage } from '../args.ts';
import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster } from '../options.ts';
import { sizeFrom, wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<pool>', '<max_bytes|max_objects>', '<number>'],
  options: [...cluster],
  examples: [
    ['pool set-quota volumes max_bytes 10G', 'a write past it is refused'],
    ['pool set-quota volumes max_bytes 0', 'no quota any more'],
  ],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    const field = call.positionals.take();
    const text = call.positionals.take();
    if (field !== 'max_bytes' && field !== 'max_objects') {
      throw new RbdeltaError('invalid', 'a quota is of max_bytes or of max_objects');
    }
    const value = text === null ? null : field === 'max_bytes' ? sizeFrom(text) : wholeNumberFrom(text);
    if (value === null) throw usage(`'${text ?? ''}' is no ${field}`);
    const quota = field === 'max_bytes' ? { maxBytes: value || null } : { maxObjects: value || null };
    await withLocalPool(call, `ceph osd pool set-quota ${pool} ${field} ${value}`, (local) =>
      local.setQuota(pool, quota),
    );
  },
};
