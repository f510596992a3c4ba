// rbdelta repo forget: points go by name.

import { printable } from '../../bytes/text.ts';
import { forget, planToForget } from '../../ops/forget.ts';
import { findPoint } from '../../repo/find-point.ts';
import { type ImageName, textOf } from '../../repo/keys.ts';
import type { Repository } from '../../repo/repository.ts';
import type { Call, Command } from '../command.ts';
import { forgottenFields, planFields, planText } from '../forgotten.ts';
import { attempt, conclude, type Outcome } from '../per-image.ts';
import type { Field } from '../print.ts';
import { pointFrom, repositoryFrom, storeOptions, withRepository } from '../repository.ts';
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
    const words = [pointFrom(call), ...call.positionals.rest()];
    const outcomes: Outcome<readonly Field[]>[] = [];
    await withRepository(call, where, async (repository) => {
      const wanted = new Map<string, { image: ImageName; ids: Set<string> }>();
      for (const word of words) {
        const found = await attempt(call, word, () => findPoint(repository, word, { nowMs: Date.now() }));
        if (found.result === null) {
          outcomes.push({ ...found, result: null });
          continue;
        }
        const { image, entry } = found.result;
        const of = wanted.get(textOf(image)) ?? { image, ids: new Set() };
        of.ids.add(entry.id);
        wanted.set(textOf(image), of);
      }
      for (const [name, { image, ids }] of wanted) {
        const act = call.args.has('dry-run') ? planOne : forgetOne;
        outcomes.push(await attempt(call, name, () => act(call, repository, image, ids)));
      }
    });
    return conclude(call, outcomes, (fields) => fields);
  },
};

async function planOne(call: Call, repository: Repository, image: ImageName, ids: Set<string>): Promise<Field[]> {
  const plan = await planToForget(repository, image, ids);
  if (!call.args.has('json')) await call.stdout.write(`${printable(textOf(image))}\n${planText(plan)}`);
  return planFields(plan);
}

async function forgetOne(call: Call, repository: Repository, image: ImageName, ids: Set<string>): Promise<Field[]> {
  const name = textOf(image);
  const progress = call.progress(`Rewriting ${printable(name)}`);
  const done = await forget(repository, image, ids, {
    ...forgetOptions(call),
    onProgress: (reached, size) => progress.update(reached, size),
  });
  progress.clear();
  tell(call, name, done);
  return forgottenFields(done);
}
