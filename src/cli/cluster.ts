// Which cluster a command line means, and the way to it.

import { existsSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { closing } from '../bytes/closing.ts';
import { unlessAborted } from '../bytes/errno.ts';
import { RbdeltaError } from '../error.ts';
import type { CephOptions } from '../image/ceph/index.ts';
import type { LocalPool } from '../image/local/index.ts';
import type { Cluster, ClusterImage, Image } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { type Args, readArgs, usage } from './args.ts';
import type { Call } from './command.ts';
import { abandon } from './end.ts';
import { inPool, type NamedImage } from './names.ts';
import { cephOptions } from './options.ts';
import { millisecondsFrom } from './values.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** `because` completes "this is so because ...". */
export type ClusterChoice =
  | { kind: 'local'; dir: string; because: string }
  | { kind: 'ceph'; options: CephOptions; conf: string | null; because: string };

/**
 * `--cluster-dir`; else Ceph's own options; else RBDELTA_DIR; else Ceph where a ceph.conf is found, searched as
 * librados does; else the local pool in the data directory of the user. Does not look whether the cluster is there.
 */
export function chooseCluster(
  args: Args,
  env: Environment,
  exists: (path: string) => boolean = existsSync,
): ClusterChoice {
  args.value('timeout', millisecondsFrom); // whatever the cluster: what is no time is refused
  const dir = args.text('cluster-dir');
  const named = cephOptions.find((name) => args.has(name));
  if (dir !== null) {
    if (named !== undefined) throw usage(`--cluster-dir and --${named} name two different clusters`);
    return local(dir, '--cluster-dir names it');
  }
  if (named !== undefined) return ceph(args, env, exists, `--${named} is given`);
  if (env['RBDELTA_DIR']) return local(env['RBDELTA_DIR'], 'RBDELTA_DIR names it');
  const found = ceph(args, env, exists, '');
  if (env['CEPH_CONF']) return { ...found, because: 'CEPH_CONF is set' };
  if (env['CEPH_ARGS'] && (found.conf !== null || found.options.monHost !== undefined)) {
    return { ...found, because: 'CEPH_ARGS is set' };
  }
  if (found.conf !== null) return { ...found, because: `${found.conf} exists` };
  const data = env['XDG_DATA_HOME'] || join(env['HOME'] || '.', '.local', 'share');
  return local(join(data, 'rbdelta'), 'no ceph.conf was found and no other cluster is named');
}

function local(dir: string, because: string): ClusterChoice {
  return { kind: 'local', dir: resolve(dir), because };
}

function ceph(
  args: Args,
  env: Environment,
  exists: (path: string) => boolean,
  because: string,
): ClusterChoice & { kind: 'ceph' } {
  const shared = readArgs((env['CEPH_ARGS'] ?? '').split(/\s+/u).filter((word) => word !== ''));
  const option = (name: (typeof cephOptions)[number]): string | undefined =>
    args.text(name) ?? shared.text(name) ?? undefined;
  const cluster = option('cluster');
  const given = option('conf') ?? (env['CEPH_CONF'] || undefined);
  const conf = given ?? confFiles(cluster ?? 'ceph', env).find(exists) ?? null;
  const options = {
    conf: conf ?? undefined,
    cluster,
    id: option('id'),
    name: option('name'),
    monHost: option('mon-host'),
    keyring: option('keyring') ?? (env['CEPH_KEYRING'] || undefined),
    keyfile: option('keyfile'),
    // librados reads the rest of CEPH_ARGS itself.
    args: args.foreign,
    timeoutMs: args.value('timeout', millisecondsFrom) ?? undefined,
  };
  return { kind: 'ceph', conf, because, options: withoutUndefined(options) };
}

const withoutUndefined = <T extends object>(value: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(value).filter(([, one]) => one !== undefined)) as never;

/** Where librados looks. */
const confFiles = (cluster: string, env: Environment): string[] => [
  `/etc/ceph/${cluster}.conf`,
  ...(env['HOME'] ? [join(env['HOME'], '.ceph', `${cluster}.conf`)] : []),
  `${cluster}.conf`,
];

/** Connects, calls, and closes in any case. `pool` is the pool of specs that name none. */
export async function withCluster<T>(
  call: Call,
  use: (cluster: Cluster, pool: string) => Promise<T>,
  more: Pick<CephOptions, 'returnsMemory'> = {},
): Promise<T> {
  const opening = openCluster(chooseCluster(call.args, call.env), more);
  const { cluster, pool } = await unlessAborted(opening, call.signal).catch((error: unknown) => {
    // Connecting cannot be called off, only left alone. Nothing is open yet.
    if (call.signal.aborted) abandon();
    throw error;
  });
  try {
    return await use(cluster, pool);
  } finally {
    await cluster.close();
  }
}

/**
 * As `withCluster`, for a command that has a source and a destination: `to` is the same cluster, unless `--dest-cluster-dir`
 * or `--dest-conf` names another one.
 */
export async function withClusters<T>(
  call: Call,
  use: (from: Cluster, to: Cluster, pools: { from: string; to: string }) => Promise<T>,
): Promise<T> {
  const [dir, conf] = [call.args.text('dest-cluster-dir'), call.args.text('dest-conf')];
  if (dir !== null && conf !== null) throw usage('--dest-cluster-dir and --dest-conf name two different clusters');
  return withCluster(call, async (from, pool) => {
    if (dir === null && conf === null) return use(from, from, { from: pool, to: pool });
    const choice: ClusterChoice =
      dir !== null
        ? local(dir, '--dest-cluster-dir names it')
        : { kind: 'ceph', conf, because: '--dest-conf names it', options: { conf: conf ?? '' } };
    const { cluster, pool: toPool } = await openCluster(choice);
    return closing(cluster, (to) => use(from, to, { from: pool, to: toPool }));
  });
}

/** Opens the head or the snapshot that is named, calls, and closes in any case. */
export const withImage = <T>(
  call: Call,
  named: NamedImage,
  use: (image: Image, spec: ImageSpec, cluster: Cluster) => Promise<T>,
): Promise<T> =>
  withCluster(call, async (cluster, pool) => {
    const spec = inPool(named, pool);
    return closing(await cluster.open(spec), (image) => use(image, spec, cluster));
  });

/** Opens the head to write (whatever snapshot is named), calls, and closes in any case. */
export const withWritableImage = <T>(
  call: Call,
  named: NamedImage,
  use: (image: ClusterImage, spec: ImageSpec, cluster: Cluster) => Promise<T>,
): Promise<T> =>
  withCluster(call, async (cluster, pool) => {
    const spec = inPool(named, pool);
    return closing(await cluster.openToWrite({ ...spec, snap: null }), (image) => use(image, spec, cluster));
  });

export { closing };

/** The directory of the local pool, for what Ceph's own tools are there for: `instead` says which. */
export async function withLocalPool<T>(call: Call, instead: string, use: (pool: LocalPool) => Promise<T>): Promise<T> {
  const choice = chooseCluster(call.args, call.env);
  if (choice.kind === 'ceph') {
    throw new RbdeltaError('unsupported', `this is a Ceph cluster (${choice.because}): pools are Ceph's own affair`, {
      hint: `${instead}; or name a local pool with --cluster-dir DIR`,
    });
  }
  const { openLocalPool } = await import('../image/local/index.ts');
  return closing(await openLocalPool(choice.dir), use);
}

async function openCluster(
  choice: ClusterChoice,
  more: Pick<CephOptions, 'returnsMemory'> = {},
): Promise<{ cluster: Cluster; pool: string }> {
  if (choice.kind === 'local') {
    const { openLocalPool } = await import('../image/local/index.ts');
    return { cluster: await openLocalPool(choice.dir), pool: 'rbd' };
  }
  const { connectCeph } = await import('../image/ceph/index.ts');
  const cluster = await connectCeph({ ...choice.options, ...more }).catch((error: unknown) => {
    if (choice.conf === null || !(error instanceof RbdeltaError) || error.code !== 'notFound') throw error;
    throw new RbdeltaError(error.code, error.message, {
      hint: 'name the right one with --conf or CEPH_CONF; without any: -m HOST --keyring FILE',
      cause: error,
    });
  });
  return { cluster, pool: cluster.defaultPool };
}
