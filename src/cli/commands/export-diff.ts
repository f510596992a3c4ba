// rbdelta export-diff: what changed in an image, as a diff stream.

import { exportDiff } from '../../ops/export-diff.ts';
import type { Command } from '../command.ts';
import { pathFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';
import { bytesText, object, toJson } from '../print.ts';
import { rangeFrom } from '../range.ts';
import { s3Options } from '../s3.ts';
import { nameOf, sourceFrom, withSource } from '../source-image.ts';
import { printsResult, queueDepth, sinkAt } from '../streams.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<image[@snap]>', '<path>'],
  options: [
    ...snapNames,
    'path',
    'from-snap',
    'whole-object',
    'offset',
    'length',
    'diff-format',
    'compress',
    'max-rate',
    'queue-depth',
    'json',
    'no-progress',
    ...s3Options,
    ...cluster,
  ],
  examples: [
    ['export-diff volumes/vm-1@mon mon.rbdiff', 'a full: everything up to the snapshot'],
    ['export-diff --from-snap mon volumes/vm-1@tue - | ssh dr rbd import-diff - backups/vm-1', 'an increment'],
    ['export-diff --compress zstd volumes/vm-1@mon s3://bucket/vm-1/mon.rbdiff.zst', 'to S3, compressed'],
    ['export-diff file:/dev/vg/lv lv.rbdiff', 'a raw file or block device'],
  ],
  notes:
    'The path may be a file (which must not exist), - for standard output, or s3://bucket/key (a key that must not ' +
    'exist). rbd import-diff applies what this writes, unless --diff-format 2 is given. A range (--offset, --length) is a ' +
    'part: merge-diff makes the whole of all parts, given in their order, and import-diff refuses one alone.',
  async run(call) {
    const { args } = call;
    const source = sourceFrom(call);
    const path = pathFrom(args, call.positionals);
    const json = printsResult(call, path);
    const version = args.value('diff-format', oneOf('1', '2'));
    const options = { ...rangeFrom(call), ...queueDepth(call) };
    const openSink = sinkAt(call, path);
    await withSource(call, source, async (image) => {
      const progress = call.progress('Exporting image');
      const result = await exportDiff(image, openSink, {
        fromSnap: args.text('from-snap'),
        wholeObject: args.has('whole-object'),
        ...(version === null ? {} : { version: version === '2' ? 2 : 1 }),
        ...options,
        signal: call.signal,
        onNotice: call.notice,
        onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
      });
      const { records, dataBytes, zeroBytes, streamBytes, method } = result;
      progress.finish(
        `exported ${nameOf(source)}: ${records} records, ${bytesText(dataBytes)} of data, ${bytesText(zeroBytes)} of zeros`,
      );
      if (!json) return;
      const tree = object(
        ['records', records],
        ['data_bytes', dataBytes],
        ['zero_bytes', zeroBytes],
        ['stream_bytes', streamBytes],
        ['method', method],
      );
      await call.stdout.write(toJson(tree, false));
    });
  },
};
