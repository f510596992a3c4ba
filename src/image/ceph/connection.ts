// A connection to a cluster: configured and opened through librados, with the I/O contexts of its pools.

import { existsSync, readFileSync } from 'node:fs';
import { nameFromBytes, nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { check, errnoName, failure } from './errno.ts';
import { loadNative, type Native, type Pointer } from './native.ts';
import { type CephOptions, type Identity, identify } from './options.ts';

/** One pool and namespace, as librados addresses objects in it. */
export interface IoContext {
  readonly pointer: Pointer;
  readonly pool: string;
  readonly poolId: number;
  readonly namespace: string;
}

export interface Connection {
  readonly native: Native;
  readonly rados: Pointer;
  readonly identity: Identity;
  /** A value of the configuration; '' for an option that this version does not know. */
  setting(option: string): string;
  /** Fails with `notFound` where there is no such pool. Shared, and closed with the connection. */
  io(pool: string, namespace: string): Promise<IoContext>;
  ioById(poolId: number, namespace: string): Promise<IoContext>;
  /** null where the pool is gone. */
  poolName(poolId: number): string | null;
  /** Safe to call twice. */
  close(): Promise<void>;
}

/**
 * How long to wait where neither caller nor configuration says. Monitors answer at once or not at all; an OSD may be
 * busy with recovery, and a timeout fails a whole backup.
 */
const defaultSeconds = { monitors: 30, osd: 120 } as const;

/** M_MMAP_THRESHOLD of malloc.h: what is as large is mapped, and unmapped when it is free. Objects have 4 MiB. */
const mmapThreshold = -3;

export async function connect(options: CephOptions): Promise<Connection> {
  const native = await loadNative();
  if (options.returnsMemory) native.call('mallopt', mmapThreshold, 4_000_000);
  const { identity, rest } = identify(options);
  const out: [Pointer | null] = [null];
  check(
    native.call('rados_create2', out, identity.cluster, identity.entity, 0),
    `make a client of cluster '${identity.cluster}' as ${identity.entity}`,
  );
  const rados = out[0]!;
  try {
    configure(native, rados, identity, options, rest);
    const result = await native.callAsync('rados_connect', rados);
    if (result < 0) throw connectFailure(native, rados, identity, result);
  } catch (error) {
    await native.callAsync('rados_shutdown', rados);
    throw error;
  }
  return openConnection(native, rados, identity);
}

function openConnection(native: Native, rados: Pointer, identity: Identity): Connection {
  const contexts = new Map<string, Promise<IoContext>>();
  let closed: Promise<void> | undefined;

  const remember = (key: string, create: () => Promise<IoContext>): Promise<IoContext> => {
    if (closed) return Promise.reject(new TypeError('the connection is closed'));
    let context = contexts.get(key);
    if (!context) {
      context = create();
      contexts.set(key, context);
      context.catch(() => contexts.delete(key));
    }
    return context;
  };

  const opened = (pointer: Pointer, namespace: string): IoContext => {
    native.call('rados_ioctx_set_namespace', pointer, cName(namespace, 'namespace'));
    const poolId = native.call('rados_ioctx_get_id', pointer);
    return { pointer, pool: poolName(poolId) ?? String(poolId), poolId, namespace };
  };

  const poolName = (poolId: number): string | null => {
    const buffer = Buffer.alloc(1024);
    const length = native.call('rados_pool_reverse_lookup', rados, poolId, buffer, buffer.length);
    return length < 0 ? null : nameFromBytes(buffer.subarray(0, length));
  };

  return {
    native,
    rados,
    identity,
    setting: (option) => readSetting(native, rados, option),
    poolName,
    io: (pool, namespace) =>
      remember(`${pool}\0${namespace}`, async () => {
        const out: [Pointer | null] = [null];
        const result = await native.callAsync('rados_ioctx_create', rados, cName(pool, 'pool'), out);
        if (errnoName(result) === 'ENOENT') {
          throw new RbdeltaError('notFound', `there is no pool '${printable(pool)}' in this cluster`, {
            hint: 'ceph osd pool ls shows the pools',
          });
        }
        check(result, `open pool '${printable(pool)}'`);
        return opened(out[0]!, namespace);
      }),
    ioById: (poolId, namespace) =>
      remember(`\0${poolId}\0${namespace}`, async () => {
        const out: [Pointer | null] = [null];
        check(await native.callAsync('rados_ioctx_create2', rados, poolId, out), `open the pool with the id ${poolId}`);
        return opened(out[0]!, namespace);
      }),
    close: () => {
      closed ??= (async () => {
        for (const { status, value } of (await Promise.allSettled(contexts.values())) as {
          status: string;
          value?: IoContext;
        }[]) {
          if (status === 'fulfilled') native.call('rados_ioctx_destroy', value!.pointer);
        }
        contexts.clear();
        await native.callAsync('rados_shutdown', rados);
      })();
      return closed;
    },
  };
}

/** A name as C wants it: its bytes and a NUL. `what` says what kind of name is refused when it holds a NUL itself. */
export function cName(name: string, what: string): Buffer {
  const bytes = nameToBytes(name);
  if (bytes.includes(0))
    throw new RbdeltaError('invalid', `the ${what} name '${printable(name)}' has a NUL byte in it`);
  return Buffer.concat([bytes, Buffer.of(0)]);
}

function configure(native: Native, rados: Pointer, identity: Identity, options: CephOptions, rest: string[]): void {
  const read = native.call('rados_conf_read_file', rados, identity.conf);
  // Without any ceph.conf it may still be reached: -m, CEPH_ARGS.
  const unread = identity.conf === null && errnoName(read) === 'ENOENT';
  if (read < 0 && !unread) {
    throw failure(read, identity.conf === null ? 'read ceph.conf' : `read the configuration ${identity.conf}`);
  }
  // In this order, since the later of two beats the earlier: ours, CEPH_ARGS, the caller's.
  parseArguments(native, rados, defaults(native, rados, options)); // what this version does not know is passed over
  check(native.call('rados_conf_parse_env', rados, null), 'understand CEPH_ARGS');
  const [unknown] = parseArguments(native, rados, rest);
  if (unknown !== undefined) {
    throw new RbdeltaError('usage', `unknown option '${printable(unknown)}'`, {
      hint: 'rbdelta --help; ceph config ls lists the options of Ceph that may be given as well',
    });
  }
  if (options.monHost !== undefined) set(native, rados, 'mon_host', options.monHost);
  if (options.keyring !== undefined) set(native, rados, 'keyring', options.keyring);
  if (options.keyfile !== undefined) set(native, rados, 'keyfile', options.keyfile);
  // librados would ask DNS for monitors, and complain on stderr when it has none either.
  if (unread && readSetting(native, rados, 'mon_host') === '') throw noMonitors();
}

const noMonitors = (): RbdeltaError =>
  new RbdeltaError('unavailable', 'no ceph.conf was found and no monitor was named', {
    hint: 'give --conf PATH or -m HOST; or use the local pool: --cluster-dir DIR',
  });

function defaults(native: Native, rados: Pointer, options: CephOptions): string[] {
  const args: string[] = [];
  const given = options.timeoutMs === undefined ? undefined : Math.ceil(options.timeoutMs / 1000);
  for (const [option, unset, seconds] of [
    ['client_mount_timeout', 300, defaultSeconds.monitors],
    ['rados_mon_op_timeout', 0, defaultSeconds.monitors],
    ['rados_osd_op_timeout', 0, defaultSeconds.osd],
  ] as const) {
    const configured = Number(readSetting(native, rados, option)) !== unset;
    if (given !== undefined || !configured) args.push(`--${option}=${given ?? seconds}`);
  }
  if (options.log !== true) args.push('--log_to_stderr=false', '--err_to_stderr=false');
  // Each range is read or written once: a cache would only copy. An acknowledged write is then one that is stored.
  // Nobody changes a buffer while it is being written: librbd need not copy it first (half of a write's CPU time).
  args.push('--rbd_cache=false', '--rbd_disable_zero_copy_writes=false');
  return args;
}

/** Returns what librados does not know. */
function parseArguments(native: Native, rados: Pointer, args: readonly string[]): string[] {
  if (args.length === 0) return [];
  // librados skips the first as the program's name, and gives back pointers into what it was given.
  const texts = ['rbdelta', ...args].map((arg) => cName(arg, 'option'));
  const pointers = texts.map((text) => native.addressOf(text));
  const unknown = new BigUint64Array(texts.length);
  const argv = new BigUint64Array(pointers);
  const result = native.call('rados_conf_parse_argv_remainder', rados, texts.length, argv, unknown);
  if (result < 0) throw new RbdeltaError('usage', `Ceph refuses an option of: ${printable(args.join(' '))}`);
  return args.filter((_, index) => unknown.includes(pointers[index + 1]!));
}

function set(native: Native, rados: Pointer, option: string, value: string): void {
  check(native.call('rados_conf_set', rados, option, value), `set ${option} to '${printable(value)}'`);
}

function readSetting(native: Native, rados: Pointer, option: string): string {
  const buffer = Buffer.alloc(64 << 10);
  if (native.call('rados_conf_get', rados, option, buffer, buffer.length) < 0) return '';
  return buffer.toString('utf8', 0, buffer.indexOf(0));
}

const keyHint = '--keyring PATH says where it is, --id NAME who you are; ceph auth get-or-create makes a key';

/** Whether the keyring that librados takes, the first of those named that is there, can be read and has no such key. */
function lacksKey(keyrings: string, entity: string): boolean {
  const path = keyrings.split(/[,;\s]+/u).find((one) => one !== '' && existsSync(one));
  if (path === undefined) return false;
  try {
    const sections = [...readFileSync(path, 'utf8').matchAll(/^\s*\[\s*(.*?)\s*\]/gmu)].map(([, name]) => name);
    return sections.length > 0 && !sections.includes(entity);
  } catch {
    return false;
  }
}

function connectFailure(native: Native, rados: Pointer, identity: Identity, result: number): RbdeltaError {
  const monitors = readSetting(native, rados, 'mon_host');
  const keyring = readSetting(native, rados, 'keyring');
  switch (errnoName(result)) {
    case 'ETIMEDOUT':
      return failure(result, `reach the monitors of the cluster at ${monitors} as ${identity.entity}`, {
        hint: 'check the addresses (mon_host of ceph.conf, or -m) and that a monitor runs there; --timeout waits longer',
      });
    case 'ENOENT':
      if (monitors === '') return noMonitors();
      return new RbdeltaError(
        'unavailable',
        `no keyring with a key of ${identity.entity} was found in ${keyring.replace(/,$/u, '')}`,
        {
          hint: keyHint,
        },
      );
    case 'EACCES':
    case 'EPERM':
      if (readSetting(native, rados, 'key') === '' && lacksKey(keyring, identity.entity)) {
        return new RbdeltaError('unavailable', `no key of ${identity.entity} in ${keyring}`, { hint: keyHint });
      }
      return failure(result, `log in to the cluster at ${monitors} as ${identity.entity} with the key in ${keyring}`, {
        code: 'permission',
        hint: `ceph auth get ${identity.entity} shows the key that the cluster knows, and whether there are any caps`,
      });
    case 'EINVAL': // a name that cannot be resolved, too
      return failure(result, `connect to the cluster at ${monitors} as ${identity.entity}`, {
        code: 'unavailable',
        hint: 'check the addresses in ceph.conf (mon_host), or what is given with -m',
      });
    default:
      return failure(result, `connect to the cluster at ${monitors} as ${identity.entity}`, { code: 'unavailable' });
  }
}
