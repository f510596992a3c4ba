// rbdelta completion: the script that makes a shell complete rbdelta's commands and options.

import type { Command } from '../command.ts';

export const command: Command = {
  positionals: [],
  options: [],
  examples: [['completion > /etc/bash_completion.d/rbdelta', 'for everybody']],
  async run() {
    const { printCompletionScript } = await import('../completion.ts');
    await printCompletionScript();
  },
};
