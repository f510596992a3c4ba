// export-diff: the changes of an image as a diff stream into a sink.

import type { ByteSink } from '../bytes/sink.ts';
import { RbdeltaError } from '../error.ts';
import type { Image } from '../image/port.ts';
import type { PlanOptions, StreamOptions } from './changes.ts';

export interface ExportDiffOptions extends PlanOptions, StreamOptions {
  /** Version of the stream format; only 1 is understood by `rbd import-diff`. */
  version?: 1 | 2;
}

export interface ExportDiffResult {
  method: 'same' | 'maps' | 'listing';
  records: number;
  /** Bytes of payload, and bytes that the stream says are zero. */
  dataBytes: number;
  zeroBytes: number;
  /** Length of the stream. */
  streamBytes: number;
}

/**
 * Plans first, so that a bad request creates nothing; then `openSink` is called with the most bytes the stream may
 * have. The sink is finished, or aborted on any failure.
 */
export const exportDiff = async (
  image: Image,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: ExportDiffOptions,
): Promise<ExportDiffResult> => {
  throw new RbdeltaError('bug', `not yet: ${image.kind} ${openSink.name} ${options.version}`);
};
