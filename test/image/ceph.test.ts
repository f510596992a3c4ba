// The Ceph adapter passes what every cluster must.

import { describe } from 'vitest';
import { connectCeph } from '../../src/image/ceph/index.ts';
import { clonesSuite } from '../suites/clones.ts';
import { clusterSuite } from '../suites/cluster.ts';
import { copiesSuite } from '../suites/copies.ts';
import { locksSuite } from '../suites/locks.ts';
import { poolUsageSuite } from '../suites/pool-usage.ts';
import { makePool, onCeph } from './ceph/pools.ts';

describe.skipIf(!onCeph)('on a real Ceph', () => {
  const make = async () => {
    const { pool, removePool } = await makePool();
    const cluster = await connectCeph({});
    return {
      cluster,
      pool,
      dispose: async () => {
        await cluster.close();
        await removePool();
      },
    };
  };
  clusterSuite('Ceph', make);
  clonesSuite('Ceph', make);
  copiesSuite('Ceph', make);
  locksSuite('Ceph', make);
  poolUsageSuite('Ceph', make);
});
