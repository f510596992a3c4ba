// The table of what is above images: pools and their namespaces, the counters that give ids.

import { nameFromBytes, nameToBytes, printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { poolObject } from '../../format/rbd-header.ts';
import { keysIn, limits, objectKey, removeRange, type Store, within } from './store.ts';

/** Keys of the cluster table. */
const key = {
  pool: (name: string) => Buffer.concat([Buffer.from('pool/'), nameToBytes(name)]),
  lastPoolId: Buffer.from('last-pool-id'),
  lastSnapId: (poolId: number) => Buffer.from(`last-snap-id/${poolId}`),
};

/** Where quota.ts keeps the quota of a pool, and what was admitted to it. */
export const quotaKey = (poolId: number): Buffer => Buffer.from(`quota/${poolId}`);
export const ledgerKey = (poolId: number): Buffer => Buffer.from(`quota-ledger/${poolId}`);

/** Names of all pools, sorted. */
export const poolNames = (store: Store): string[] =>
  keysIn(store.cluster, within(key.pool(''))).map((found) => nameFromBytes(found.subarray('pool/'.length)));

/** The pool's id; throws `notFound`. */
export function poolIdOf(store: Store, name: string): number {
  const id = findPool(store, name);
  if (id !== null) return id;
  throw new RbdeltaError('notFound', `there is no pool '${printable(name)}' in the local pool ${store.dir}`, {
    hint: `rbdelta pool create ${printable(name)}`,
  });
}

export function findPool(store: Store, name: string): number | null {
  const id = store.cluster.get(key.pool(name));
  return id === undefined ? null : id.readUInt32LE(0);
}

export function poolNameOf(store: Store, id: number): string | null {
  for (const { key: found, value } of store.cluster.getRange(within(key.pool('')))) {
    if (value.readUInt32LE(0) === id) return nameFromBytes(found.subarray('pool/'.length));
  }
  return null;
}

/** Makes a pool and gives it an id that no pool had before; throws `exists`. */
export function addPool(store: Store, name: string): number {
  checkName(name, 'pool');
  return store.transact(() => {
    if (findPool(store, name) !== null) {
      throw new RbdeltaError('exists', `pool '${printable(name)}' already exists in the local pool ${store.dir}`);
    }
    const id = increment(store, key.lastPoolId);
    const value = Buffer.alloc(4);
    value.writeUInt32LE(id, 0);
    void store.cluster.put(key.pool(name), value);
    // what librbd leaves in a pool the first time it is used
    void store.content.put(objectKey(id, '', poolObject.info), Buffer.from('overwrite validated'));
    return id;
  });
}

/** In a transaction. */
export function dropPool(store: Store, name: string): void {
  const id = poolIdOf(store, name);
  const prefix = Buffer.alloc(4);
  prefix.writeUInt32BE(id, 0);
  const end = Buffer.alloc(4);
  end.writeUInt32BE(id + 1, 0);
  for (const table of [store.omap, store.content, store.maps, store.objects])
    removeRange(table, { start: prefix, end });
  void store.cluster.remove(key.lastSnapId(id));
  void store.cluster.remove(quotaKey(id));
  void store.cluster.remove(ledgerKey(id));
  void store.cluster.remove(key.pool(name));
}

/** Whether an id was ever given to a pool. */
export const isGivenPoolId = (store: Store, id: number): boolean => id <= counterAt(store, key.lastPoolId);

/** A snapshot id that the pool has not given before; ids of the data pool, as in RADOS. In a transaction. */
export const nextSnapId = (store: Store, dataPoolId: number): number => increment(store, key.lastSnapId(dataPoolId));

const namespaceKey = (poolId: number, name: string) =>
  Buffer.concat([objectKey(poolId, '', 'rbd_namespace'), Buffer.from('name_'), nameToBytes(name)]);

export function namespaceNames(store: Store, poolId: number): string[] {
  const prefix = namespaceKey(poolId, '');
  return keysIn(store.omap, within(prefix)).map((found) => nameFromBytes(found.subarray(prefix.length)));
}

/** Throws `notFound` for a namespace that was not made; '' is always there. */
export function checkNamespace(store: Store, poolId: number, namespace: string): void {
  if (namespace === '' || store.omap.doesExist(namespaceKey(poolId, namespace))) return;
  throw new RbdeltaError('notFound', `there is no namespace '${printable(namespace)}' in this pool`, {
    hint: 'leave the namespace out, or make it: rbdelta namespace create',
  });
}

export function addNamespace(store: Store, pool: string, namespace: string): void {
  checkName(namespace, 'namespace');
  store.transact(() => {
    const poolId = poolIdOf(store, pool);
    if (store.omap.doesExist(namespaceKey(poolId, namespace))) {
      throw new RbdeltaError('exists', `namespace '${printable(namespace)}' already exists`);
    }
    void store.omap.put(namespaceKey(poolId, namespace), Buffer.alloc(0));
  });
}

/** In a transaction, by who has made sure that it is empty. */
export function dropNamespace(store: Store, poolId: number, namespace: string): void {
  checkNamespace(store, poolId, namespace);
  void store.omap.remove(namespaceKey(poolId, namespace));
}

/** What a pool, namespace, image may be called: what a spec can name, and what fits a key. */
export function checkName(name: string, what: 'pool' | 'namespace' | 'image'): void {
  const refuse = (why: string) => {
    throw new RbdeltaError('invalid', `'${printable(name)}' cannot be the name of a new ${what}: ${why}`);
  };
  if (name === '') refuse('it is empty');
  if (/[/@\0]/.test(name)) refuse('it has a / or @, which separate the parts of a name');
  const bytes = nameToBytes(name).length;
  if (bytes > limits.nameBytes) refuse(`it has ${bytes} bytes, and ${limits.nameBytes} is the most`);
}

const counterAt = (store: Store, counter: Buffer): number =>
  Number(store.cluster.get(counter)?.readBigUInt64LE(0) ?? 0n);

function increment(store: Store, counter: Buffer): number {
  const value = counterAt(store, counter) + 1;
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(value), 0);
  void store.cluster.put(counter, bytes);
  return value;
}
