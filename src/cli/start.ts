#!/usr/bin/env node
// The start of the command: runs the bundle beside this file, compiled already where the build has kept its bytecode.
//
// To compile half a megabyte, and then what is called of it, is a sixth of the CPU time of a small export. V8 refuses
// bytecode of another version of itself; then the bundle is compiled as ever.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { Script, type ScriptOptions } from 'node:vm';

type Bundle = (
  require: NodeJS.Require,
  module: { exports: unknown },
  // Code that comes from bytecode cannot import by itself: Node finds nothing there that tells who asks.
  importModule: (specifier: string) => Promise<unknown>,
  filename: string,
) => void;

function runBundle(name: string): unknown {
  const filename = join(import.meta.dirname, `${name}.cjs`);
  // The build has put the bundle into a function, and left no character in it that takes more than a byte.
  const script = new Script(readFileSync(filename, 'latin1'), { filename, ...bytecode(name) });
  const module = { exports: {} };
  (script.runInThisContext() as Bundle)(createRequire(filename), module, importModule, filename);
  return module.exports;
}

function bytecode(name: string): Pick<ScriptOptions, 'cachedData'> {
  try {
    return { cachedData: readFileSync(join(import.meta.dirname, `${name}.bytecode`)) };
  } catch {
    return {};
  }
}

const importModule = async (specifier: string): Promise<unknown> =>
  specifier === './s3-sdk.ts' ? runBundle('s3-sdk') : import(specifier);

// Each file of a local pool that has to become durable waits in a thread: many at once cost the disk as much as a few. Read
// when the first thread is needed.
process.env['UV_THREADPOOL_SIZE'] ??= '32';
runBundle('bundle');
