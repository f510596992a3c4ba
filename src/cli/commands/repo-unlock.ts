// rbdelta repo unlock: who writes to the images, and the end of locks whose owners are gone.

import { type Unlocked, unlock } from '../../ops/repo-unlock.ts';
import { textOf } from '../../repo/keys.ts';
import { describeLock } from '../../repo/lock.ts';
import type { Command } from '../command.ts';
import { nameText } from '../output.ts';
import { list, object, optional, toJson, type Tree } from '../print.ts';
import { repositoryFrom, storeOptions, withRepository } from '../repository.ts';

export const command: Command = {
  positionals: ['<repository>', '[image]'],
  options: ['force', 'dry-run', 'json', ...storeOptions],
  describe: {
    force: 'remove live locks as well: whoever holds one fails before it commits anything',
    'dry-run': 'only show them',
  },
  examples: [
    ['repo unlock /backups', 'all images'],
    ['repo unlock --force /backups volumes/vm-1', 'the host is gone for good, and waiting five minutes is too long'],
  ],
  notes:
    'A lock is dead when its process on this host is gone, or when it was not renewed for its lease (five minutes). The ' +
    'next writer removes dead ones by itself.',
  async run(call) {
    const where = repositoryFrom(call);
    const name = call.positionals.take();
    const found = await withRepository(call, where, (repository) =>
      unlock(repository, { name, force: call.args.has('force'), dryRun: call.args.has('dry-run') }),
    );
    if (call.args.has('json')) return call.stdout.write(toJson(list('lock', found.map(tree)), false));
    const shown = nameText(call);
    for (const { image, lock, removed } of found) {
      const state = removed ? 'removed' : lock.isDead ? 'dead' : 'live, left';
      await call.stdout.write(`${shown(textOf(image))}: ${shown(describeLock(lock))}: ${state}\n`);
    }
  },
};

const tree = ({ image, lock: { file, ageMs, isDead }, removed }: Unlocked): Tree =>
  object(
    ['image', textOf(image)],
    optional('host', file?.owner.host ?? null),
    optional('pid', file?.owner.pid ?? null),
    optional('operation', file?.operation ?? null),
    optional('acquired', file?.acquired ?? null),
    ['age_seconds', Math.round(ageMs / 1000)],
    ['dead', isDead],
    ['removed', removed],
  );
