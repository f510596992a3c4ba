// rbdelta export: a whole image, as raw bytes or with its snapshots.

import { type ExportOptions, exportImage, exportRaw, exportRawToFile } from '../../ops/export.ts';
import { usage } from '../args.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { type ImageOrFile, inPool, pathFrom } from '../names.ts';
import { cluster, snapNames } from '../options.ts';
import { bytesText } from '../print.ts';
import { s3Options } from '../s3.ts';
import { nameOf, sourceFrom, withSource } from '../source-image.ts';
import { queueDepth, sinkAt } from '../streams.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<image[@snap]>', '<path>'],
  options: [
    ...snapNames,
    'path',
    'export-format',
    'compress',
    'max-rate',
    'queue-depth',
    'no-progress',
    ...s3Options,
    ...cluster,
  ],
  examples: [
    ['export volumes/vm-1@mon vm-1.raw', 'raw bytes, sparse'],
    ['export --export-format 2 --compress zstd volumes/vm-1 vm-1.rbd.zst', 'all snapshots as well'],
    ['export volumes/vm-1@mon - | ssh dr rbdelta import - backups/vm-1', 'to another machine'],
  ],
  async run(call) {
    const source = sourceFrom(call);
    const path = pathFrom(call.args, call.positionals);
    const format = call.args.value('export-format', oneOf('1', '2')) ?? '1';
    await (format === '2' ? exportWithSnapshots(call, source, path) : exportBytes(call, source, path));
  },
};

/** Raw bytes of one version. A plain file of its own is written sparse. */
async function exportBytes(call: Call, source: ImageOrFile, path: string): Promise<void> {
  const isPlainFile =
    path !== '-' && !path.startsWith('s3://') && !call.args.has('compress') && !call.args.has('max-rate');
  const openSink = sinkAt(call, path);
  const show = shown(call, source);
  await withSource(call, source, async (image) => {
    if (isPlainFile) return show((options) => exportRawToFile(image, path, options));
    const sink = await openSink((await image.info()).size);
    return show((options) => exportRaw(image, sink, options));
  });
}

/** `rbd export --export-format 2`: whatever snapshot is named, all of them and the head. */
async function exportWithSnapshots(call: Call, source: ImageOrFile, path: string): Promise<void> {
  if ('file' in source) throw usage('--export-format 2 is about snapshots: a file has none');
  const openSink = sinkAt(call, path);
  const show = shown(call, source);
  await withCluster(call, async (cluster, pool) => {
    const spec = inPool(source.named, pool);
    const openAt = (snap: string | null) => cluster.open({ ...spec, snap });
    // All of them are exported whichever is named, but one that is not there is a mistake.
    if (spec.snap !== null) await (await openAt(spec.snap)).close();
    const metadata = await cluster.metadata({ ...spec, snap: null });
    const versions = await closing(await openAt(null), async (head) => {
      const { size, snapshots } = await head.info();
      return [size, ...snapshots.map((snapshot) => snapshot.size)];
    });
    const sink = await openSink(versions.reduce((sum, size) => sum + mostBytes(size), 0));
    await show((options) => exportImage(openAt, metadata, sink, options));
  });
}

/** The most that one version may take: its data, the heads of its records, properties and metadata. */
const mostBytes = (size: number): number => Math.ceil(size * 1.01) + (1 << 20);

/** Reads the options now, and shows how far the work is when it is called. */
function shown(call: Call, source: ImageOrFile): (work: (options: ExportOptions) => Promise<unknown>) => Promise<void> {
  const depth = queueDepth(call);
  return async (work) => {
    const progress = call.progress('Exporting image');
    let bytes = 0;
    await work({
      ...depth,
      signal: call.signal,
      onNotice: call.notice,
      onProgress: (done, total) => {
        bytes = total;
        progress.update(done, total);
      },
    });
    progress.finish(`exported ${nameOf(source)}: ${bytesText(bytes)}`);
  };
}
