// rbdelta repo flatten: a point becomes a full.

import { flatten } from '../../ops/forget.ts';
import { chainIds, findPoint } from '../../repo/find-point.ts';
import { textOf } from '../../repo/keys.ts';
import type { Command } from '../command.ts';
import { rebasedTree, rebasingTree } from '../forgotten.ts';
import { bytesText, list, object, toJson, type Tree } from '../print.ts';
import { pointFrom, repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { forgetOptions } from './repo-prune.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>'],
  options: ['wait', 'dry-run', 'json', 'no-progress', ...storeOptions],
  describe: { 'dry-run': 'say what would be done; change nothing' },
  examples: [['repo flatten /backups volumes/vm-1@latest', 'so that it needs no other point']],
  notes:
    'The image is not read: the full is made of what the points hold, frames are taken as they are where nothing in them ' +
    'is superseded. Points that build on it go on doing so.',
  async run(call) {
    const where = repositoryFrom(call);
    const word = pointFrom(call);
    await withRepository(call, where, async (repository) => {
      const { image, entry, points } = await findPoint(repository, word, { nowMs: Date.now() });
      const json = call.args.has('json');
      const print = (name: string, trees: readonly Tree[]): Promise<void> =>
        call.stdout.write(toJson(object(['image', textOf(image)], [name, list('point', trees)]), false));
      if (call.args.has('dry-run')) {
        const ids = chainIds(points, entry.id);
        const absorbs = points.filter(({ id }) => id !== entry.id && ids.includes(id));
        const text = entry.base === null ? 'is a full' : `becomes a full, of ${ids.length} points`;
        if (!json) return call.stdout.write(`${entry.id} ${text}\n`);
        return print('rewrite', entry.base === null ? [] : [rebasingTree({ point: entry, base: null, absorbs })]);
      }
      const progress = call.progress(`Flattening ${entry.id}`);
      const done = await flatten(repository, image, entry.id, {
        ...forgetOptions(call),
        onProgress: (reached, size) => progress.update(reached, size),
      });
      progress.clear();
      call.notice(
        done === null
          ? `${entry.id} is a full already`
          : `${entry.id} is a full: ${bytesText(done.storedBytes)}, ${done.copiedFrames} frames as they were`,
      );
      if (json) await print('rewritten', done === null ? [] : [rebasedTree(done)]);
    });
  },
};
