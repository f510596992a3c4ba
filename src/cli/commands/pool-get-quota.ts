// rbdelta pool get-quota: how much a pool of the local kind may hold, as ceph prints it.

import { withLocalPool } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolNameFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { bytesText, object } from '../print.ts';

export const command: Command = {
  positionals: ['<pool>'],
  options: ['pool', ...output, ...cluster],
  examples: [['pool get-quota volumes', 'its limits']],
  async run(call) {
    const pool = poolNameFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const quota = await withLocalPool(call, `ceph osd pool get-quota ${pool}`, (local) => local.quota(pool));
    const { maxBytes, maxObjects } = quota;
    const tree = object(
      ['pool_name', pool],
      ['quota_max_objects', maxObjects ?? 0],
      ['quota_max_bytes', maxBytes ?? 0],
    );
    const plain = (): string =>
      `quotas for pool '${pool}':\n  max objects: ${maxObjects ?? 'N/A'}\n  max bytes  : ${maxBytes === null ? 'N/A' : bytesText(maxBytes)}\n`;
    await print(call, format, 'quota', tree, plain);
  },
};
