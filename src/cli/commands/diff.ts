// rbdelta diff: the extents that differ, as rbd prints them.

import type { ChangedExtent } from '../../diff/extent.ts';
import { diffExtents } from '../../ops/diff.ts';
import type { Call, Command } from '../command.ts';
import { cluster, output, snapNames } from '../options.ts';
import { type OutputFormat, outputFormat } from '../output.ts';
import { listPrinter, object } from '../print.ts';
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

/** json and xml go out as the extents come; the table must have seen all of them to know its widths. */
async function printExtents(call: Call, output: OutputFormat, extents: AsyncIterable<ChangedExtent>): Promise<void> {
  if (output.format === 'plain') return printTable(call, extents);
  const list = listPrinter(output.format, 'extents', 'extent', output.pretty);
  for await (const { offset, length, kind } of extents) {
    const exists = String(kind === 'data');
    await call.stdout.write(list.item(object(['offset', offset], ['length', length], ['exists', exists])));
  }
  await call.stdout.write(list.end());
}

async function printTable(call: Call, extents: AsyncIterable<ChangedExtent>): Promise<void> {
  // There may be millions: numbers take a tenth of the memory that rows of text would. A negative length is of zeros.
  const numbers: number[] = [];
  const widest = { offset: 'Offset'.length, length: 'Length'.length };
  for await (const { offset, length, kind } of extents) {
    numbers.push(offset, kind === 'data' ? length : -length);
    widest.offset = Math.max(widest.offset, String(offset).length);
    widest.length = Math.max(widest.length, String(length).length);
  }
  const row = (offset: string, length: string, type: string): string =>
    `${offset.padEnd(widest.offset)}  ${length.padEnd(widest.length)}  ${type}\n`;
  if (numbers.length > 0) await call.stdout.write(row('Offset', 'Length', 'Type'));
  for (let i = 0; i < numbers.length; i += 2) {
    const [offset = 0, length = 0] = [numbers[i], numbers[i + 1]];
    await call.stdout.write(row(String(offset), String(Math.abs(length)), length > 0 ? 'data' : 'zero'));
  }
}
