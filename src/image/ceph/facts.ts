// What `rbdelta doctor` tells about a cluster: versions, who we are to it, what we may do.

import { type Connection, cName } from './connection.ts';
import { loadNative, type Native, type Pointer } from './native.ts';
import { listPools } from './admin.ts';
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

async function ownCaps({ native, rados, identity }: Connection): Promise<Record<string, string> | null> {
  const command = cName(JSON.stringify({ prefix: 'auth get', entity: identity.entity, format: 'json' }), 'command');
  const commands = new BigUint64Array([native.addressOf(command)]);
  const out: [Pointer | null] = [null];
  const outLength: [number | bigint] = [0];
  const status: [Pointer | null] = [null];
  const statusLength: [number | bigint] = [0];
  const result = await native.callAsync(
    'rados_mon_command',
    rados,
    commands,
    1,
    null,
    0,
    out,
    outLength,
    status,
    statusLength,
  );
  const text = out[0] === null ? '' : native.bytesAt(out[0], Number(outLength[0])).toString('utf8');
  for (const buffer of [out[0], status[0]]) if (buffer !== null) native.call('rados_buffer_free', buffer);
  // Most users may not ask, even about themselves. The answer also has the key: take no more than the caps.
  if (result < 0 || command.length === 0) return null;
  try {
    const parsed = JSON.parse(text) as { caps?: Record<string, string> }[];
    return parsed[0]?.caps ?? null;
  } catch {
    return null;
  }
}
