// rbdelta inspect: what is in a diff stream.

import { ByteReader } from '../../bytes/reader.ts';
import { printable } from '../../bytes/text.ts';
import { type DiffReport, inspectStream, type StreamReport } from '../../ops/inspect.ts';
import { closing } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { pathFrom } from '../names.ts';
import { output } from '../options.ts';
import { outputFormat, print } from '../output.ts';
import { picture } from '../picture.ts';
import { bytesText, list, object, optional, type Tree, table } from '../print.ts';
import { s3Options } from '../s3.ts';
import { lengthOf, sourceAt } from '../streams.ts';

export const command: Command = {
  positionals: ['<path>'],
  options: ['path', ...output, 'no-progress', ...s3Options],
  examples: [
    ['inspect mon-tue.rbdiff', 'header, counts, a map of the changes'],
    ['inspect --json s3://bucket/vm-1/tue.rbdiff.zst', 'to be read by a program'],
    ['export-diff --from-snap mon vm-1@tue - | rbdelta inspect -', 'without storing it'],
  ],
  notes: 'Reads all of it: what is damaged is named (status 74) after what could be read. zstd is recognised.',
  async run(call) {
    const path = pathFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const openSource = sourceAt(call, path);
    const progress = call.progress('Reading');
    const total = await lengthOf(path);
    const report = await closing(new ByteReader(await openSource()), (reader) =>
      inspectStream(reader, { signal: call.signal, onProgress: (bytes) => progress.update(bytes, total) }),
    );
    progress.clear();
    await print(call, format, 'stream', reportTree(report), () => reportText(report, call));
    if (report.failure !== null) {
      await call.stdout.flush();
      throw report.failure;
    }
  },
};

function reportText(report: StreamReport, call: Call): string {
  const unicode = /utf-?8/iu.test(call.env['LC_ALL'] || call.env['LC_CTYPE'] || call.env['LANG'] || '');
  const { image, diffs } = report;
  const parts = diffs.map((diff, i) => diffText(diff, diffs[i - 1], { columns: call.columns, unicode }));
  if (image !== null) {
    const objects = image.order === null ? '' : `, order ${image.order}`;
    parts.unshift(`image export: ${image.diffCount} versions${objects}, ${image.metadata.size} metadata\n`);
  } else if (diffs.length > 1) {
    parts.unshift(`chain of ${diffs.length} diffs, ${bytesText(report.streamBytes)}\n`);
  }
  return parts.join('\n');
}

function diffText(
  diff: DiffReport,
  before: DiffReport | undefined,
  options: { columns: number; unicode: boolean },
): string {
  const { header, writes, zeros, span } = diff;
  const name = (snap: string | null, none: string): string => (snap === null ? none : `'${printable(snap)}'`);
  const lines = [
    `rbd diff v${diff.version}: ${name(header.fromSnap, 'the beginning')} to ${name(header.toSnap, header.part === undefined ? 'the head' : 'what the last part names')}${header.protected ? ', protected' : ''}`,
    `  image size  ${header.size === null ? 'not said' : bytesOf(header.size)}`,
    ...(header.part === undefined ? [] : [`  part        from ${header.part.offset} to ${header.part.end}`]),
    `  stream      ${bytesOf(diff.endByte - diff.startByte)}${diff.whole ? '' : ', not whole'}`,
    `  data        ${recordsText(writes.records)}, ${bytesOf(writes.bytes)}${diff.zeroDataBytes > 0 ? `, of it zeros ${bytesOf(diff.zeroDataBytes)}` : ''}`,
    `  zeros       ${recordsText(zeros.records)}, ${bytesOf(zeros.bytes)}`,
  ];
  if (span !== null) lines.push(`  changes     from ${span.offset} to ${span.end}`);
  if (!diff.ascending) lines.push('  order       not ascending, as old exporters wrote striped images');
  if (before !== undefined && before.header.toSnap !== header.fromSnap) {
    lines.push(`  chain       breaks here: the diff before ends at ${name(before.header.toSnap, 'the head')}`);
  }
  return `${lines.join('\n')}\n${histogram(diff)}${span === null || diff.map === null ? '' : picture(diff.map, options)}`;
}

const recordsText = (records: number): string => (records === 1 ? '1 record' : `${records} records`);

/** Both ways to say it: for people and for sums. */
const bytesOf = (bytes: number): string => (bytes < 1024 ? bytesText(bytes) : `${bytesText(bytes)} (${bytes})`);

function histogram({ lengths }: DiffReport): string {
  if (lengths.length === 0) return '';
  const columns = [
    { title: '  record up to', align: 'right' },
    { title: 'records', align: 'right' },
    { title: 'bytes', align: 'right' },
  ] as const;
  const rows = lengths.map(({ upTo, records, bytes }) => [bytesText(upTo), String(records), bytesText(bytes)]);
  return table(columns, rows);
}

const reportTree = (report: StreamReport): Tree =>
  object(
    ['diffs', list('diff', report.diffs.map(diffTree))],
    ['stream_bytes', report.streamBytes],
    optional(
      'image',
      report.image === null
        ? null
        : object(optional('order', report.image.order), ['versions', report.image.diffCount]),
    ),
    optional('failure', report.failure?.message ?? null),
  );

const diffTree = (diff: DiffReport): Tree =>
  object(
    ['version', diff.version],
    optional('from_snap', diff.header.fromSnap),
    optional('to_snap', diff.header.toSnap),
    optional('size', diff.header.size),
    optional('part_offset', diff.header.part?.offset ?? null),
    optional('part_end', diff.header.part?.end ?? null),
    optional('protected', diff.header.protected),
    ['whole', diff.whole],
    ['stream_bytes', diff.endByte - diff.startByte],
    ['write_records', diff.writes.records],
    ['write_bytes', diff.writes.bytes],
    ['zero_records', diff.zeros.records],
    ['zero_bytes', diff.zeros.bytes],
    ['zero_data_bytes', diff.zeroDataBytes],
    optional('first_offset', diff.span?.offset ?? null),
    optional('last_end', diff.span?.end ?? null),
    ['ascending', diff.ascending],
    [
      'lengths',
      list(
        'length',
        diff.lengths.map(({ upTo, records, bytes }) => object(['up_to', upTo], ['records', records], ['bytes', bytes])),
      ),
    ],
  );
