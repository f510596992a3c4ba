// The commands of repositories, as commands.ts has the others.

import type { CommandEntry } from './command.ts';

export const repositoryCommands: readonly CommandEntry[] = [
  {
    names: ['repo verify'],
    summary: 'Prove that points can be restored.',
    load: () => import('./commands/repo-verify.ts'),
  },
  {
    names: ['repo init'],
    summary: 'Make a repository.',
    load: () => import('./commands/repo-init.ts'),
  },
  {
    names: ['repo list', 'repo ls'],
    summary: 'List the points of a repository.',
    load: () => import('./commands/repo-list.ts'),
  },
  {
    names: ['repo show'],
    summary: 'Show what a point is, and what it builds on.',
    load: () => import('./commands/repo-show.ts'),
  },
  {
    names: ['repo cat'],
    summary: 'Write the diff stream of a point, or between two points.',
    load: () => import('./commands/repo-cat.ts'),
  },
  {
    names: ['repo check'],
    summary: 'Check what the metadata of a repository tells.',
    load: () => import('./commands/repo-check.ts'),
  },
  {
    names: ['repo repair'],
    summary: 'Finish or remove what was interrupted, make catalogs anew.',
    load: () => import('./commands/repo-repair.ts'),
  },
  {
    names: ['repo forget'],
    summary: 'Remove points by name.',
    load: () => import('./commands/repo-forget.ts'),
  },
  {
    names: ['repo prune'],
    summary: 'Remove points by age and number.',
    load: () => import('./commands/repo-prune.ts'),
  },
  {
    names: ['repo flatten'],
    summary: 'Make a full of a point.',
    load: () => import('./commands/repo-flatten.ts'),
  },
  {
    names: ['repo copy'],
    summary: 'Copy points to another repository.',
    load: () => import('./commands/repo-copy.ts'),
  },
  {
    names: ['repo unlock'],
    summary: 'Show locks, and remove those whose owners are gone.',
    load: () => import('./commands/repo-unlock.ts'),
  },
  {
    names: ['repo stats'],
    summary: 'Show what the points of each image take.',
    load: () => import('./commands/repo-stats.ts'),
  },
  {
    names: ['repo pin'],
    summary: 'Keep a point, whatever is pruned.',
    load: () => import('./commands/repo-pin.ts'),
  },
  {
    names: ['repo unpin'],
    summary: 'Let a pinned point go again.',
    load: () => import('./commands/repo-pin.ts').then(({ unpin }) => ({ command: unpin })),
  },
  {
    names: ['repo tag'],
    summary: 'Give a point tags, or take them away.',
    load: () => import('./commands/repo-tag.ts'),
  },
];
