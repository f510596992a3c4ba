// What the commands that mark a point (pin, unpin, tag) have in common.

import { printable } from '../bytes/text.ts';
import { version } from './version.ts';
import { type Marks, markPoint } from '../ops/repo-mark.ts';
import { findPoint } from '../repo/find-point.ts';
import { textOf } from '../repo/keys.ts';
import type { Call } from './command.ts';
import { nameText } from './output.ts';
import { list, object, toJson } from './print.ts';
import { pointFrom, repositoryFrom, storeOptions, withRepository } from './repository.ts';
import { millisecondsFrom } from './values.ts';

export const markingOptions = ['wait', 'dry-run', 'json', ...storeOptions] as const;

export async function runMarking(call: Call, operation: string, marks: Marks): Promise<void> {
  const where = repositoryFrom(call);
  const point = pointFrom(call);
  const waitMs = call.args.value('wait', millisecondsFrom);
  const dryRun = call.args.has('dry-run');
  await withRepository(call, where, async (repository) => {
    const { image, entry } = await findPoint(repository, point, {
      nowMs: Date.now(),
      onDamaged: (_, error) => call.notice(error.message),
    });
    const { changed, pinned, tags } = await markPoint(repository, image, entry.id, marks, {
      version,
      operation,
      dryRun,
      ...(waitMs !== null && { waitMs }),
      signal: call.signal,
      onNotice: call.notice,
    });
    const shown = nameText(call);
    const labelled = `${pinned ? 'pinned' : 'not pinned'}, with the tags: ${shown(tags.join(', ')) || 'none'}`;
    if (changed && !dryRun) call.notice(`${printable(textOf(image))}@${entry.id}: ${labelled}`);
    if (call.args.has('json')) {
      const tree = object(
        ['image', textOf(image)],
        ['point', entry.id],
        ['changed', changed],
        ['pinned', pinned],
        ['tags', list('tag', tags)],
      );
      await call.stdout.write(toJson(tree, false));
    } else if (dryRun) {
      const what = changed ? 'would be' : 'stays';
      await call.stdout.write(`${shown(textOf(image))}@${entry.id}: ${what} ${labelled}\n`);
    }
  });
}
