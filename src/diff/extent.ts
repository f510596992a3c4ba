// Extents: ranges of bytes in an image. Offsets and lengths are numbers (at most 2^53 - 1); an end is exclusive.

export interface Extent {
  offset: number;
  length: number;
}

/** `data`: the bytes may have changed, read them. `zero`: the extent reads as zeros now. */
export interface ChangedExtent extends Extent {
  kind: 'data' | 'zero';
}
