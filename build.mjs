// Builds dist/: the library as tsc emits it, and the command as one file with its bytecode, and a file that starts it.
//
// Every run pays for its start: loading the same code as a hundred modules takes Node three times as long, and compiling
// one file takes 30 ms more than loading its bytecode. What is native, or large and seldom needed, stays outside and is
// loaded on demand.

import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { build } from 'esbuild';

const command = 'dist/cli/main.cjs';
const bundle = 'dist/cli/bundle.cjs';

rmSync('dist', { recursive: true, force: true });
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning' };
await build({
  ...options,
  entryPoints: ['src/cli/main.ts'],
  outfile: bundle,
  external: ['koffi', 'lmdb', 'zstd-napi', '@node-rs/crc32', '@aws-sdk/*', 'yargs'],
  // The modules in it look for the threads' code beside themselves, where tsc put it.
  banner: {
    js: "(function (require, importModule, __filename) { const moduleUrl = new URL('../bytes/thread.js', require('node:url').pathToFileURL(__filename)).href;",
  },
  footer: { js: '})' },
  define: { 'import.meta.url': 'moduleUrl' },
});
keepBytecode();
// Last: tests take it for the sign that all of dist/ is there.
await build({
  ...options,
  entryPoints: ['src/cli/start.ts'],
  outfile: command,
  define: { 'import.meta.dirname': '__dirname' },
});
chmodSync(command, 0o755);

/** Bytecode of every function, also of those that V8 would compile when they are first called. */
function keepBytecode() {
  // Every character one byte: V8 reads such a source without decoding it.
  const ascii = (text) =>
    text.replace(/[^\0-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const source = ascii(readFileSync(bundle, 'utf8'))
    // As CommonJS: its ES modules are read through the worker threads, one after the other.
    .replace('await import("koffi")', '{ default: require("koffi") }')
    .replace(/\bimport\((?=")/g, 'importModule(');
  writeFileSync(bundle, source);
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename: bundle });
  script.runInThisContext();
  // It is kept with the flags that it was made with, and those have to be the flags of the run.
  setFlagsFromString('--lazy');
  writeFileSync('dist/cli/bundle.bytecode', script.createCachedData());
}
