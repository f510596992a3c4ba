// `export`: a whole image, as raw bytes (format 1) or with its snapshots and metadata (format 2).

import type { ByteSink } from '../bytes/sink.ts';
import type { Image } from '../image/port.ts';

export interface ExportOptions {
  queueDepth?: number;
  signal?: AbortSignal;
  onNotice?: (text: string) => void;
  /** Bytes of the image done, of all (format 2: over all its versions). */
  onProgress?: (done: number, total: number) => void;
}

/** Format 1: every byte of the opened version, holes as zeros. Finishes the sink, or aborts it. */
export const exportRaw = (image: Image, sink: ByteSink, options: ExportOptions = {}): Promise<void> => {
  throw new Error(`not yet ${String(image)} ${String(sink)} ${String(options)}`);
};

/** Format 1 to a new sparse file ('exists' if there is one); removed again on failure. */
export const exportRawToFile = (image: Image, path: string, options: ExportOptions = {}): Promise<void> => {
  throw new Error(`not yet ${String(image)} ${path} ${String(options)}`);
};

/**
 * Format 2: properties, metadata, and all `user` snapshots and the head as diffs. `openAt` opens the image at a
 * snapshot, or its head (null). Finishes the sink, or aborts it.
 */
export const exportImage = (
  openAt: (snap: string | null) => Promise<Image>,
  metadata: ReadonlyMap<string, string>,
  sink: ByteSink,
  options: ExportOptions = {},
): Promise<void> => {
  throw new Error(`not yet ${String(openAt)} ${String(metadata)} ${String(sink)} ${String(options)}`);
};
