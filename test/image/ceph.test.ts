// The Ceph adapter passes what every cluster must.

import { execFileSync } from 'node:child_process';
import { describe } from 'vitest';
import { connectCeph } from '../../src/image/ceph/index.ts';
import { clusterSuite } from '../suites/cluster.ts';

describe.skipIf(!process.env['RBDELTA_TEST_CEPH'])('on a real Ceph', () => {
  clusterSuite('Ceph', async () => {
    const pool = `rbdelta-suite-${process.pid}`;
    execFileSync('ceph', ['osd', 'pool', 'create', pool, '8'], { stdio: 'ignore' });
    execFileSync('rbd', ['pool', 'init', pool], { stdio: 'ignore' });
    const cluster = await connectCeph({});
    return {
      cluster,
      pool,
      dispose: async () => {
        await cluster.close();
        const forced = ['osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it'];
        execFileSync('ceph', ['tell', 'mon.*', 'config', 'set', 'mon_allow_pool_delete', 'true'], { stdio: 'ignore' });
        execFileSync('ceph', forced, { stdio: 'ignore' });
      },
    };
  });
});
