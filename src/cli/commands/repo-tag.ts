// rbdelta repo tag: words to find or keep a point by.

import { usage } from '../args.ts';
import type { Command } from '../command.ts';
import { markingOptions, runMarking } from '../marking.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>'],
  options: ['tag', 'remove', ...markingOptions],
  examples: [
    ['repo tag --tag audit-2026 /backups vm-1@latest', 'another tag'],
    ['repo tag --remove --tag audit-2026 /backups vm-1@latest', 'take it away'],
  ],
  async run(call) {
    const tags = call.args.texts('tag');
    if (tags.length === 0) throw usage('no tag was specified', '--tag TAG, as often as you like');
    await runMarking(call, 'tag', call.args.has('remove') ? { removeTags: tags } : { addTags: tags });
  },
};
