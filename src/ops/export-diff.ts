// export-diff: the changes of an image as a diff stream into a sink.

import type { ByteSink } from '../bytes/sink.ts';
import type { Image } from '../image/port.ts';
import { type DiffPlan, diffStream, type PlanOptions, planDiff, type StreamOptions } from './changes.ts';
import { mostStreamBytes, type WrittenDiff, writeDiff } from './write-diff.ts';

export interface ExportDiffOptions extends PlanOptions, StreamOptions {
  /** Version of the stream format; only 1 is understood by `rbd import-diff`. */
  version?: 1 | 2;
}

export interface ExportDiffResult extends WrittenDiff {
  method: DiffPlan['method'];
}

/**
 * Plans first, so that a bad request creates nothing; then `openSink` is called with the most bytes the stream may
 * have. The sink is finished, or aborted on any failure. `image` stays open.
 */
export const exportDiff = async (
  image: Image,
  openSink: (maxBytes: number) => Promise<ByteSink>,
  options: ExportDiffOptions,
): Promise<ExportDiffResult> => {
  const plan = await planDiff(image, options);
  const { version = 1, signal } = options;
  const stream = diffStream(image, plan, options);
  // v1 has no record for it; rbd writes it beside the end snapshot
  const end = plan.info.snapshot;
  if (version === 2 && end !== null && stream.header.toSnap !== null)
    stream.header.protected = end.protection === 'protected';
  const sink = await openSink(mostStreamBytes(plan.range.length));
  const written = await writeDiff(stream, sink, { version, ...(signal && { signal }) });
  return { ...written, method: plan.method };
};
