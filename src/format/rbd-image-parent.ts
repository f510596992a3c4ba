// What an image export tells of the parent that its image is a clone of. Spec: formats/rbd-image/spec.md

import { createHash } from 'node:crypto';
import * as v from 'valibot';

/** The key of image metadata that has it. */
export const parentKey = 'rbdelta.parent';

/** A snapshot, and how much of it the first version of the clone shows. */
export interface ParentNote {
  pool: string;
  /** '' is the default one. */
  namespace: string;
  image: string;
  snap: string;
  /** Of the snapshot, in bytes. */
  size: number;
  /** Of the snapshot's bytes; what lies behind reads as zeros where the clone has nothing. */
  overlap: number;
  cloneFormat: 1 | 2;
  /** SHA-256 of the snapshot's samples, in hex: see `sampleOffsets`. */
  samples: string;
}

const bytes = v.pipe(v.number(), v.safeInteger(), v.minValue(0));
const name = v.pipe(v.string(), v.minLength(1));
const schema = v.object({
  pool: name,
  namespace: v.string(),
  image: name,
  snap: name,
  size: bytes,
  overlap: bytes,
  cloneFormat: v.picklist([1, 2]),
  samples: v.pipe(v.string(), v.regex(/^[0-9a-f]{64}$/u)),
});

export const encodeParentNote = (note: ParentNote): string => JSON.stringify(v.parse(schema, note));

/** null for what is no such note: it is a hint, and nobody need follow it. */
export function decodeParentNote(text: string): ParentNote | null {
  try {
    const result = v.safeParse(schema, JSON.parse(text));
    return result.success ? result.output : null;
  } catch {
    return null;
  }
}

export const sampleBytes = 16 << 10;
const samples = 256;

/** Where the samples of a version of this size begin, rising; the last one may be cut by its end. */
export function sampleOffsets(size: number): number[] {
  const offsets = Array.from({ length: samples }, (_, i) => {
    // exact: i and size together may be more than 2^53
    const at = Number((BigInt(i) * BigInt(size)) / BigInt(samples));
    return at - (at % sampleBytes);
  });
  return [...new Set(offsets)].filter((offset) => offset < size);
}

/** The digest of samples that are added in their order. */
export function samplesDigest(): { add(sample: Uint8Array): void; hex(): string } {
  const hash = createHash('sha256');
  return { add: (sample) => void hash.update(sample), hex: () => hash.digest('hex') };
}
