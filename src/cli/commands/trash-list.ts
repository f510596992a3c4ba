// rbdelta trash ls: the images in the trash of a pool, as rbd prints them.

import { RbdeltaError } from '../../error.ts';
import type { Cluster, TrashedImage } from '../../image/port.ts';
import { formatSpec, type ImageSpec } from '../../image/spec.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { list, object, optional, table, timeText } from '../print.ts';

const columns = ['ID', 'NAME', 'SOURCE', 'DELETED_AT', 'STATUS', 'PARENT'].map((title) => ({
  title,
  align: 'left' as const,
}));

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', 'all', 'long', ...output, ...cluster],
  describe: { all: 'not only what users moved there', long: 'since when, until when, parents' },
  examples: [['trash ls volumes', 'ids and names']],
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const shown = nameText(call);
    const [all, long] = [call.args.has('all'), call.args.has('long')];
    const images = await withCluster(call, async (cluster, defaultPool) => {
      const pool = named.pool ?? defaultPool;
      const found = (await cluster.trash(pool, named.namespace)).filter(({ source }) => all || source === 'user');
      return Promise.all(
        found.map(async (image) => {
          const spec = { pool, namespace: named.namespace, image: '', id: image.id, snap: null };
          return { ...image, parent: long ? await parentOf(cluster, spec) : null };
        }),
      );
    });
    const trees = images.map((image) =>
      object(
        ['id', image.id],
        ['name', image.name],
        optional('source', long ? image.source.toUpperCase() : null),
        optional('deleted_at', long ? timeText(image.deletedMs) : null),
        optional('status', long ? statusOf(image) : null),
        optional('parent', image.parent),
      ),
    );
    const rows = images.map((image) => [
      image.id,
      shown(image.name),
      image.source.toUpperCase(),
      timeText(image.deletedMs),
      statusOf(image),
      shown(image.parent ?? ''),
    ]);
    const plain = (): string => {
      if (!long) return images.map(({ id, name }) => `${id} ${shown(name)}\n`).join('');
      return images.length === 0 ? '' : table(columns, rows);
    };
    await print(call, format, 'trash', list('image', trees), plain);
  },
};

const statusOf = ({ protectedUntilMs }: TrashedImage): string =>
  `${protectedUntilMs > Date.now() ? 'protected until' : 'expired at'} ${timeText(protectedUntilMs)}`;

async function parentOf(cluster: Cluster, spec: ImageSpec): Promise<string | null> {
  try {
    const { parent } = await closing(await cluster.open(spec), (image) => image.info());
    return parent && formatSpec(parent);
  } catch (error) {
    // removed since it was listed
    if (error instanceof RbdeltaError && error.code === 'notFound') return null;
    throw error;
  }
}
