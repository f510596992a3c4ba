// How a cluster is named: rbd's own options, and whatever else of Ceph's configuration the caller passes through.

import { RbdeltaError } from '../../error.ts';

export interface CephOptions {
  /** Path of ceph.conf. Absent: what librados finds (CEPH_CONF, /etc/ceph/<cluster>.conf, ~/.ceph, here). */
  conf?: string | undefined;
  /** The cluster's name, part of the default paths; `ceph` by default. */
  cluster?: string | undefined;
  /** The user: `admin` is `client.admin`, the default. */
  id?: string | undefined;
  /** The user in full, as `client.backup`. Beats `id`. */
  name?: string | undefined;
  monHost?: string | undefined;
  keyring?: string | undefined;
  /** A file with the key alone. */
  keyfile?: string | undefined;
  /**
   * Options as the command line or CEPH_ARGS have them (`-c`, `--id`, ..., and `--any-config-option value`). Explicit
   * fields above beat them. What neither rbdelta nor Ceph knows is refused as `usage`.
   */
  args?: readonly string[] | undefined;
  /**
   * After this many ms (in whole seconds) without an answer of the monitors or of an OSD, calls fail with `timeout`; 0
   * waits for ever. Absent: what the configuration says, else 30 s for the monitors, 2 min for an OSD.
   */
  timeoutMs?: number | undefined;
  /**
   * The memory that librados reads an object into goes back to the system each time, for the whole process. Else the C
   * library keeps what cannot be used again, as each is aligned: a quarter of what a backup takes, for 3 % of its CPU time.
   */
  returnsMemory?: boolean | undefined;
  /** Lets librados write its log to stderr, as the configuration says. */
  log?: boolean | undefined;
}

export interface Identity {
  conf: string | null;
  cluster: string;
  /** `client.admin` */
  entity: string;
}

const early: Record<string, 'conf' | 'cluster' | 'id' | 'name'> = {
  '-c': 'conf',
  '--conf': 'conf',
  '--cluster': 'cluster',
  '-i': 'id',
  '--id': 'id',
  '--user': 'id',
  '-n': 'name',
  '--name': 'name',
};

/** Takes out of `args` what must be known before there is a configuration; the rest is for librados to parse. */
export function identify(options: CephOptions): { identity: Identity; rest: string[] } {
  const found: Partial<Record<'conf' | 'cluster' | 'id' | 'name', string>> = {};
  const rest: string[] = [];
  const args = options.args ?? [];
  for (let i = 0; i < args.length; i++) {
    const arg = args[i]!;
    const equals = arg.startsWith('--') ? arg.indexOf('=') : -1;
    const key = early[equals < 0 ? arg : arg.slice(0, equals)];
    if (key === undefined) {
      rest.push(arg);
      continue;
    }
    const value = equals < 0 ? args[++i] : arg.slice(equals + 1);
    if (value === undefined) throw new RbdeltaError('usage', `option '${arg}' needs a value`);
    found[key] = value;
    // The two name one thing: the later one counts.
    if (key === 'id') delete found.name;
    if (key === 'name') delete found.id;
  }
  const name = options.name ?? (options.id === undefined ? found.name : undefined);
  const entity = name ?? `client.${options.id ?? found.id ?? 'admin'}`;
  if (!entity.startsWith('client.') || entity.length === 'client.'.length) {
    throw new RbdeltaError('usage', `the user's name must be like client.admin, found '${entity}'`, {
      hint: '--id admin is short for --name client.admin',
    });
  }
  return {
    identity: { conf: options.conf ?? found.conf ?? null, cluster: options.cluster ?? found.cluster ?? 'ceph', entity },
    rest,
  };
}
