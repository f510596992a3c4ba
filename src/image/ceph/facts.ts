// What `rbdelta doctor` tells about a cluster: versions, who we are to it, what we may do.

import { listPools } from './admin.ts';
import type { Connection } from './connection.ts';
import { askMonitor } from './monitor.ts';
import { loadNative, type Native } from './native.ts';
import type { CephOptions } from './options.ts';
import { identify } from './options.ts';

export interface CephVersions {
  /** As the libraries count, not as Ceph's releases do: `3.0.0`, `1.16.0`. */
  librados: string;
  librbd: string;
}

export interface CephFacts extends CephVersions {
  fsid: string;
  /** The user, as `client.admin`. */
  entity: string;
  /** The ceph.conf that was asked for; null: one of `searched`. */
  conf: string | null;
  /** Where librados looks without one, in this order. */
  searched: string[];
  monHost: string;
  /** Where keyrings are looked for. */
  keyring: string;
  /** What the user may do, by service (`mon`, `osd`, ...); null when it may not ask. */
  caps: Record<string, string> | null;
  pools: string[];
}

/** The installed libraries; `unavailable` where one is missing. Needs no cluster. */
export async function cephVersions(): Promise<CephVersions> {
  return versions(await loadNative());
}

/** Where ceph.conf is looked for, in this order, when none is named. */
export function confSearch(options: CephOptions = {}): string[] {
  const { cluster } = identify(options).identity;
  return ['$CEPH_CONF', `/etc/ceph/${cluster}.conf`, `$HOME/.ceph/${cluster}.conf`, `./${cluster}.conf`];
}

export async function readFacts(connection: Connection): Promise<CephFacts> {
  const { native, rados, identity } = connection;
  const fsid = Buffer.alloc(64);
  const length = native.call('rados_cluster_fsid', rados, fsid, fsid.length);
  return {
    ...versions(native),
    fsid: fsid.toString('latin1', 0, Math.max(0, length)),
    entity: identity.entity,
    conf: identity.conf,
    searched: confSearch({ cluster: identity.cluster }),
    monHost: connection.setting('mon_host'),
    keyring: connection.setting('keyring'),
    caps: await ownCaps(connection),
    pools: listPools(connection),
  };
}

function versions(native: Native): CephVersions {
  const version = (name: 'rados_version' | 'rbd_version'): string => {
    const parts: [number][] = [[0], [0], [0]];
    native.call(name, ...parts);
    return parts.map(([part]) => part).join('.');
  };
  return { librados: version('rados_version'), librbd: version('rbd_version') };
}

async function ownCaps(connection: Connection): Promise<Record<string, string> | null> {
  // Most users may not ask, even about themselves. The answer also has the key: take no more than the caps.
  const entity = connection.identity.entity;
  const { answer } = await askMonitor(connection, { prefix: 'auth get', entity });
  return (answer as { caps?: Record<string, string> }[] | null)?.[0]?.caps ?? null;
}
