// One version of an image, opened to read through librbd; its metadata and object maps come straight from RADOS.

import { printable } from '../../bytes/text.ts';
import type { Extent } from '../../diff/extent.ts';
import { RbdeltaError } from '../../error.ts';
import { objectMapName } from '../../format/rbd-header.ts';
import type { Image, ImageInfo, Snapshot, Watcher } from '../port.ts';
import type { ImageSpec } from '../spec.ts';
import { Completions } from './completions.ts';
import { type Connection, cName, type IoContext } from './connection.ts';
import { check, errnoName } from './errno.ts';
import { ReportedExtents } from './extents.ts';
import { type Location, locate, locateById, readInfo } from './header.ts';
import type { FunctionName, Pointer } from './native.ts';
import { readObject } from './objects.ts';

/** Maps up to this size (16 TiB of 4 MiB objects) come in one round trip. */
const mapGuessBytes = 1 << 20;

/** rbd_image_watcher_t */
const watcherInfo = { bytes: 24, client: 8, cookie: 16 } as const;

/** An opened handle, and what it is a handle of. */
export interface Opened {
  connection: Connection;
  location: Location;
  /** The snapshot that is open; null is the head. */
  snapId: number | null;
  pointer: Pointer;
  /** How messages name it: pool/image@snap. */
  label: string;
  /** Those that the cluster has to close if nobody else does. */
  siblings: Set<CephImage>;
}

export class CephImage implements Image {
  readonly kind = 'ceph' as const;
  protected readonly opened: Opened;
  readonly #completions: Completions;
  #closed: Promise<void> | undefined;

  constructor(opened: Opened) {
    this.opened = opened;
    this.#completions = new Completions(opened.connection.native, opened.pointer);
    opened.siblings.add(this);
  }

  info(): Promise<ImageInfo> {
    const { connection, location, snapId } = this.opened;
    return readInfo(connection, location, snapId);
  }

  async objectMap(snapId: number | null): Promise<Uint8Array | null> {
    const { connection, location } = this.opened;
    if (location.format === 1) return null;
    return await readObject(connection, location.io, objectMapName(location.id, snapId), mapGuessBytes);
  }

  async changedExtents(
    fromSnap: string | null,
    range: Extent,
    emit: (offset: number, length: number, exists: boolean) => void,
    ownOnly = false,
  ): Promise<void> {
    if (range.length === 0) return;
    const { connection, pointer, label } = this.opened;
    const found = new ReportedExtents();
    const result = await this.use(() =>
      connection.native.callAsync(
        'rbd_diff_iterate2',
        pointer,
        fromSnap === null ? null : cName(fromSnap, 'snapshot'),
        range.offset,
        range.length,
        ownOnly ? 0 : 1, // with the data of a parent
        0, // exact, not whole objects
        found.add,
        null,
      ),
    );
    if (fromSnap !== null && errnoName(result) === 'ENOENT') {
      throw new RbdeltaError('notFound', `there is no snapshot '${printable(fromSnap)}' of ${label} to start from`);
    }
    if (fromSnap !== null && errnoName(result) === 'EINVAL') {
      throw new RbdeltaError('invalid', `the snapshot '${printable(fromSnap)}' is newer than ${label}`);
    }
    check(result, () => `list what changed in ${label}${fromSnap === null ? '' : ` since ${printable(fromSnap)}`}`);
    found.forEach(emit);
  }

  async read(offset: number, into: Uint8Array): Promise<void> {
    if (into.length === 0) return;
    const { pointer, label } = this.opened;
    const got = await this.submit(into, (completion) =>
      this.native.call('rbd_aio_read', pointer, offset, into.length, into, completion),
    );
    check(got, () => `read ${into.length} bytes at ${offset} of ${label}`);
    if (got !== into.length) {
      throw new RbdeltaError('io', `${label} gave ${got} of ${into.length} bytes at ${offset}: it ends there`);
    }
  }

  async lock(): Promise<'exclusive' | 'shared' | null> {
    const { connection, pointer, label } = this.opened;
    const exclusive = [0];
    // Who they are does not matter here: librbd says how much room their names would need.
    const clients: [number | bigint] = [0];
    const none: [null, [number]] = [null, [0]];
    const args = [exclusive, ...none, null, clients, ...none, ...none];
    const result = await this.use(() => connection.native.callAsync('rbd_list_lockers', pointer, ...args));
    if (errnoName(result) !== 'ERANGE') check(result, () => `list the locks of ${label}`);
    if (Number(clients[0]) === 0) return null;
    return exclusive[0] === 0 ? 'shared' : 'exclusive';
  }

  async watchers(): Promise<Watcher[]> {
    const { pointer, label } = this.opened;
    for (let room = 16; ; ) {
      const entries = Buffer.alloc(room * watcherInfo.bytes);
      const count: [number | bigint] = [room];
      const result = await this.use(() => this.native.callAsync('rbd_watchers_list', pointer, entries, count));
      if (errnoName(result) === 'ERANGE') {
        room = Number(count[0]) + 4;
        continue;
      }
      check(result, () => `list the watchers of ${label}`);
      const found = Array.from({ length: Number(count[0]) }, (_, i): Watcher => {
        const at = i * watcherInfo.bytes;
        return {
          address: this.native.stringAt(entries.readBigUInt64LE(at)).toString(),
          client: Number(entries.readBigInt64LE(at + watcherInfo.client)),
          cookie: Number(entries.readBigUInt64LE(at + watcherInfo.cookie)),
        };
      });
      this.native.call('rbd_watchers_list_cleanup', entries, found.length);
      return found;
    }
  }

  async parent(): Promise<Image | null> {
    const { parent } = await this.info();
    if (parent === null) return null;
    const { connection, siblings } = this.opened;
    const io = await connection.io(parent.pool, parent.namespace);
    const label = `${parent.pool}/${printable(parent.image)}@${printable(parent.snap)}`;
    const location: Location = { io, name: parent.image, id: parent.imageId, format: 2 };
    return await openVersion({ connection, location, snapId: parent.snapId, label, siblings });
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      const { connection, pointer, label, siblings } = this.opened;
      await Promise.allSettled(this.#busy);
      await this.#completions.close();
      const result = await connection.native.callAsync('rbd_close', pointer);
      this.#completions.release();
      siblings.delete(this);
      check(result, `close ${label}`);
    })();
    return this.#closed;
  }

  protected get native(): Connection['native'] {
    return this.opened.connection.native;
  }

  /** Starts one I/O; resolves to its result. `memory` is kept until then. */
  protected submit(memory: Uint8Array | null, start: (completion: Pointer) => number): Promise<number> {
    if (this.#closed) return Promise.reject(new TypeError(`${this.opened.label} is closed`));
    return this.#completions.run(start, memory);
  }

  readonly #busy = new Set<Promise<unknown>>();

  /** Runs a call that close() has to wait for. */
  protected async use<T>(call: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new TypeError(`${this.opened.label} is closed`);
    const running = call();
    this.#busy.add(running);
    try {
      return await running;
    } finally {
      this.#busy.delete(running);
    }
  }
}

/** Calls one of librbd's ways to open; `args` are what comes before and after the place for the handle. */
export async function openPointer(
  connection: Connection,
  label: string,
  how: Extract<FunctionName, `rbd_open${'' | '_by_id'}${'' | '_read_only'}`>,
  io: Pointer,
  nameOrId: Buffer,
  snap: Buffer | null = null,
): Promise<Pointer> {
  const out: [Pointer | null] = [null];
  check(await connection.native.callAsync(how, io, nameOrId, out, snap), `open ${label}`);
  return out[0]!;
}

/** Opens a snapshot by ids: it may be in the trash by now, and so may its image. */
export async function openVersion(of: Omit<Opened, 'pointer'> & { snapId: number }): Promise<CephImage> {
  const { connection, location, snapId, label } = of;
  const id = cName(location.id, 'id');
  const pointer = await openPointer(connection, label, 'rbd_open_by_id_read_only', location.io.pointer, id);
  return await adopt(connection, pointer, async () => {
    check(await connection.native.callAsync('rbd_snap_set_by_id', pointer, snapId), `open ${label}`);
    return new CephImage({ ...of, pointer });
  });
}

/** Makes an image of a handle; closes the handle when that fails. */
export async function adopt<T>(connection: Connection, pointer: Pointer, make: () => T | Promise<T>): Promise<T> {
  try {
    return await make();
  } catch (error) {
    await connection.native.callAsync('rbd_close', pointer);
    throw error;
  }
}

/** Opens the head to write; what is in the trash has no name to open it by. */
export async function openHead(connection: Connection, location: Location, label: string): Promise<Pointer> {
  const { io, name, id, format } = location;
  return format === 1
    ? await openPointer(connection, label, 'rbd_open', io.pointer, cName(name, 'image'))
    : await openPointer(connection, label, 'rbd_open_by_id', io.pointer, cName(id, 'id'));
}

/** Finds an image by name or id, or says what of its name is not there. */
export async function find(connection: Connection, spec: ImageSpec): Promise<Location> {
  const { pool, namespace, image, id } = spec;
  if (id === undefined && image === '')
    throw new RbdeltaError('invalid', 'an image has a name of at least one character');
  const io = await connection.io(pool, namespace);
  const location = await (id === undefined ? locate(connection, io, image) : locateById(connection, io, id));
  if (location) return location;
  await expectNamespace(connection, io);
  const where = namespace === '' ? `pool '${printable(pool)}'` : `namespace '${printable(`${pool}/${namespace}`)}'`;
  const what = id === undefined ? `image '${printable(image)}'` : `image with the id '${printable(id)}'`;
  throw new RbdeltaError('notFound', `there is no ${what} in ${where}`, {
    hint: `rbdelta ls ${namespace === '' ? pool : `${pool}/${namespace}`} shows its images`,
  });
}

/** Fails where the pool has no such namespace: to librbd, one is as empty as any other. */
export async function expectNamespace({ native }: Connection, io: IoContext): Promise<void> {
  const { namespace, pointer, pool } = io;
  if (namespace === '') return;
  const exists = Buffer.from([1]);
  // Who may use one namespace only may not ask: then nothing is known.
  const result = await native.callAsync('rbd_namespace_exists', pointer, cName(namespace, 'namespace'), exists);
  if (result < 0 || exists[0] !== 0) return;
  throw new RbdeltaError('notFound', `there is no namespace '${printable(namespace)}' in pool '${printable(pool)}'`, {
    hint: `rbdelta namespace ls ${printable(pool)} shows its namespaces`,
  });
}

/** `image` is how messages name it, without a snapshot. */
export function noSnapshot(name: string, image: string, snapshots: readonly Snapshot[]): RbdeltaError {
  const names = snapshots.filter(({ namespace }) => namespace === 'user').map((one) => printable(one.name));
  const newest = `its newest ones: ${names.slice(-5).join(', ')}; rbdelta snap ls ${image} shows all`;
  return new RbdeltaError('notFound', `there is no snapshot '${printable(name)}' of ${image}`, {
    hint: names.length === 0 ? 'the image has no snapshots' : newest,
  });
}
