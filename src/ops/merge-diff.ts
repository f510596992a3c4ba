// merge-diff: any number of diff streams become one, in one pass.

import type { ByteSink } from '../bytes/sink.ts';
import type { ByteSource } from '../bytes/source.ts';
import { RbdeltaError } from '../error.ts';

export interface MergeInput {
  /** As the user wrote it, for messages. */
  name: string;
  open: () => Promise<ByteSource>;
}

export interface MergeDiffOptions {
  version?: 1 | 2;
  onProgress?: (progress: { doneBytes: number; totalBytes: number }) => void;
  signal?: AbortSignal;
}

export interface MergeDiffResult {
  records: number;
  dataBytes: number;
  zeroBytes: number;
  streamBytes: number;
}

/**
 * Inputs oldest first. Opens all of them and checks their headers before `openSink` is called with the most bytes the
 * stream may have. The sink is finished, or aborted on any failure.
 */
export const mergeDiff = async (
  inputs: readonly MergeInput[],
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: MergeDiffOptions = {},
): Promise<MergeDiffResult> => {
  throw new RbdeltaError('bug', `not yet: ${inputs.length} ${openSink.name} ${options.version}`);
};
