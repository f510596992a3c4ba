// `import`: a new image from raw bytes (format 1) or from `rbd export --export-format 2`.

import type { ByteReader } from '../bytes/reader.ts';
import type { ByteSource } from '../bytes/source.ts';
import type { Cluster, CreateOptions } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';

export interface ImportOptions {
  /** Creation options; for format 2 they take the place of the file's. */
  create?: Omit<CreateOptions, 'size'>;
  sparseBytes?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of input consumed so far. */
  onProgress?: (bytes: number) => void;
}

export interface ImportedImage {
  size: number;
  /** Names of the snapshots made (format 2). */
  snapshots: string[];
  writtenBytes: number;
}

/** Format 1. `size`: bytes that the source will give, null if unknown (stdin: the image grows as it is read). */
export const importRaw = (
  cluster: Cluster,
  spec: ImageSpec,
  source: ByteSource,
  size: number | null,
  options: ImportOptions = {},
): Promise<ImportedImage> => {
  throw new Error(`not yet ${String(cluster)} ${String(spec)} ${String(source)} ${size} ${String(options)}`);
};

/** Format 2. On failure the new image and its snapshots are removed again. 'exists' if there is such an image. */
export const importImage = (
  cluster: Cluster,
  spec: ImageSpec,
  reader: ByteReader,
  options: ImportOptions = {},
): Promise<ImportedImage> => {
  throw new Error(`not yet ${String(cluster)} ${String(spec)} ${String(reader)} ${String(options)}`);
};
