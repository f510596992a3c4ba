// Where the code of a worker thread lies, beside the code that starts it: compiled, or as source.

import { createRequire } from 'node:module';
import { fileURLToPath, pathToFileURL } from 'node:url';

export interface WorkerFile {
  path: string;
  execArgv: string[];
}

/**
 * The worker `name` in the folder of the module whose `import.meta.url` is given. A thread does not inherit what lets
 * its parent run TypeScript (vitest, tsx) and Node 20 cannot do it alone: as source, it is run with tsx.
 */
export function workerFile(name: string, moduleUrl: string): WorkerFile {
  const isSource = moduleUrl.endsWith('.ts');
  return {
    path: fileURLToPath(new URL(`./${name}.${isSource ? 'ts' : 'js'}`, moduleUrl)),
    execArgv: isSource ? ['--import', pathToFileURL(createRequire(moduleUrl).resolve('tsx')).href] : [],
  };
}
