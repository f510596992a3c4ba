// rbdelta repo stats: what the points of each image take.

import { type ImageStats, repositoryStats, type Stats } from '../../ops/repo-stats.ts';
import { textOf } from '../../repo/keys.ts';
import type { Command } from '../command.ts';
import { nameText } from '../output.ts';
import { bytesText, type Field, list, object, optional, table, toJson, type Tree } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';

export const command: Command = {
  positionals: ['<repository>', '[image]'],
  options: ['json', ...storeOptions],
  examples: [['repo stats /backups', 'each image, and all of them']],
  notes:
    'SIZE is that of the image at its newest point, CHANGED the data that all points tell of, STORED all files; RATIO is ' +
    'how much smaller compression makes the data.',
  async run(call) {
    const where = repositoryFrom(call);
    const name = call.positionals.take();
    const { images, total } = await withRepository(call, where, (repository) =>
      repositoryStats(repository, { name, signal: call.signal }),
    );
    if (call.args.has('json')) {
      const all = object(['images', list('image', images.map(tree))], ['total', object(...fields(total))]);
      return call.stdout.write(toJson(all, false));
    }
    const shown = nameText(call);
    const rows = images.map((one) => row(shown(textOf(one.image)), one));
    await call.stdout.write(table(columns, [...rows, row('in all', total)]));
  },
};

const columns = ['IMAGE', 'POINTS', 'FULLS', 'SEGMENTS', 'SIZE', 'CHANGED', 'STORED', 'RATIO'].map((title, i) => ({
  title,
  align: i === 0 ? ('left' as const) : ('right' as const),
}));

const ratioOf = ({ dataBytes, segmentBytes }: Stats): number | null =>
  segmentBytes === 0 || dataBytes === 0 ? null : Math.round((dataBytes / segmentBytes) * 100) / 100;

const row = (name: string, stats: Stats): string[] => [
  name,
  String(stats.points),
  String(stats.fulls),
  String(stats.segments),
  bytesText(stats.logicalBytes),
  bytesText(stats.dataBytes),
  bytesText(stats.storedBytes),
  ratioOf(stats)?.toFixed(2) ?? '',
];

const fields = (stats: Stats): (Field | null)[] => [
  ['points', stats.points],
  ['fulls', stats.fulls],
  ['segments', stats.segments],
  ['size', stats.logicalBytes],
  ['data_bytes', stats.dataBytes],
  ['segment_bytes', stats.segmentBytes],
  ['stored_bytes', stats.storedBytes],
  optional('ratio', ratioOf(stats)),
];

const tree = (stats: ImageStats): Tree => object(['image', textOf(stats.image)], ...fields(stats));
