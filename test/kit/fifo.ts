// Named pipes, to have both ends of a pipe as descriptors in one process.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';

let made = 0;

/** A new named pipe in `dir`; its path. */
export function makeFifo(dir: string): string {
  made += 1;
  const path = join(dir, `fifo-${made}`);
  execFileSync('mkfifo', [path]);
  return path;
}
