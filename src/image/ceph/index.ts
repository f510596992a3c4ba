// Ceph clusters: images through librbd, metadata through librados. The only room that knows koffi.

import type { Cluster } from '../port.ts';
import { CephCluster } from './cluster.ts';
import { connect } from './connection.ts';
import type { CephOptions } from './options.ts';

export type { CephCluster } from './cluster.ts';
export { type CephFacts, type CephVersions, cephVersions, confSearch } from './facts.ts';
export type { CephOptions } from './options.ts';

/**
 * Connects to a Ceph cluster. `unavailable`: koffi, librados or librbd is missing, or nothing says where the cluster is
 * or has a key for it. `permission`: the monitors refuse the key. `timeout`: they do not answer. `usage`: an unknown option.
 */
export async function connectCeph(options: CephOptions = {}): Promise<CephCluster & Cluster> {
  return new CephCluster(await connect(options));
}
