// Builds dist/: the library as tsc emits it, and the command as one file.
//
// The command is CommonJS in one file since every run pays for its start: loading the same code as a hundred modules
// takes Node three times as long. What is native, or large and seldom needed, stays outside and is loaded on demand.

import { execFileSync } from 'node:child_process';
import { chmodSync, rmSync } from 'node:fs';
import { build } from 'esbuild';

rmSync('dist', { recursive: true, force: true });
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
await build({
  entryPoints: ['src/cli/main.ts'],
  outfile: 'dist/cli/main.cjs',
  bundle: true,
  platform: 'node',
  format: 'cjs',
  target: 'node20',
  external: ['koffi', 'lmdb', 'zstd-napi', '@node-rs/crc32', '@aws-sdk/*', 'yargs'],
  // The modules in it look for the threads' code beside themselves, where tsc put it.
  banner: { js: "const moduleUrl = new URL('../bytes/thread.js', require('node:url').pathToFileURL(__filename)).href;" },
  define: { 'import.meta.url': 'moduleUrl' },
  logLevel: 'warning',
});
chmodSync('dist/cli/main.cjs', 0o755);
