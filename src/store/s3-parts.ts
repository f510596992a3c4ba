// How an object is cut into the parts of a multipart upload, of which there may be 10,000.

const MiB = 1024 * 1024;

/** What S3 allows, in bytes where it says so. */
export const limits = {
  parts: 10_000,
  partBytes: 5 * 1024 * MiB,
  /** What one request copies. */
  copyBytes: 5 * 1024 * MiB,
  objectBytes: 5 * 1024 * 1024 * MiB,
  /** Of any part but the last. */
  smallestPartBytes: 5 * MiB,
} as const;

/** At most so much is copied as one part: a server says nothing until it has copied all of it. */
export const copyBytes = 1024 * MiB;

/** What is held in memory for an upload, in bytes, as long as one part is not more. */
export const memoryBytes = 64 * MiB;

const smallestPartBytes = 8 * MiB;

/** Parts of a kind before the next kind, and how much larger that is: 8 MiB at first, 5 TiB in 10,000 parts. */
const growth = { every: 100, factor: 1.062 } as const;

/**
 * Bytes of part `index` (from 0). With a known upper bound of the object all parts are alike, as some servers demand,
 * and large enough for the bound. Without one they grow, so that memory follows what was really written.
 */
export function partBytes(index: number, maxBytes: number | null): number {
  const wanted =
    maxBytes === null
      ? smallestPartBytes * growth.factor ** Math.floor(index / growth.every)
      : Math.max(smallestPartBytes, maxBytes / (limits.parts - 1));
  return Math.min(Math.ceil(wanted / MiB) * MiB, limits.partBytes);
}

/**
 * The least that is copied as a part of its own, and the least that a part before such a one may be: if no part but the
 * last is smaller, the parts of an object of `maxBytes` are not too many.
 */
export function smallestCopyBytes(maxBytes: number | null): number {
  return Math.max(limits.smallestPartBytes, Math.ceil((maxBytes ?? limits.objectBytes) / (limits.parts - 1)));
}

/** How many parts of this size may be on their way while one more is filled: a few, as memory allows. */
export function partsAtOnce(bytes: number): number {
  return Math.max(0, Math.min(4, Math.floor(memoryBytes / bytes) - 1));
}
