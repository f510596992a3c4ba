// The head of an image, opened to write through librbd, which takes the exclusive lock with the first write by itself.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { feature } from '../../format/rbd-header.ts';
import type { ClusterImage, Progress } from '../port.ts';
import { cName } from './connection.ts';
import { check, errnoName, failure } from './errno.ts';
import { CephImage, noSnapshot, openVersion } from './image.ts';
import { lockedBy } from './locked.ts';
import { readLocks } from './locks.ts';
import { flagInvalid, wrongObjects } from './map-check.ts';
import type { FunctionName } from './native.ts';
import { throttled } from './progress.ts';

/** librbd makes a request for every object of a range at once. */
const zeroesAtOnceBytes = 2 ** 30;

/** What librbd takes for any number of snapshots. */
const noLimit = 0xffffffffffffffffn;

/** RBD_LOCK_MODE_EXCLUSIVE */
const exclusive = 0;

export class CephWritableImage extends CephImage implements ClusterImage {
  /**
   * A lock that came by itself goes to whoever asks for it, one that was asked for does not: a VM would get errors for
   * its writes. So one that holds the lock and lives is left alone. Not all images have a lock.
   */
  async claim(): Promise<void> {
    const { features } = await this.info();
    if (!(features & feature.exclusiveLock)) return;
    const doing = `lock ${this.opened.label}`;
    const alive = new Set((await this.watchers()).map(({ address }) => address));
    const owners = (await this.use(() => this.#lockOwners())).filter((owner) => alive.has(owner));
    if (owners.length > 0) throw this.#inUse(doing, owners);
    await this.#change(doing, 'rbd_lock_acquire', exclusive);
  }

  async write(offset: number, data: Uint8Array): Promise<void> {
    if (data.length === 0) return;
    const { pointer, label } = this.opened;
    const result = await this.submit(data, (completion) =>
      this.native.call('rbd_aio_write', pointer, offset, data.length, data, completion),
    );
    if (result < 0) throw await this.#failure(result, `write ${data.length} bytes at ${offset} of ${label}`);
  }

  /** Never a discard: librbd drops those that are smaller than 64 KiB. */
  async writeZeroes(offset: number, length: number): Promise<void> {
    const { pointer, label } = this.opened;
    for (let at = offset, end = offset + length; at < end; at += zeroesAtOnceBytes) {
      const piece = Math.min(zeroesAtOnceBytes, end - at);
      const result = await this.submit(null, (completion) =>
        this.native.call('rbd_aio_write_zeroes', pointer, at, piece, completion, 0, 0),
      );
      if (result < 0) throw await this.#failure(result, `clear ${piece} bytes at ${at} of ${label}`);
    }
  }

  async flush(): Promise<void> {
    const { pointer, label } = this.opened;
    const result = await this.submit(null, (completion) => this.native.call('rbd_aio_flush', pointer, completion));
    check(result, () => `flush ${label}`);
  }

  async resize(size: number, onProgress?: Progress): Promise<void> {
    const doing = `resize ${this.opened.label} to ${size} bytes`;
    if (!onProgress) return await this.#change(doing, 'rbd_resize', size);
    return await this.#change(doing, 'rbd_resize2', size, true, throttled(onProgress), null);
  }

  async createSnapshot(name: string): Promise<void> {
    return await this.#changeSnap('make', name, 'rbd_snap_create', cName(name, 'snapshot'));
  }

  async removeSnapshot(name: string, onProgress?: Progress): Promise<void> {
    const bytes = cName(name, 'snapshot');
    if (!onProgress) return await this.#changeSnap('remove', name, 'rbd_snap_remove', bytes);
    return await this.#changeSnap('remove', name, 'rbd_snap_remove2', bytes, 0, throttled(onProgress), null);
  }

  async protectSnapshot(name: string): Promise<void> {
    return await this.#changeSnap('protect', name, 'rbd_snap_protect', cName(name, 'snapshot'));
  }

  async unprotectSnapshot(name: string): Promise<void> {
    return await this.#changeSnap('unprotect', name, 'rbd_snap_unprotect', cName(name, 'snapshot'));
  }

  async rollback(name: string, onProgress?: Progress): Promise<void> {
    const bytes = cName(name, 'snapshot');
    if (!onProgress) return await this.#changeSnap('roll back to', name, 'rbd_snap_rollback', bytes);
    const report = throttled(onProgress);
    return await this.#changeSnap('roll back to', name, 'rbd_snap_rollback_with_progress', bytes, report, null);
  }

  async renameSnapshot(name: string, to: string): Promise<void> {
    const result = await this.#run('rbd_snap_rename', [cName(name, 'snapshot'), cName(to, 'snapshot')]);
    // it is the new name that is taken
    if (result < 0) throw await this.#snapFailure(result, 'rename', errnoName(result) === 'EEXIST' ? to : name);
  }

  async limitSnapshots(most: number | null): Promise<void> {
    const { label } = this.opened;
    const doing = most === null ? `take the limit of snapshots off ${label}` : `limit ${label} to ${most} snapshots`;
    await this.#change(doing, 'rbd_snap_set_limit', most ?? noLimit);
  }

  async flatten(onProgress?: Progress): Promise<void> {
    const report = throttled(onProgress ?? (() => undefined));
    const { parent } = await this.info();
    if (parent === null) throw new RbdeltaError('invalid', `${this.opened.label} has no parent to be flattened from`);
    await this.#change(`flatten ${this.opened.label}`, 'rbd_flatten_with_progress', report, null);
  }

  async checkObjectMap(snap: string | null, onProgress?: Progress): Promise<number> {
    const { connection, location, label } = this.opened;
    const { features, snapshots } = await this.info();
    if (!(features & feature.objectMap)) {
      throw new RbdeltaError('invalid', `${label} does not have the feature object-map`);
    }
    // what is written meanwhile would be taken for wrong
    if (snap === null) await this.claim();
    const found = snap === null ? null : snapshots.find(({ name, namespace }) => name === snap && namespace === 'user');
    if (found === undefined) throw noSnapshot(snap ?? '', label, snapshots);
    const version =
      found === null
        ? this
        : await openVersion({ ...this.opened, snapId: found.id, label: `${label}@${printable(found.name)}` });
    try {
      const wrong = await this.use(async () => wrongObjects(connection, version, await version.info(), onProgress));
      if (wrong > 0) await flagInvalid(connection, location, found?.id ?? null, label);
      return wrong;
    } finally {
      if (version !== this) await version.close();
    }
  }

  async rebuildObjectMap(snap: string | null, onProgress?: Progress): Promise<void> {
    const report = throttled(onProgress ?? (() => undefined));
    const version = (name: string | null) =>
      this.#run('rbd_snap_set', [name === null ? null : cName(name, 'snapshot')]);
    const { label } = this.opened;
    // the handle turns to the snapshot for as long as this takes
    if (snap !== null && (await version(snap)) < 0) throw noSnapshot(snap, label, (await this.info()).snapshots);
    try {
      await this.#change(`rebuild the object map of ${label}`, 'rbd_rebuild_object_map', report, null);
    } finally {
      if (snap !== null) await version(null);
    }
  }

  /** A change of the image as a whole: a blocking call of librbd that takes the handle first. */
  async #change(doing: string, name: FunctionName, ...args: unknown[]): Promise<void> {
    const result = await this.#run(name, args);
    if (result < 0) throw await this.#failure(result, doing);
  }

  async #changeSnap(verb: string, snap: string, name: FunctionName, ...args: unknown[]): Promise<void> {
    const result = await this.#run(name, args);
    if (result < 0) throw await this.#snapFailure(result, verb, snap);
  }

  #run(name: FunctionName, args: unknown[]): Promise<number> {
    return this.use(() => this.native.callAsync(name, this.opened.pointer, ...args));
  }

  async #snapFailure(result: number, verb: string, snap: string): Promise<Error> {
    const { label } = this.opened;
    const doing = `${verb} the snapshot '${printable(snap)}' of ${label}`;
    const errno = errnoName(result);
    if (errno === 'EEXIST') {
      return new RbdeltaError('exists', `there is already a snapshot '${printable(snap)}' of ${label}`, {
        hint: `rbdelta snap ls ${label} shows its snapshots`,
      });
    }
    if (errno === 'ENOENT') {
      const { snapshots } = await this.info();
      const found = snapshots.some(({ name, namespace }) => name === snap && namespace === 'user');
      if (!found) return noSnapshot(snap, label, snapshots);
    }
    if (errno === 'EBUSY' && verb === 'unprotect') {
      return new RbdeltaError('busy', `cannot ${doing}: it has clones`, {
        hint: `rbdelta children ${label}@${printable(snap)} lists them; flatten or remove them first`,
      });
    }
    if (errno === 'EBUSY' && verb === 'remove') {
      const { snapshots } = await this.info();
      const found = snapshots.find(({ name, namespace }) => name === snap && namespace === 'user');
      if (found && found.protection !== 'unprotected') {
        return new RbdeltaError('busy', `cannot ${doing}: it is protected`, {
          hint: `rbdelta snap unprotect ${label}@${printable(snap)}`,
        });
      }
    }
    return await this.#failure(result, doing);
  }

  /** librbd says EROFS of a mirror, and just so of an image that another client does not let go. */
  async #failure(result: number, doing: string): Promise<Error> {
    if (errnoName(result) !== 'EROFS') return failure(result, doing);
    const { label } = this.opened;
    const { features } = await this.info();
    if (features & feature.nonPrimary) return notPrimary(label);
    const owners = await this.use(() => this.#lockOwners());
    if (owners.length > 0) return this.#inUse(doing, owners);
    const [lock] = (await this.use(() => readLocks(this.native, this.opened.pointer, label))).lockers;
    return lock === undefined ? failure(result, doing) : lockedBy(label, lock.client, lock.id);
  }

  #inUse(doing: string, owners: readonly string[]): RbdeltaError {
    const { label } = this.opened;
    const held = `exclusive lock held by ${owners.join(', ')}`;
    return new RbdeltaError('busy', `cannot ${doing}: it is in use by another client (${held})`, {
      hint:
        `stop the VM that uses it; rbdelta lock ls ${label} and rbdelta status ${label} show the client; ` +
        'one that was killed is forgotten after half a minute',
    });
  }

  /** Addresses of the clients; none where it cannot be told. */
  async #lockOwners(): Promise<string[]> {
    const owners = new BigUint64Array(8);
    const count: [number | bigint] = [owners.length];
    const { pointer } = this.opened;
    const result = await this.native.callAsync('rbd_lock_get_owners', pointer, [0], owners, count);
    if (result < 0) return [];
    const length = Number(count[0]);
    const found = [...owners.subarray(0, length)].map((one) => printable(this.native.stringAt(one).toString()));
    this.native.call('rbd_lock_get_owners_cleanup', owners, length);
    return found;
  }
}

export const notPrimary = (label: string): RbdeltaError =>
  new RbdeltaError('readOnly', `${label} is a mirror that is not primary: only mirroring may write it`, {
    hint: 'rbd mirror image promote makes it primary; or write to another image',
  });
