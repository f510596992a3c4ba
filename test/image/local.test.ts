// The local pool, by the suite of every cluster.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openLocalPool } from '../../src/image/local/index.ts';
import { clonesSuite } from '../suites/clones.ts';
import { clusterSuite } from '../suites/cluster.ts';
import { copiesSuite } from '../suites/copies.ts';
import { locksSuite } from '../suites/locks.ts';
import { poolUsageSuite } from '../suites/pool-usage.ts';

const make = async () => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-pool-'));
  const cluster = await openLocalPool(dir);
  await cluster.createPool('volumes');
  return {
    cluster,
    pool: 'volumes',
    async dispose() {
      await cluster.close();
      await rm(dir, { recursive: true });
    },
  };
};

clusterSuite('local pool', make);
clonesSuite('local pool', make);
copiesSuite('local pool', make);
locksSuite('local pool', make);
poolUsageSuite('local pool', make);
