// Builds dist/: the library as tsc emits it, the command as two files with their bytecode, and a file that starts it.
//
// Every run pays for its start: loading the same code as a hundred modules takes Node three times as long, and compiling
// one file takes 30 ms more than loading its bytecode, 100 ms for the AWS SDK, which is a file of its own for those who use
// S3. What is native, or large and seldom needed, stays outside and is loaded on demand.

import { execFileSync } from 'node:child_process';
import { chmodSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';
import { build } from 'esbuild';

const command = 'dist/cli/main.cjs';

rmSync('dist', { recursive: true, force: true });
execFileSync('npx', ['tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' });
const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', logLevel: 'warning' };
await bundle('bundle', {
  entryPoints: ['src/cli/main.ts'],
  external: ['koffi', 'lmdb', 'zstd-napi', '@node-rs/crc32', './s3-sdk.ts', 'yargs'],
});
await bundle('s3-sdk', {
  entryPoints: ['src/store/s3-sdk.ts'],
  // As ES modules, of which only what is used becomes part of it.
  mainFields: ['module', 'main'],
});
// Last: tests take it for the sign that all of dist/ is there.
await build({
  ...options,
  entryPoints: ['src/cli/start.ts'],
  outfile: command,
  define: { 'import.meta.dirname': '__dirname' },
});
chmodSync(command, 0o755);

/** One file, as a function of what it takes from the module that loads it. */
async function bundle(name, own) {
  const outfile = `dist/cli/${name}.cjs`;
  await build({
    ...options,
    ...own,
    outfile,
    // The modules in it look for the threads' code beside themselves, where tsc put it.
    banner: {
      js: "(function (require, module, importModule, __filename) { const moduleUrl = new URL('../bytes/thread.js', require('node:url').pathToFileURL(__filename)).href;",
    },
    footer: { js: '})' },
    define: { 'import.meta.url': 'moduleUrl' },
  });
  keepBytecode(outfile);
}

/** Bytecode of every function, also of those that V8 would compile when they are first called. */
function keepBytecode(outfile) {
  // Every character one byte: V8 reads such a source without decoding it.
  const ascii = (text) =>
    text.replace(/[^\0-\x7f]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const source = ascii(readFileSync(outfile, 'utf8'))
    // As CommonJS: its ES modules are read through the worker threads, one after the other.
    .replace('await import("koffi")', '{ default: require("koffi") }')
    .replace(/\bimport\((?=")/g, 'importModule(');
  writeFileSync(outfile, source);
  setFlagsFromString('--no-lazy');
  const script = new Script(source, { filename: outfile });
  script.runInThisContext();
  // It is kept with the flags that it was made with, and those have to be the flags of the run.
  setFlagsFromString('--lazy');
  writeFileSync(outfile.replace(/cjs$/, 'bytecode'), script.createCachedData());
}
