#!/usr/bin/env node
// Completes package-lock.json: `npm i` leaves out optional packages of other platforms that its registry does not
// serve (a mirror may hold only some), and `npm ci` then refuses the whole lock file. This adds them by what their
// names say (version, os, cpu, libc), so that a clone installs everywhere.
//   node test/kit/complete-lock.mjs          after every `npm i`; `test/tidiness.test.ts` tells when it was forgotten
//   node test/kit/complete-lock.mjs --check  prints what is missing, changes nothing, exit status 1 if anything is

import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../../package-lock.json', import.meta.url);
const lock = JSON.parse(readFileSync(path, 'utf8'));

const systems = ['android', 'darwin', 'freebsd', 'linux', 'openharmony', 'win32'];
const processors = ['arm64', 'arm', 'ia32', 'loong64', 'ppc64', 'riscv64', 's390x', 'x64'];

/** Where node would find `name` when the package at `from` asks for it. */
const resolves = (from, name) => {
  for (let at = from; ; at = at.slice(0, Math.max(0, at.lastIndexOf('/node_modules/')))) {
    if (lock.packages[`${at === '' ? '' : `${at}/`}node_modules/${name}`] !== undefined) return true;
    if (at === '') return false;
  }
};

const added = {};
for (const [from, entry] of Object.entries(lock.packages)) {
  for (const [name, version] of Object.entries(entry.optionalDependencies ?? {})) {
    if (from === '' || resolves(from, name)) continue;
    const words = name.split(/[-/]/);
    const os = systems.filter((system) => words.includes(system));
    const cpu = processors.filter((processor) => words.includes(processor));
    if (os.length !== 1 || cpu.length !== 1 || !/^\d/.test(version)) {
      throw new Error(`${name}@${version}, optional for ${from}, is missing, and its name does not tell the platform`);
    }
    const libc = words.some((word) => word.startsWith('musl'))
      ? 'musl'
      : words.some((word) => word.startsWith('gnu'))
        ? 'glibc'
        : null;
    added[`node_modules/${name}`] = {
      version,
      cpu,
      ...(entry.dev === true && { dev: true }),
      ...(libc !== null && { libc: [libc] }),
      optional: true,
      os,
    };
  }
}

const names = Object.keys(added);
if (process.argv.includes('--check')) {
  if (names.length > 0) console.log(names.join('\n'));
  process.exitCode = names.length > 0 ? 1 : 0;
} else if (names.length > 0) {
  const all = Object.entries({ ...lock.packages, ...added }).sort(([a], [b]) => a.localeCompare(b, 'en'));
  writeFileSync(path, `${JSON.stringify({ ...lock, packages: Object.fromEntries(all) }, null, 2)}\n`);
  console.log(`added ${names.length} packages of other platforms`);
}
