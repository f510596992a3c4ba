// rbdelta diff: the extents that differ, as rbd prints them.

import type { ChangedExtent } from '../../diff/extent.ts';
import { diffExtents } from '../../ops/diff.ts';
import type { Call, Command } from '../command.ts';
import { cluster, output, snapNames } from '../options.ts';
import { type OutputFormat, outputFormat } from '../output.ts';
import { object, table, toJson, toXml } from '../print.ts';
import { rangeFrom } from '../range.ts';
import { sourceFrom, withSource } from '../source-image.ts';

export const command: Command = {
  positionals: ['<image[@snap]>'],
  options: [...snapNames, 'from-snap', 'whole-object', 'offset', 'length', ...output, ...cluster],
  examples: [
    ['diff volumes/vm-1@tue --from-snap mon', 'what changed between two snapshots'],
    ['diff --json volumes/vm-1', 'what there is at all'],
  ],
  notes: 'data: may have changed; zero: reads as zeros now. Nothing is read: export-diff may find more zeros.',
  async run(call) {
    const source = sourceFrom(call);
    const format = outputFormat(call);
    const range = rangeFrom(call);
    await withSource(call, source, (image) =>
      printExtents(
        call,
        format,
        diffExtents(image, {
          fromSnap: call.args.text('from-snap'),
          wholeObject: call.args.has('whole-object'),
          ...range,
          signal: call.signal,
          onNotice: call.notice,
        }),
      ),
    );
  },
};

const columns = [
  { title: 'Offset', align: 'left' },
  { title: 'Length', align: 'left' },
  { title: 'Type', align: 'left' },
] as const;

/** json and xml as they come; the table must have seen all of them to know its widths. */
async function printExtents(
  call: Call,
  { format, pretty }: OutputFormat,
  extents: AsyncIterable<ChangedExtent>,
): Promise<void> {
  if (format === 'plain') {
    const rows: string[][] = [];
    for await (const { offset, length, kind } of extents) rows.push([String(offset), String(length), kind]);
    if (rows.length > 0) await call.stdout.write(table(columns, rows));
    return;
  }
  const items = [];
  for await (const { offset, length, kind } of extents) {
    items.push([
      'extent',
      object(['offset', offset], ['length', length], ['exists', String(kind === 'data')]),
    ] as const);
  }
  await call.stdout.write(format === 'json' ? toJson({ items }, pretty) : toXml('extents', { items }, pretty));
}
