// The rbd diff stream, v1 and v2. Spec: formats/rbd-diff/spec.md

/** Limits on what a stream may ask for, checked before anything is allocated. */
export const limits = {
  /** rbd itself refuses longer names. */
  snapNameBytes: 4096,
  /** Payloads come in pieces of at most this many bytes, however long the record. */
  pieceBytes: 4 << 20,
} as const;

/** What a stream says before its first record; `null` stands for a record that is absent. Names: src/bytes/text.ts */
export interface DiffHeader {
  fromSnap: string | null;
  toSnap: string | null;
  /** Bytes of the image at the end version. */
  size: number | null;
  protected: boolean | null;
}

/**
 * A change. A `write` is one piece of a `w` record: `remaining` more bytes of the same record follow in later pieces,
 * so a record is over when `remaining` is 0. `data` is borrowed: it is valid until the next record is pulled, unless
 * the maker of the stream says otherwise (the decoder does, when it is given an allocator).
 */
export type DiffRecord =
  | { kind: 'write'; offset: number; data: Uint8Array; remaining: number }
  | { kind: 'zero'; offset: number; length: number };

/** One diff: the header is complete before the first record is pulled. Ending without an error means it was whole. */
export interface DiffStream {
  header: DiffHeader;
  records: AsyncIterable<DiffRecord>;
}
