// rbdelta merge-diff: any number of diff streams, one after the other in time, become one.

import { RbdeltaError } from '../../error.ts';
import { mergeDiff } from '../../ops/merge-diff.ts';
import { usage } from '../args.ts';
import type { Command } from '../command.ts';
import { bytesText, object, toJson } from '../print.ts';
import { s3Options } from '../s3.ts';
import { printsResult, sinkAt, sourceAt } from '../streams.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<diff1-path>', '<diff2-path>', '<path...>'],
  options: ['path', 'diff-format', 'compress', 'max-rate', 'json', 'no-progress', ...s3Options],
  examples: [
    ['merge-diff mon-tue tue-wed mon-wed', 'as rbd does it'],
    ['merge-diff full 1 2 3 4 5 6 new-full', 'any number, oldest first, in one pass'],
  ],
  notes: 'Inputs are named oldest first, the output last (or with --path). One input may be -, the output too.',
  async run(call) {
    const words = call.positionals.rest();
    const path = call.args.text('path') ?? (words.length > 2 ? words.pop() : null);
    const [first, second] = words;
    if (!first) throw new RbdeltaError('invalid', 'first diff was not specified');
    if (!second) throw new RbdeltaError('invalid', 'second diff was not specified');
    if (path == null || path === '') throw new RbdeltaError('invalid', 'path was not specified');
    if (words.filter((word) => word === '-').length > 1) throw usage('standard input can only be one of the inputs');
    const json = printsResult(call, path);
    const version = call.args.value('diff-format', oneOf('1', '2'));
    const inputs = words.map((name) => ({ name, open: sourceAt(call, name) }));
    const openSink = sinkAt(call, path);
    const progress = call.progress('Merging image diff');
    const result = await mergeDiff(inputs, openSink, {
      ...(version === null ? {} : { version: version === '2' ? 2 : 1 }),
      signal: call.signal,
      onProgress: ({ doneBytes, totalBytes }) => progress.update(doneBytes, totalBytes),
    });
    const { records, dataBytes, zeroBytes, streamBytes } = result;
    progress.finish(`merged ${words.length} diffs: ${records} records, ${bytesText(dataBytes)} of data`);
    if (!json) return;
    const tree = object(
      ['records', records],
      ['data_bytes', dataBytes],
      ['zero_bytes', zeroBytes],
      ['stream_bytes', streamBytes],
    );
    await call.stdout.write(toJson(tree, false));
  },
};
