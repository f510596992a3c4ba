// rbdelta import: a new image from raw bytes, or from `export --export-format 2`.

import { ByteReader } from '../../bytes/reader.ts';
import { readSpec } from '../../image/spec.ts';
import { type ImportOptions, importImage, importRaw } from '../../ops/import.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool, type NamedImage, pathFrom } from '../names.ts';
import { cluster, creation } from '../options.ts';
import { bytesText } from '../print.ts';
import { s3Options } from '../s3.ts';
import { lengthOf, sourceAt, sparseBytes } from '../streams.ts';
import { oneOf } from '../values.ts';

export const command: Command = {
  positionals: ['<path>', '[image]'],
  options: [
    'path',
    'dest-pool',
    'dest-namespace',
    'dest',
    'pool',
    'image',
    ...creation,
    'sparse-size',
    'export-format',
    'max-rate',
    'no-progress',
    ...s3Options,
    ...cluster,
  ],
  examples: [
    ['import vm-1.raw volumes/vm-1', 'from raw bytes'],
    ['import --dest-pool volumes vm-1', 'the image is called as the file is'],
    ['import --export-format 2 vm-1.rbd.zst volumes/vm-1', 'with its snapshots'],
  ],
  notes:
    'zstd is recognised; raw bytes (format 1) may look like it, and are decompressed only from a path that ends in ' +
    '.zst. A failure removes the new image.',
  async run(call) {
    const { args, notice } = call;
    const path = pathFrom(args, call.positionals);
    if (args.has('pool')) notice('--pool is deprecated, use --dest-pool');
    if (args.has('image')) notice('--image is deprecated, use --dest');
    const named = destination(call, path);
    const format = args.value('export-format', oneOf('1', '2')) ?? '1';
    const create = creationFrom(call);
    const raw = format === '1';
    const openSource = sourceAt(call, path, { raw });
    const total = await lengthOf(path, { raw });
    const progress = call.progress('Importing image');
    const options: ImportOptions = {
      create,
      ...sparseBytes(call),
      signal: call.signal,
      onNotice: call.notice,
      onProgress: (bytes) => progress.update(bytes, total),
    };
    const done = await withCluster(call, async (cluster, pool) => {
      const spec = inPool(named, pool);
      const source = await openSource();
      if (format === '2')
        return closing(new ByteReader(source), (reader) => importImage(cluster, spec, reader, options));
      return closing(source, () => importRaw(cluster, spec, source, total, options));
    });
    progress.finish(`imported ${named.image}: ${bytesText(done.size)}, ${bytesText(done.writtenBytes)} of data`);
  },
};

/** `--dest` or the second positional; else the deprecated `--image`, else the name of the file. */
function destination({ args, positionals }: Call, path: string): NamedImage {
  const given = args.has('dest') || positionals.peek() !== null;
  const name = given ? null : (args.text('image') ?? (path === '-' ? null : path.slice(path.lastIndexOf('/') + 1)));
  const said = name === null || name === '' ? null : readSpec(name, 'new');
  const otherwise: NamedImage = {
    pool: said?.pool ?? args.text('pool'),
    namespace: said?.namespace ?? '',
    image: said?.image ?? '',
    snap: said?.snap ?? null,
  };
  return imageFrom(args, positionals, { dest: true, snap: 'none', rules: 'new', otherwise });
}
