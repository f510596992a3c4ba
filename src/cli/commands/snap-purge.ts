// rbdelta snap purge: deletes all snapshots that are not protected.

import { printable } from '../../bytes/text.ts';
import { withWritableImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrIdFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'image-id', 'no-progress', ...cluster],
  examples: [['snap purge volumes/vm-1', 'delete its snapshots, so that it can be removed']],
  async run(call) {
    const named = imageOrIdFrom(call.args, call.positionals, { snap: 'none' });
    await withWritableImage(call, named, async (image) => {
      const snapshots = (await image.info()).snapshots.filter((snapshot) => snapshot.namespace === 'user');
      const kept = snapshots.filter((snapshot) => snapshot.protection !== 'unprotected');
      const removed = snapshots.filter((snapshot) => snapshot.protection === 'unprotected');
      for (const snapshot of removed) {
        if (call.signal.aborted) throw call.signal.reason;
        await image.removeSnapshot(snapshot.name);
      }
      if (kept.length === 0) return;
      // No failure: so it is with rbd.
      const names = kept.map((snapshot) => `'${printable(snapshot.name)}'`).join(', ');
      call.notice(`protected snapshots were kept: ${names} (rbdelta snap unprotect lets them be removed)`);
    });
  },
};
