// For tests of what works on any cluster: a local pool, and a real Ceph where there is one.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connectCeph } from '../../src/image/ceph/index.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import type { Cluster } from '../../src/image/port.ts';
import { makePool, onCeph } from '../image/ceph/pools.ts';

export interface TestCluster {
  cluster: Cluster;
  /** Pools without images. */
  pool: string;
  otherPool: string;
  /** What a command line needs to find the cluster. */
  env: Record<string, string | undefined>;
  dispose: () => Promise<void>;
}

async function localCluster(): Promise<TestCluster> {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-each-'));
  const cluster = await openLocalPool(dir);
  for (const pool of ['volumes', 'others']) await cluster.createPool(pool);
  return {
    cluster,
    pool: 'volumes',
    otherPool: 'others',
    env: { RBDELTA_DIR: dir, CEPH_CONF: undefined, CEPH_ARGS: undefined },
    async dispose() {
      await cluster.close();
      await rm(dir, { recursive: true });
    },
  };
}

async function cephCluster(): Promise<TestCluster> {
  const [one, other] = [await makePool(), await makePool()];
  const cluster = await connectCeph({});
  return {
    cluster,
    pool: one.pool,
    otherPool: other.pool,
    env: { RBDELTA_DIR: undefined, CEPH_CONF: process.env['CEPH_CONF'] },
    async dispose() {
      await cluster.close();
      await one.removePool();
      await other.removePool();
    },
  };
}

/** For `describe.each`: what it is called, and how it is made. */
export const eachCluster: [string, () => Promise<TestCluster>][] = [
  ['a local pool', localCluster],
  ...(onCeph ? [['a real Ceph', cephCluster] as [string, () => Promise<TestCluster>]] : []),
];

/** The same, but for some of its functions. */
export const replaced = <T extends object>(whole: T, parts: Partial<T>): T =>
  new Proxy(whole, {
    get(_, name) {
      const value: unknown = parts[name as keyof T] ?? whole[name as keyof T];
      return typeof value === 'function' && !(name in parts) ? value.bind(whole) : value;
    },
  });
