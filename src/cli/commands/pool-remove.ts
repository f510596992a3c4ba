// rbdelta pool rm: removes a pool from the local pool's directory, as ceph does with all that is in it.

import { usage } from '../args.ts';
import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster } from '../options.ts';

const really = 'yes-i-really-really-mean-it';

export const command: Command = {
  positionals: ['<pool>', '[pool]'],
  options: ['pool', really, ...cluster],
  examples: [
    ['pool rm --cluster-dir /tmp/try volumes', 'it must not have images'],
    [`pool rm volumes volumes --${really}`, 'with all its images, as ceph osd pool rm'],
  ],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    const again = call.positionals.take();
    const force = call.args.has(really);
    if (again !== null && again !== pool) throw usage(`the pool is named twice, as '${pool}' and as '${again}'`);
    if (force && again === null) {
      throw usage(`--${really} asks for the name of the pool twice`, `rbdelta pool rm ${pool} ${pool} --${really}`);
    }
    await withLocalPool(call, `ceph osd pool rm ${pool} ${pool} --${really}`, (local) =>
      local.removePool(pool, { force }),
    );
  },
};
