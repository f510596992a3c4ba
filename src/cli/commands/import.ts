// rbdelta import: a new image from raw bytes, or from `export --export-format 2`.

import { ByteReader } from '../../bytes/reader.ts';
import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { formatSpec, readSpec } from '../../image/spec.ts';
import { type ImportOptions, importImage, importRaw } from '../../ops/import.ts';
import { usage } from '../args.ts';
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
    'parent',
    'flatten',
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
    ['import --export-format 2 vm-1.rbd.zst volumes/vm-1', 'with its snapshots; what was a clone is one again'],
    ['import --parent volumes/base@v1 vm-1.raw volumes/vm-1', 'a clone, that holds what differs'],
  ],
  notes:
    'zstd is recognised; raw bytes (format 1) may look like it, and are decompressed only from a path that ends in ' +
    '.zst. The image has its name only when it is whole: a failure removes it, and what is left of an import that was ' +
    'killed is called rbdelta-copy-…, and may be removed. An export of a clone (format 2, by rbdelta) tells what its parent is: where ' +
    'that is here, under its name and with the same size and samples of its bytes, the image becomes a clone of it, and ' +
    'only blocks that differ are written. --parent names another one, --flatten makes an image of its own.',
  async run(call) {
    const { args, notice } = call;
    const path = pathFrom(args, call.positionals);
    if (args.has('pool')) notice('--pool is deprecated, use --dest-pool');
    if (args.has('image')) notice('--image is deprecated, use --dest');
    const named = destination(call, path);
    const format = args.value('export-format', oneOf('1', '2')) ?? '1';
    const create = creationFrom(call);
    const parent = parentFrom(call);
    const raw = format === '1';
    const openSource = sourceAt(call, path, { raw });
    const total = await lengthOf(path, { raw });
    const progress = call.progress('Importing image');
    const shared: ImportOptions = {
      create,
      ...sparseBytes(call),
      signal: call.signal,
      onNotice: call.notice,
      onProgress: (bytes) => progress.update(bytes, total),
    };
    const done = await withCluster(call, async (cluster, pool) => {
      const spec = inPool(named, pool);
      const options =
        parent === undefined ? shared : { ...shared, parent: parent && { ...parent, pool: parent.pool ?? pool } };
      const source = await openSource();
      if (format === '2')
        return closing(new ByteReader(source), (reader) => importImage(cluster, spec, reader, options));
      return closing(source, () => importRaw(cluster, spec, source, total, options));
    });
    const of = done.parent === null ? '' : `, a clone of ${printable(formatSpec(done.parent))}`;
    progress.finish(`imported ${named.image}: ${bytesText(done.size)}, ${bytesText(done.writtenBytes)} of data${of}`);
  },
};

/** `--parent`; null with `--flatten`, undefined where neither is said. */
function parentFrom({ args }: Call): NamedImage | null | undefined {
  const text = args.text('parent');
  if (text !== null && args.has('flatten')) throw usage('--parent and --flatten exclude each other');
  if (text === null) return args.has('flatten') ? null : undefined;
  const said = readSpec(text);
  if (said.snap === null) throw new RbdeltaError('invalid', `--parent takes a snapshot, as volumes/base@v1: '${text}'`);
  return { ...said, namespace: said.namespace ?? '' };
}

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
