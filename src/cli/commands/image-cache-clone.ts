// rbdelta image-cache clone: a volume of a source, cloned from the base that the cache has of it.

import { realpath } from 'node:fs/promises';
import { RbdeltaError } from '../../error.ts';
import {
  type CacheCloneOptions,
  cloneFromCache,
  type CacheSource,
  planCacheClone,
} from '../../ops/image-cache-clone.ts';
import { versionOf } from '../../ops/path.ts';
import { usage } from '../args.ts';
import { withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { limitOptions, limitsFrom, spaceFrom } from '../image-cache.ts';
import { imageFrom, inPool, pathFrom } from '../names.ts';
import { cluster, creation } from '../options.ts';
import { bytesText, list, object, optional, toJson } from '../print.ts';
import { s3From, s3Options } from '../s3.ts';
import { lengthOf, sourceAt } from '../streams.ts';
import { imageSizeFrom, millisecondsFrom } from '../values.ts';

const defaultWaitMs = 600_000;

export const command: Command = {
  positionals: ['<path>', '<image>'],
  options: [
    'path',
    'dest-pool',
    'dest-namespace',
    'dest',
    'cache',
    'key',
    ...limitOptions,
    'wait',
    'size',
    ...creation,
    'max-rate',
    'dry-run',
    'json',
    'no-progress',
    ...s3Options,
    ...cluster,
  ],
  describe: {
    size: 'of the volume, as 20G [as the source]',
    wait: 'wait for another process that fills the base [600]',
    'dry-run': 'say what would be done, change nothing',
  },
  examples: [
    ['image-cache clone --size 20G debian-12.raw volumes/vm-1', 'the second one is there at once'],
    ['image-cache clone --max-count 20 --max-size 500G s3://images/debian-12.raw.zst volumes/vm-2', 'within limits'],
    [
      'image-cache clone --cache images --key debian-12-20261128 debian.raw volumes/vm-3',
      'bases in a pool of their own',
    ],
  ],
  notes:
    'The source is raw bytes, as for import. What was made of it once is kept as an image with a protected snapshot, the ' +
    'base, of which volumes are clones. It is found by the path and its time of change (in S3: the ETag), or by --key: what ' +
    'has the same key is the same. Before a new base is made, the least recently used ones go until the limits hold; one ' +
    'with clones never does. Where that is not enough, the volume gets data of its own, and there is no base. The volume is ' +
    'there under its name when it is whole. Its namespace is that of the cache.',
  async run(call) {
    const path = pathFrom(call.args, call.positionals);
    const named = imageFrom(call.args, call.positionals, { dest: true, snap: 'none', rules: 'new' });
    const space = call.args.value('cache', spaceFrom);
    const size = call.args.value('size', imageSizeFrom);
    const create = creationFrom(call);
    const limits = limitsFrom(call.args);
    const waitMs = call.args.value('wait', millisecondsFrom) ?? defaultWaitMs;
    const source = await sourceOf(call, path);
    const progress = call.progress('Importing image');
    const options: CacheCloneOptions = {
      ...limits,
      ...(space && { space }),
      ...(size !== null && { size }),
      create,
      waitMs,
      signal: call.signal,
      onNotice: call.notice,
      onProgress: (bytes) => progress.update(bytes, source.size),
    };
    await withCluster(call, async (cluster, pool) => {
      const target = inPool(named, pool);
      const isDry = call.args.has('dry-run');
      const done = isDry
        ? { ...(await planCacheClone(cluster, source, target, options)), size: size ?? source.size }
        : await cloneFromCache(cluster, source, target, options);
      const { outcome, base, evicted } = done;
      if (call.args.has('json')) {
        const tree = object(
          ['image', named.image],
          ['outcome', outcome],
          optional('base', base),
          optional('size', done.size),
          ['evicted', list('image', evicted)],
        );
        await call.stdout.write(toJson(tree, false));
      } else if (isDry) {
        const gone = evicted.map((image) => `${image} would be removed\n`).join('');
        await call.stdout.write(`${gone}${named.image} would be ${words[outcome]}${base === null ? '' : ` ${base}`}\n`);
      }
      if (!isDry)
        progress.finish(`${named.image}: ${bytesText(done.size ?? 0)}, ${words[outcome]} ${base ?? ''}`.trim());
    });
  },
};

const words = {
  hit: 'a clone of',
  filled: 'a clone of the new base',
  uncached: 'an image of its own',
} as const;

async function sourceOf(call: Call, path: string): Promise<CacheSource> {
  if (path === '-') {
    // what is cut off by a failure of its producer would be what every later volume is made of
    throw new RbdeltaError('invalid', 'standard input cannot be cached: nobody knows whether all of it came', {
      hint: 'write it to a file first',
    });
  }
  const key = call.args.text('key');
  const pathOptions = { signal: call.signal, s3: s3From(call) };
  const version = await versionOf(path, pathOptions);
  if (version === null && key === null) {
    throw usage(
      `nothing tells '${path}' from what it was before`,
      'name it with --key: what has the same key is the same',
    );
  }
  const place = path.startsWith('s3://') ? path : await realpath(path);
  return {
    identity: key === null ? `${place}\n${version ?? ''}` : `key ${key}`,
    label: key ?? place,
    size: await lengthOf(path, { raw: true }),
    open: sourceAt(call, path, { raw: true }),
    async check() {
      if ((await versionOf(path, pathOptions)) === version) return;
      throw new RbdeltaError('io', `"${path}" was changed while it was read`, { hint: 'try again when it is whole' });
    },
  };
}
