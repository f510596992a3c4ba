// rbdelta snap rm: deletes a snapshot.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { ImageInfo } from '../../image/port.ts';
import { withCluster, withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrIdFrom, inPool, labelOf } from '../names.ts';
import { cluster, snapNames } from '../options.ts';
import { wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image@snap>'],
  options: [...snapNames, 'image-id', 'snap-id', 'force', 'no-progress', ...cluster],
  describe: { force: 'even if it is protected; clones of it are flattened first' },
  examples: [
    ['snap rm volumes/vm-1@monday', 'delete the snapshot; the image stays as it is'],
    ['snap rm --force volumes/base@v1', 'give its clones their data, then delete it'],
  ],
  async run(call) {
    const { args } = call;
    const snapId = args.value('snap-id', wholeNumberFrom);
    const named = imageOrIdFrom(args, call.positionals, { snap: snapId === null ? 'must' : 'may' });
    if (snapId !== null) refuseBeside(args.has('force'), named.snap);
    const progress = call.progress('Removing snap');
    if (args.has('force')) {
      await withCluster(call, (cluster, pool) => cluster.forceRemoveSnapshot(inPool(named, pool), progress.steps));
    } else {
      await withWritableImage(call, named, async (image) => {
        const name = snapId === null ? (named.snap ?? '') : snapshotName(await image.info(), snapId);
        await image.removeSnapshot(name, progress.steps);
      });
    }
    progress.finish(`removed ${labelOf(named)}${snapId === null ? '' : `, its snapshot ${snapId}`}`);
  },
};

/** rbd refuses these as well. */
function refuseBeside(force: boolean, snap: string | null): void {
  if (snap !== null) throw new RbdeltaError('invalid', 'trying to access snapshot using both name and id');
  if (force) throw new RbdeltaError('invalid', '--force is not permitted when removing by --snap-id');
}

function snapshotName({ name, snapshots }: ImageInfo, id: number): string {
  const found = snapshots.find((snapshot) => snapshot.id === id);
  if (found === undefined) {
    throw new RbdeltaError('notFound', `image '${printable(name)}' has no snapshot with the id ${id}`, {
      hint: 'rbdelta snap ls --all shows the ids',
    });
  }
  if (found.namespace === 'user') return found.name;
  // A trashed one goes with its last clone, the others with the mirror or group that they are of.
  throw new RbdeltaError('busy', `the snapshot ${id} of image '${printable(name)}' is of the kind ${found.namespace}`, {
    hint: 'it is not the user’s to remove',
  });
}
