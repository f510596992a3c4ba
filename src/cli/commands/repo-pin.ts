// rbdelta repo pin, repo unpin: a point that stays, whatever is pruned.

import type { Command } from '../command.ts';
import { markingOptions, runMarking } from '../marking.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>'],
  options: markingOptions,
  examples: [['repo pin /backups vm-1@2026-11-20', 'the state before the migration']],
  notes: 'repo prune and repo forget leave a pinned point alone.',
  run: (call) => runMarking(call, 'pin', { pinned: true }),
};

export const unpin: Command = {
  ...command,
  examples: [['repo unpin /backups vm-1@2026-11-20', 'a policy may take it again']],
  run: (call) => runMarking(call, 'unpin', { pinned: false }),
};
