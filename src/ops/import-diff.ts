// `import-diff`: apply a diff stream, or a chain of them, to an image. Checked first, applied, undone if it fails.

import type { ByteReader } from '../bytes/reader.ts';
import type { Image, WritableImage } from '../image/port.ts';

export interface ImportDiffOptions {
  /** HEAD differs from the base snapshot: put it back first, instead of refusing. */
  rollback?: boolean;
  /** Apply as rbd does: HEAD is not compared with the base, records may overlap. A failure then cannot be undone. */
  force?: boolean;
  /** A full onto an image that holds data: apply it, and clear what the stream leaves out. */
  overwrite?: boolean;
  /** The end snapshot exists: read the diff to its end and go on, instead of refusing. */
  skipExisting?: boolean;
  /** Check and read everything, write nothing. */
  dryRun?: boolean;
  /** Runs of zeros in blocks of this many bytes are not written but made holes (rbd's --sparse-size); 0: written. */
  sparseBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of input consumed so far. */
  onProgress?: (bytes: number) => void;
}

/** What is done for one diff: decided before the first write. */
export interface ImportPlan {
  fromSnap: string | null;
  toSnap: string | null;
  /** Bytes of the image afterwards. */
  size: number;
  /** Bytes of the image before. */
  oldSize: number;
  /** The end snapshot is there already: nothing is done. */
  skip: boolean;
  /** HEAD is put back to the base first. */
  rollback: boolean;
  /** What the stream leaves out is cleared. */
  clear: boolean;
  protect: boolean;
}

export interface ImportedDiff {
  fromSnap: string | null;
  toSnap: string | null;
  size: number;
  skipped: boolean;
  writtenBytes: number;
  zeroedBytes: number;
  /** `w` and `z` records in the stream. */
  records: number;
  plan: ImportPlan;
}

export interface ImportResult {
  diffs: ImportedDiff[];
}

/**
 * Applies every diff of the input in turn. `openAtSnap` opens the same image at a snapshot (the base is compared with
 * HEAD). Throws 'exists' (the end snapshot is there; the image holds data), 'diverged' (HEAD is not the base),
 * 'invalid' (no such base), 'corrupt', 'interrupted'; the image is then as before the failing diff, or the message says
 * how it is.
 */
export const importDiff = (
  target: WritableImage,
  openAtSnap: (snap: string) => Promise<Image>,
  reader: ByteReader,
  options: ImportDiffOptions = {},
): Promise<ImportResult> => {
  throw new Error(`not yet ${String(target)} ${String(openAtSnap)} ${String(reader)} ${String(options)}`);
};
