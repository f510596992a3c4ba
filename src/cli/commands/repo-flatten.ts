// rbdelta repo flatten: a point becomes a full.

import { flatten } from '../../ops/forget.ts';
import { chainIds, findPoint } from '../../repo/find-point.ts';
import type { Command } from '../command.ts';
import { rebasedTree } from '../forgotten.ts';
import { bytesText, object, toJson } from '../print.ts';
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
      const chain = chainIds(points, entry.id);
      const json = call.args.has('json');
      if (call.args.has('dry-run')) {
        const text = entry.base === null ? 'is a full' : `becomes a full, of ${chain.length} points`;
        await call.stdout.write(
          json ? toJson(object(['point', entry.id], ['points', chain.length]), false) : `${entry.id} ${text}\n`,
        );
        return;
      }
      const progress = call.progress(`Flattening ${entry.id}`);
      const done = await flatten(repository, image, entry.id, {
        ...forgetOptions(call),
        onProgress: (reached, size) => progress.update(reached, size),
      });
      progress.finish(
        done === null
          ? `${entry.id} is a full already`
          : `${entry.id} is a full: ${bytesText(done.storedBytes)}, ${done.copiedFrames} frames as they were`,
      );
      if (json) await call.stdout.write(toJson(done === null ? object(['point', entry.id]) : rebasedTree(done), false));
    });
  },
};
