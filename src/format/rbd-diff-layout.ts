// What a diff stream is made of: types, limits, tags. Spec: formats/rbd-diff/spec.md

/** Limits on what a stream may ask for, checked before anything is allocated. */
export const limits = {
  /** rbd itself refuses longer names. */
  snapNameBytes: 4096,
  /** Payloads come in pieces of at most this many bytes, however long the record. */
  pieceBytes: 4 << 20,
  /** A v2 record with a tag that we do not know is skipped when it says that it is no longer than this. */
  unknownRecordBytes: 1 << 20,
} as const;

/** What a stream says before its first record; `null` stands for a record that is absent. Names: src/bytes/text.ts */
export interface DiffHeader {
  fromSnap: string | null;
  toSnap: string | null;
  /** Bytes of the image at the end version. */
  size: number | null;
  protected: boolean | null;
  /** The stream is one part of a diff: what lies from byte `offset` of the image to `end`. Absent: all of it. */
  part?: { offset: number; end: number };
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

export type DiffVersion = 1 | 2;

/** First bytes of a stream. */
export const banners = { 1: Buffer.from('rbd diff v1\n'), 2: Buffer.from('rbd diff v2\n') } as const;
/** Tags, as written: one byte before each record. */
export const tags = {
  fromSnap: 0x66,
  toSnap: 0x74,
  protected: 0x70,
  size: 0x73,
  write: 0x77,
  zero: 0x7a,
  end: 0x65,
} as const;
