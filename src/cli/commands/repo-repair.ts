// rbdelta repo repair: what was interrupted is finished or removed, catalogs are made anew.

import { exitStatus } from '../../error.ts';
import { type Repair, repairRepository } from '../../ops/repo-repair.ts';
import { textOf } from '../../repo/keys.ts';
import type { Command } from '../command.ts';
import { list, object, optional, toJson } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { millisecondsFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<repository>', '[image]'],
  options: ['dry-run', 'force', 'wait', 'json', ...storeOptions],
  describe: {
    'dry-run': 'say what would be done',
    force: 'remove also what an interrupted backup has left, and points that nothing tells what they are',
  },
  examples: [
    ['repo repair --dry-run /backups', 'what there is to do'],
    ['repo repair /backups', 'do it'],
  ],
  notes:
    'Nothing is removed that a manifest or a catalog names. A point that cannot be restored is named, with the command ' +
    'that removes it. An image that somebody else writes to is left as it is. The status is 74 if a point cannot be ' +
    'restored, 16 if an image was locked, else 0.',
  async run(call) {
    const where = repositoryFrom(call);
    const name = call.positionals.take();
    const waitMs = call.args.value('wait', millisecondsFrom);
    const repairs = await withRepository(call, where, (repository) =>
      repairRepository(repository, {
        name,
        force: call.args.has('force'),
        dryRun: call.args.has('dry-run'),
        ...(waitMs !== null && { waitMs }),
        signal: call.signal,
      }),
    );
    const hintOf = ({ hint }: Repair): string | null => hint?.replace(' REPO ', ` ${where} `) ?? null;
    if (call.args.has('json')) {
      const tree = list(
        'repair',
        repairs.map((one) =>
          object(
            ['state', one.state],
            optional('image', one.image && textOf(one.image)),
            ['text', one.text],
            optional('hint', hintOf(one)),
          ),
        ),
      );
      await call.stdout.write(toJson(tree, false));
    } else {
      const done = call.args.has('dry-run') ? 'would be: ' : '';
      for (const one of repairs) {
        const hint = hintOf(one);
        const text = one.state === 'done' ? `${done}${one.text}` : one.text;
        await call.stdout.write(`${text}\n${hint === null ? '' : `  hint: ${hint}\n`}`);
      }
    }
    if (repairs.some(({ state }) => state === 'lost')) return exitStatus.corrupt;
    return repairs.some(({ state }) => state === 'busy') ? exitStatus.busy : 0;
  },
};
