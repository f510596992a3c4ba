// Before any test: dist/ is what src/ says, since tests of the command line run it as users do.

import { execFile } from 'node:child_process';
import { chmod, readdir, stat } from 'node:fs/promises';
import { promisify } from 'node:util';

const program = 'dist/cli/main.js';

const changedMs = (path: string): Promise<number> =>
  stat(path).then(
    (found) => found.mtimeMs,
    () => 0,
  );

export default async function setup(): Promise<void> {
  const built = await changedMs(program);
  const sources = (await readdir('src', { recursive: true })).map((name) => `src/${name}`);
  const times = await Promise.all([...sources, 'package.json', 'tsconfig.build.json'].map(changedMs));
  if (times.every((time) => time < built)) return;
  // Types are a check of their own (`npm run types`): what compiles is emitted all the same.
  await promisify(execFile)('npx', ['tsc', '-p', 'tsconfig.build.json']).catch((error: { stdout?: string }) =>
    process.stderr.write(`build: ${error.stdout?.split('\n')[0]}\n`),
  );
  await chmod(program, 0o755).catch(() => undefined);
}
