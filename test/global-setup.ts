// Before any test: dist/ is what src/ says, since tests of the command line run it as users do.

import { execFile } from 'node:child_process';
import { readdir, stat } from 'node:fs/promises';
import { promisify } from 'node:util';

const program = 'dist/cli/main.cjs';

const changedMs = (path: string): Promise<number> =>
  stat(path).then(
    (found) => found.mtimeMs,
    () => 0,
  );

export default async function setup(): Promise<void> {
  const built = await changedMs(program);
  const sources = (await readdir('src', { recursive: true })).map((name) => `src/${name}`);
  const times = await Promise.all([...sources, 'package.json', 'tsconfig.build.json', 'build.mjs'].map(changedMs));
  if (times.some((time) => time >= built)) await promisify(execFile)(process.execPath, ['build.mjs']);
}
