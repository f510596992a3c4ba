// Object maps against the objects themselves. librbd's own check is not in its C interface.

import { mapOrdered } from '../../bytes/ordered.ts';
import { geometryOf, objectCount, objectOf, periodBytes } from '../../diff/striping.ts';
import { RbdeltaError } from '../../error.ts';
import {
  decodeObjectMap,
  EXISTS_CLEAN,
  NONEXISTENT,
  type ObjectMap,
  objectState,
  PENDING,
} from '../../format/object-map.ts';
import { feature, flag, headerObjectName } from '../../format/rbd-header.ts';
import type { Image, ImageInfo, Progress } from '../port.ts';
import { type Connection, cName } from './connection.ts';
import { check, errnoName } from './errno.ts';
import type { Location } from './header.ts';
import type { Pointer } from './native.ts';
import { throttled } from './progress.ts';

/** LIBRADOS_SNAP_HEAD, CEPH_NOSNAP */
const head = 0xfffffffffffffffen;

const objectsAtOnce = 1024;
const statsAtOnce = 16;

/** About how many objects the map of a version says of what is not so; `info` is that of the version. */
export async function wrongObjects(
  connection: Connection,
  image: Image,
  info: ImageInfo,
  onProgress: Progress = () => undefined,
): Promise<number> {
  const geometry = geometryOf(info);
  const count = objectCount(geometry);
  const map = await mapOf(image, info);
  const since = snapshotBefore(info);
  const report = throttled(onProgress);
  const exists = await objectsOf(connection, info);
  let wrong = Math.max(0, count - map.count);
  try {
    const step = Math.ceil(objectsAtOnce / geometry.stripeCount) * geometry.stripeCount;
    const covered = Math.min(count, map.count);
    for (let first = 0; first < covered; first += step) {
      const numbers = Array.from({ length: Math.min(step, covered - first) }, (_, i) => first + i);
      const changed = new Set<number>();
      if (since !== undefined && numbers.some((one) => objectState(map.states, one) === EXISTS_CLEAN)) {
        const offset = (first / geometry.stripeCount) * periodBytes(geometry);
        const length = Math.min((step / geometry.stripeCount) * periodBytes(geometry), info.size - offset);
        const add = (from: number, bytes: number) => {
          for (let at = from; at < from + bytes; ) {
            const piece = objectOf(geometry, at);
            changed.add(piece.objectNo);
            at += piece.length;
          }
        };
        await image.changedExtents(since, { offset, length }, add, true);
      }
      let objectNo = first;
      for await (const isThere of mapOrdered(numbers, statsAtOnce, exists.has)) {
        const state = objectState(map.states, objectNo);
        const isWrong = isThere
          ? state === NONEXISTENT || (state === EXISTS_CLEAN && changed.has(objectNo))
          : state === EXISTS_CLEAN;
        // As rbd has it: one that is called written may be gone, and none is being removed while nobody writes.
        if (isWrong || state === PENDING) wrong += 1;
        objectNo += 1;
      }
      report(objectNo, count);
    }
  } finally {
    exists.close();
  }
  return wrong;
}

/** What cannot be read covers nothing. */
async function mapOf(image: Image, info: ImageInfo): Promise<ObjectMap> {
  const none = { count: 0, states: new Uint8Array() };
  const bytes = await image.objectMap(info.snapshot?.id ?? null);
  if (bytes === null) return none;
  try {
    return decodeObjectMap(bytes);
  } catch (error) {
    if (error instanceof RbdeltaError && error.code === 'corrupt') return none;
    throw error;
  }
}

/** What 'unchanged' in a map means: since which snapshot (null: ever). Undefined where nothing can be said of that. */
function snapshotBefore({ features, snapshots, snapshot }: ImageInfo): string | null | undefined {
  if (!(features & feature.fastDiff)) return undefined;
  const before = snapshots.findLast(({ id }) => snapshot === null || id < snapshot.id);
  if (before === undefined) return null;
  // librbd starts a diff at what users made only
  return before.namespace === 'user' ? before.name : undefined;
}

/** Which data objects of the version exist, those of no bytes too: of a clone, they hide the parent. */
async function objectsOf(
  connection: Connection,
  { pool, namespace, dataPool, objectPrefix, snapshot }: ImageInfo,
): Promise<{ has: (objectNo: number) => Promise<boolean>; close: () => void }> {
  const { native, rados } = connection;
  // a context of its own: which snapshot is read is a setting of it
  const { poolId } = await connection.io(dataPool ?? pool, namespace);
  const out: [Pointer | null] = [null];
  const name = dataPool ?? pool;
  check(native.call('rados_ioctx_create2', rados, poolId, out), () => `open pool '${name}'`);
  const io = out[0]!;
  native.call('rados_ioctx_set_namespace', io, cName(namespace, 'namespace'));
  native.call('rados_ioctx_snap_set_read', io, snapshot === null ? head : snapshot.id);
  return {
    has: async (objectNo) => {
      const object = `${objectPrefix}.${objectNo.toString(16).padStart(16, '0')}`;
      const result = await native.callAsync('rados_stat', io, cName(object, 'object'), [0], [0]);
      if (errnoName(result) === 'ENOENT') return false;
      check(result, () => `look at the object ${object} of pool '${name}'`);
      return true;
    },
    close: () => void native.call('rados_ioctx_destroy', io),
  };
}

/** As librbd does: nobody who has the image open is told. */
export async function flagInvalid(
  { native }: Connection,
  { io, id }: Location,
  snapId: number | null,
  label: string,
): Promise<void> {
  const flags = BigInt(flag.objectMapInvalid | flag.fastDiffInvalid);
  const request = Buffer.alloc(24);
  for (const [i, word] of [flags, flags, snapId === null ? head : BigInt(snapId)].entries()) {
    request.writeBigUInt64LE(word, 8 * i); // flags, which of them are meant, of what
  }
  const object = cName(headerObjectName(id), 'object');
  const result = await native.callAsync('rados_exec', io.pointer, object, 'rbd', 'set_flags', request, 24, null, 0);
  check(result, () => `flag the object map of ${label} invalid`);
}
