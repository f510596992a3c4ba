// The commands: what they are called and where they are. A command's code is loaded when it is called.

import type { CommandEntry } from './command.ts';
import { repositoryCommands } from './repository-commands.ts';

export const commands: readonly CommandEntry[] = [
  {
    names: ['backup'],
    summary: 'Back up images to a repository.',
    load: () => import('./commands/backup.ts'),
  },
  {
    names: ['restore'],
    summary: 'Restore a point of a repository to an image, a file or a stream.',
    load: () => import('./commands/restore.ts'),
  },
  {
    names: ['export-diff'],
    summary: 'Export incremental diff to file.',
    load: () => import('./commands/export-diff.ts'),
  },
  {
    names: ['import-diff'],
    summary: 'Import an incremental diff.',
    load: () => import('./commands/import-diff.ts'),
  },
  {
    names: ['merge-diff'],
    summary: 'Merge two or more diff exports together.',
    load: () => import('./commands/merge-diff.ts'),
  },
  {
    names: ['diff'],
    summary: 'Print extents that differ since a previous snap, or image creation.',
    load: () => import('./commands/diff.ts'),
  },
  {
    names: ['export'],
    summary: 'Export image to file.',
    load: () => import('./commands/export.ts'),
  },
  {
    names: ['import'],
    summary: 'Import image from file.',
    load: () => import('./commands/import.ts'),
  },
  {
    names: ['inspect'],
    summary: 'Show what is in a diff stream, and where the changes are.',
    load: () => import('./commands/inspect.ts'),
  },
  {
    names: ['doctor'],
    summary: 'Say what works here, and how to get what is missing.',
    load: () => import('./commands/doctor.ts'),
  },
  {
    names: ['create'],
    summary: 'Create an empty image.',
    load: () => import('./commands/create.ts'),
  },
  {
    names: ['info'],
    summary: 'Show information about image size, striping, etc.',
    load: () => import('./commands/info.ts'),
  },
  {
    names: ['ls', 'list'],
    summary: 'List rbd images.',
    load: () => import('./commands/list.ts'),
  },
  {
    names: ['rm', 'remove'],
    summary: 'Delete an image.',
    load: () => import('./commands/remove.ts'),
  },
  {
    names: ['resize'],
    summary: 'Resize (expand or shrink) image.',
    load: () => import('./commands/resize.ts'),
  },
  {
    names: ['rename', 'mv'],
    summary: 'Rename image within pool.',
    load: () => import('./commands/rename.ts'),
  },
  {
    names: ['cp', 'copy'],
    summary: 'Copy src image to dest.',
    load: () => import('./commands/copy.ts'),
  },
  {
    names: ['deep cp', 'deep copy'],
    summary: 'Deep copy src image to dest.',
    load: () => import('./commands/deep-copy.ts'),
  },
  {
    names: ['clone'],
    summary: 'Clone a snapshot into a CoW child image.',
    load: () => import('./commands/clone.ts'),
  },
  {
    names: ['image-cache clone'],
    summary: 'Make a volume of a source as a clone of its cached base.',
    load: () => import('./commands/image-cache-clone.ts'),
  },
  {
    names: ['image-cache ls', 'image-cache list'],
    summary: 'List the bases that volumes are cloned from.',
    load: () => import('./commands/image-cache-list.ts'),
  },
  {
    names: ['image-cache purge'],
    summary: 'Remove bases without clones.',
    load: () => import('./commands/image-cache-purge.ts'),
  },
  {
    names: ['children'],
    summary: 'Display children of an image or its snapshot.',
    load: () => import('./commands/children.ts'),
  },
  {
    names: ['flatten'],
    summary: 'Fill clone with parent data (make it independent).',
    load: () => import('./commands/flatten.ts'),
  },
  {
    names: ['du', 'disk-usage'],
    summary: 'Show disk usage stats for pool, image or snapshot.',
    load: () => import('./commands/disk-usage.ts'),
  },
  {
    names: ['status'],
    summary: 'Show the status of this image.',
    load: () => import('./commands/status.ts'),
  },
  {
    names: ['lock ls', 'lock list'],
    summary: 'Show locks held on an image.',
    load: () => import('./commands/lock-list.ts'),
  },
  {
    names: ['lock add'],
    summary: 'Take a lock on an image.',
    load: () => import('./commands/lock-add.ts'),
  },
  {
    names: ['lock rm', 'lock remove'],
    summary: 'Release a lock on an image.',
    load: () => import('./commands/lock-remove.ts'),
  },
  {
    names: ['image-meta list', 'image-meta ls'],
    summary: 'Image metadata list keys with values.',
    load: () => import('./commands/image-meta-list.ts'),
  },
  {
    names: ['image-meta get'],
    summary: 'Image metadata get the value associated with the key.',
    load: () => import('./commands/image-meta-get.ts'),
  },
  {
    names: ['image-meta set'],
    summary: 'Image metadata set key with value.',
    load: () => import('./commands/image-meta-set.ts'),
  },
  {
    names: ['image-meta rm', 'image-meta remove'],
    summary: 'Image metadata remove the key and value associated.',
    load: () => import('./commands/image-meta-remove.ts'),
  },
  {
    names: ['snap create', 'snap add'],
    summary: 'Create a snapshot.',
    load: () => import('./commands/snap-create.ts'),
  },
  {
    names: ['snap ls', 'snap list'],
    summary: 'Dump list of image snapshots.',
    load: () => import('./commands/snap-list.ts'),
  },
  {
    names: ['snap rm', 'snap remove'],
    summary: 'Delete a snapshot.',
    load: () => import('./commands/snap-remove.ts'),
  },
  {
    names: ['snap purge'],
    summary: 'Delete all unprotected snapshots.',
    load: () => import('./commands/snap-purge.ts'),
  },
  {
    names: ['snap rollback', 'snap revert'],
    summary: 'Rollback image to snapshot.',
    load: () => import('./commands/snap-rollback.ts'),
  },
  {
    names: ['snap protect'],
    summary: 'Prevent a snapshot from being deleted.',
    load: () => import('./commands/snap-protect.ts'),
  },
  {
    names: ['snap unprotect'],
    summary: 'Allow a snapshot to be deleted.',
    load: () => import('./commands/snap-unprotect.ts'),
  },
  {
    names: ['snap rename'],
    summary: 'Rename a snapshot.',
    load: () => import('./commands/snap-rename.ts'),
  },
  {
    names: ['snap limit set'],
    summary: 'Limit the number of snapshots.',
    load: () => import('./commands/snap-limit-set.ts'),
  },
  {
    names: ['snap limit clear'],
    summary: 'Remove snapshot limit.',
    load: () => import('./commands/snap-limit-clear.ts'),
  },
  {
    names: ['object-map check'],
    summary: 'Verify the object map is correct.',
    load: () => import('./commands/object-map-check.ts'),
  },
  {
    names: ['object-map rebuild'],
    summary: 'Rebuild an invalid object map.',
    load: () => import('./commands/object-map-rebuild.ts'),
  },
  {
    names: ['trash mv', 'trash move'],
    summary: 'Move an image to the trash.',
    load: () => import('./commands/trash-move.ts'),
  },
  {
    names: ['trash ls', 'trash list'],
    summary: 'List trash images.',
    load: () => import('./commands/trash-list.ts'),
  },
  {
    names: ['trash restore'],
    summary: 'Restore an image from trash.',
    load: () => import('./commands/trash-restore.ts'),
  },
  {
    names: ['trash rm', 'trash remove'],
    summary: 'Remove an image from trash.',
    load: () => import('./commands/trash-remove.ts'),
  },
  {
    names: ['trash purge'],
    summary: 'Remove all expired images from trash.',
    load: () => import('./commands/trash-purge.ts'),
  },
  {
    names: ['namespace create'],
    summary: 'Create an RBD image namespace.',
    load: () => import('./commands/namespace-create.ts'),
  },
  {
    names: ['namespace ls', 'namespace list'],
    summary: 'List RBD image namespaces.',
    load: () => import('./commands/namespace-list.ts'),
  },
  {
    names: ['namespace rm', 'namespace remove'],
    summary: 'Remove an RBD image namespace.',
    load: () => import('./commands/namespace-remove.ts'),
  },
  {
    names: ['objects'],
    summary: 'List the RADOS objects of a pool.',
    load: () => import('./commands/objects.ts'),
  },
  {
    names: ['omap'],
    summary: 'Show keys and values of a RADOS object, decoded and in hex.',
    load: () => import('./commands/omap.ts'),
  },
  {
    names: ['pool create'],
    summary: 'Create a pool (local pools only).',
    load: () => import('./commands/pool-create.ts'),
  },
  {
    names: ['pool ls', 'pool list'],
    summary: 'List pools.',
    load: () => import('./commands/pool-list.ts'),
  },
  {
    names: ['pool check'],
    summary: 'Check, and repair, pools (local pools only).',
    load: () => import('./commands/pool-check.ts'),
  },
  {
    names: ['pool rm', 'pool remove'],
    summary: 'Delete a pool (local pools only).',
    load: () => import('./commands/pool-remove.ts'),
  },
  {
    names: ['pool set-quota'],
    summary: 'Limit what a pool may hold (local pools only).',
    load: () => import('./commands/pool-set-quota.ts'),
  },
  {
    names: ['pool get-quota'],
    summary: 'Show the quota of a pool (local pools only).',
    load: () => import('./commands/pool-get-quota.ts'),
  },
  ...repositoryCommands,
  {
    names: ['completion'],
    summary: 'Print a completion script for bash, zsh or fish.',
    load: () => import('./commands/completion.ts'),
  },
];

/** The command that the first words name, and how many words that takes; null if there is none. */
export function commandOf(words: readonly string[]): { entry: CommandEntry; words: number } | null {
  for (const count of [3, 2, 1]) {
    const name = words.slice(0, count).join(' ');
    const entry = words.length < count ? undefined : commands.find((one) => one.names.includes(name));
    if (entry !== undefined) return { entry, words: count };
  }
  return null;
}
