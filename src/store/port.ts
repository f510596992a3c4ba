// The port to stores: where the bytes of a repository live. Adapters: directory.ts, s3-store.ts

/** An object as a list shows it. */
export interface StoredObject {
  /** From the root of the store: parts joined by `/`. */
  key: string;
  bytes: number;
  /** By the clock of the store. */
  modifiedMs: number;
}

/** A range of an object of the same store, which a new object takes over without a download where that can be. */
export interface CopiedRange {
  key: string;
  offset: number;
  length: number;
}

export interface WriteOptions {
  /** Bytes that the object will not exceed: parts are sized by it. */
  maxBytes: number;
  signal?: AbortSignal | undefined;
}

/** What a killed writer left: `id` is for `removeLeftover`, `key` what it was to become. */
export interface Leftover extends StoredObject {
  id: string;
}

/**
 * Keys are made of names by formats/repository: letters, digits, `-_.%+/`. One with an empty part, or a part that begins
 * with a `.`, is refused as `invalid`; what is called so in the store is passed over by `list` and `folders`.
 */
export interface Store {
  /** Which adapter this is: a message may name it, no logic may ask for it. */
  readonly kind: 'directory' | 's3';
  /** How messages name an object: its path in quotes, or `s3://bucket/key at ENDPOINT`. '' is the store itself. */
  nameOf(key: string): string;
  /** A whole small object; null where there is none. `tooLarge` past `maxBytes`, before it is read. */
  get(key: string, maxBytes: number): Promise<Buffer | null>;
  /** Fills `into` from `offset`. `notFound` without the object, `corrupt` if it is shorter. Many may be under way. */
  read(key: string, offset: number, into: Uint8Array): Promise<void>;
  /** null where there is none. */
  stat(key: string): Promise<StoredObject | null>;
  /**
   * A whole small object, durable and visible at once; readers see the old one or the new one. With `create`, one that
   * exists is refused as `exists`: atomically where the store enforces it (see `enforcesCreate`).
   */
  put(key: string, bytes: Uint8Array, options?: { create?: boolean }): Promise<void>;
  /**
   * An object of what `pieces` yields, in order; a piece's memory may be used again when the next is pulled. Durable and
   * visible when it resolves, and not before; it replaces what is there. On a failure, of `pieces` as well, nothing is
   * left behind (a killed process leaves what `leftovers` shows).
   */
  write(
    key: string,
    pieces: AsyncIterable<Uint8Array | CopiedRange> | Iterable<Uint8Array | CopiedRange>,
    options: WriteOptions,
  ): Promise<StoredObject>;
  /** All objects whose key begins with `prefix`, sorted by key (bytes). Pages are fetched as they are needed. */
  list(prefix: string): AsyncIterable<StoredObject>;
  /** The next part of the keys behind `folder` (which ends with `/` or is ''), of those that have a further part. As their keys are sorted. */
  folders(folder: string): AsyncIterable<string>;
  /**
   * In bulk, durably; what is not there is fine. Empty folders go as well, where there are folders. Gives the number of
   * keys; fails if one of them cannot be removed, which says nothing of the others.
   */
  remove(keys: AsyncIterable<string> | Iterable<string>): Promise<number>;
  /** What a killed writer left under the prefix: files and uploads that never became objects. */
  leftovers(prefix: string): AsyncIterable<Leftover>;
  removeLeftover(leftover: Pick<Leftover, 'id' | 'key'>): Promise<void>;
  /** The time by the store's own clock. */
  nowMs(): Promise<number>;
  /** Whether `put` with `create` is atomic here, found out by trying under the prefix (nothing is left behind). */
  enforcesCreate(prefix: string): Promise<boolean>;
  close(): Promise<void>;
}
