// Locks of an image as clients take them (`rbd lock`): the xattr of its header. Spec: formats/rbd-header/spec.md

import { type Codec, codec, type StructReader, type StructWriter, type Utime } from './struct.ts';

/** The xattr of `rbd_header.<id>`. */
export const lockXattr = 'lock.rbd_lock';

/** One who holds the lock. */
export interface Locker {
  /** As `client.<number>`. */
  client: number;
  /** What `rbd lock` calls the id of the lock. */
  cookie: string;
  /** When it ends by itself; zeros: never. */
  expiration: Utime;
  /** From where it was taken: bytes of a sockaddr, none for a client without an address. */
  address: { type: number; nonce: number; socket: Buffer };
  description: string;
}

export interface LockRecord {
  kind: 'none' | 'exclusive' | 'shared';
  /** Those who share it have the same one. */
  tag: string;
  /** Sorted by client and cookie. */
  lockers: Locker[];
}

const kinds = ['none', 'exclusive', 'shared'] as const;
/** CEPH_ENTITY_TYPE_CLIENT */
const clientType = 8;

export const lockValue: Codec<LockRecord> = codec(
  'the lock of the image',
  (from) =>
    from.struct(1, (inner) => {
      const lockers = inner.list(12, () => readLocker(inner));
      const kind = kinds[inner.u8()];
      if (kind === undefined) throw inner.damaged('it is of no kind that there is');
      return { kind, tag: inner.string(), lockers };
    }),
  (to, { kind, tag, lockers }) =>
    to.struct(1, 1, (inner) => {
      inner.list(lockers, (locker) => writeLocker(inner, locker));
      inner.u8(kinds.indexOf(kind)).string(tag);
    }),
);

function readLocker(from: StructReader): Locker {
  const who = from.struct(1, (inner) => {
    if (inner.u8() !== clientType) throw inner.damaged('it is held by something that is no client');
    return { client: inner.i64(), cookie: inner.string() };
  });
  const rest = from.struct(1, (inner) => ({
    expiration: inner.utime(),
    address: readAddress(inner),
    description: inner.string(),
  }));
  return { ...who, ...rest };
}

function writeLocker(to: StructWriter, { client, cookie, expiration, address, description }: Locker): void {
  to.struct(1, 1, (inner) => void inner.u8(clientType).i64(client).string(cookie));
  to.struct(1, 1, (inner) => {
    inner.utime(expiration).u8(1);
    inner.struct(1, 1, (addr) => {
      addr.u32(address.type).u32(address.nonce).u32(address.socket.length).raw(address.socket);
    });
    inner.string(description);
  });
}

function readAddress(from: StructReader): Locker['address'] {
  if (from.u8() !== 1) throw from.damaged('the address of a client is not of the form that Ceph writes since 10');
  return from.struct(1, (inner) => {
    const [type, nonce, length] = [inner.u32(), inner.u32(), inner.u32()];
    const socket = inner.rest();
    if (socket.length !== length) throw inner.damaged(`an address of ${length} bytes has ${socket.length}`);
    return { type, nonce, socket };
  });
}
