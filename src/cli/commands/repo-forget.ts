// rbdelta repo forget: points go by name.

import { printable } from '../../bytes/text.ts';
import { forget, planToForget } from '../../ops/forget.ts';
import { findPoint } from '../../repo/find-point.ts';
import { type ImageName, textOf } from '../../repo/keys.ts';
import { usage } from '../args.ts';
import type { Command } from '../command.ts';
import { forgotten, planText } from '../forgotten.ts';
import { list, toJson, type Tree } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { forgetOptions, tell } from './repo-prune.ts';

export const command: Command = {
  positionals: ['<repository>', '<point...>'],
  options: ['wait', 'dry-run', 'json', 'no-progress', ...storeOptions],
  describe: { 'dry-run': 'say what would go and what would be rewritten; change nothing' },
  examples: [
    ['repo forget /backups volumes/vm-1@2026-11-20', 'any point: those that build on it get another base'],
    ['repo forget /backups 20261120T020000Z-3fa90c --dry-run', 'by its id'],
  ],
  async run(call) {
    const where = repositoryFrom(call);
    const words = call.positionals.rest();
    if (words.length === 0) throw usage('point was not specified', 'rbdelta repo list shows the points');
    const results: Tree[] = [];
    await withRepository(call, where, async (repository) => {
      const wanted = new Map<string, { image: ImageName; ids: Set<string> }>();
      for (const word of words) {
        const { image, entry } = await findPoint(repository, word, { nowMs: Date.now() });
        const of = wanted.get(textOf(image)) ?? { image, ids: new Set() };
        of.ids.add(entry.id);
        wanted.set(textOf(image), of);
      }
      for (const [name, { image, ids }] of wanted) {
        if (call.args.has('dry-run')) {
          const plan = await planToForget(repository, image, ids);
          if (call.args.has('json')) results.push(list('point', [...ids]));
          else await call.stdout.write(`${printable(name)}\n${planText(plan)}`);
          continue;
        }
        const progress = call.progress(`Rewriting ${printable(name)}`);
        const done = await forget(repository, image, ids, {
          ...forgetOptions(call),
          onProgress: (reached, size) => progress.update(reached, size),
        });
        progress.clear();
        tell(call, name, done);
        results.push(forgotten(name, done));
      }
    });
    if (call.args.has('json')) await call.stdout.write(toJson(list('image', results), false));
  },
};
