// The last level of `repo verify`: the point is restored to a file, its content compared, and a program looks at it.

import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { interruption } from '../bytes/errno.ts';
import { counted, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { openFileImage } from '../image/file.ts';
import type { Chain } from '../repo/chain.ts';
import { compareState } from './compare-state.ts';
import { restoreToFile } from './restore.ts';

export interface RehearseOptions {
  /** For sh, with the path of the file in RBDELTA_IMAGE; status 0 is good, 126 and 127 no verdict. Absent: a check of the file system. */
  command?: string | undefined;
  /** Where the file is made: it takes as much as the image has data. */
  directory: string;
  /** Of programs that are run. */
  env: Readonly<Record<string, string | undefined>>;
  signal?: AbortSignal | undefined;
  onNotice?: ((text: string) => void) | undefined;
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** `what`: what was found, as a sentence. */
export interface Rehearsal {
  ok: boolean;
  what: string;
}

/** The file is removed in any case. */
export async function rehearse(chain: Chain, options: RehearseOptions): Promise<Rehearsal> {
  const folder = await mkdtemp(join(options.directory, 'rbdelta-rehearse-'));
  try {
    const path = join(folder, 'image.raw');
    await restoreToFile(chain, path, {
      signal: options.signal,
      onProgress: (_, done, total) => options.onProgress?.(done, total),
    });
    const image = await openFileImage(path);
    try {
      const { differing } = await compareState(chain, image, { signal: options.signal });
      if (differing.count > 0) {
        const what = `${counted(differing.count, 'block')} of the restored image have other digests than the indexes tell`;
        return { ok: false, what };
      }
    } finally {
      await image.close();
    }
    if (options.command === undefined) return await checkFileSystem(path, options);
    const ended = await run(['/bin/sh', '-c', options.command], path, options);
    if (ended === null) throw new RbdeltaError('io', 'cannot run /bin/sh: it is not there');
    return verdict(ended, [0], 'the command');
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * What to run by the type of the file system, and which statuses are good. The file is a copy: a journal may be replayed, as
 * after a crash, which is what a snapshot of a mounted file system looks like.
 */
const checks: Record<string, { argv: readonly string[]; good: readonly number[] }> = {
  ext2: { argv: ['e2fsck', '-fp'], good: [0, 1] },
  ext3: { argv: ['e2fsck', '-fp'], good: [0, 1] },
  ext4: { argv: ['e2fsck', '-fp'], good: [0, 1] },
  xfs: { argv: ['xfs_repair', '-f', '-n'], good: [0] },
  btrfs: { argv: ['btrfs', 'check', '--readonly'], good: [0] },
  vfat: { argv: ['fsck.vfat', '-n'], good: [0] },
};

async function checkFileSystem(path: string, options: RehearseOptions): Promise<Rehearsal> {
  const contentOnly = (why: string): Rehearsal => ({ ok: true, what: `restored, every block has its digest; ${why}` });
  const probed = await run(['blkid', '-p', '-o', 'export', path], path, options);
  if (probed === null) return contentOnly('blkid is not here to tell what file system it has');
  const type = /^TYPE=(.*)$/mu.exec(probed.output)?.[1];
  if (type === undefined) {
    const table = /^PTTYPE=(.*)$/mu.exec(probed.output)?.[1];
    return contentOnly(table === undefined ? 'no file system is known in it' : `it has partitions (${table})`);
  }
  const check = checks[type];
  if (check === undefined) return contentOnly(`nothing checks ${printable(type)} here`);
  const [program = ''] = check.argv;
  const ended = await run([...check.argv, path], path, options);
  if (ended === null) return contentOnly(`${program} is not here to check its ${type}`);
  return verdict(ended, check.good, `${program} (${type})`);
}

/** `name`: what judged. `io` if it came to no verdict: that tells nothing of the point. */
function verdict({ status, signal, output }: Ended, good: readonly number[], name: string): Rehearsal {
  if (status !== null && good.includes(status))
    return { ok: true, what: `restored, every block has its digest, ${name} found it good` };
  const lastLine = printable(output.trim().split('\n').at(-1) ?? '');
  const said = lastLine === '' ? '' : `: ${lastLine}`;
  // what a shell ends with where a command is not there, or is none
  const isUnrun = status === 126 || status === 127;
  if (status !== null && !isUnrun) return { ok: false, what: `${name} ended with status ${status}${said}` };
  const how = isUnrun ? `could not be run (status ${status}${said})` : `was ended by ${signal}${said}`;
  throw new RbdeltaError('io', `${name} ${how}; it was restored, and every block has its digest`);
}

interface Ended {
  status: number | null;
  signal: string | null;
  /** The last of what it printed. */
  output: string;
}

const keptCharacters = 16 << 10;

/** null where there is no such program. */
async function run(argv: readonly string[], path: string, { env, signal }: RehearseOptions): Promise<Ended | null> {
  const [program = '', ...args] = argv;
  // Checkers are where not everybody looks.
  const PATH = `${env['PATH'] ?? '/usr/bin:/bin'}:/usr/sbin:/sbin`;
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(interruption(signal));
    const child: ChildProcess = spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...env, PATH, RBDELTA_IMAGE: path },
    });
    const stop = (): void => void child.kill();
    signal?.addEventListener('abort', stop, { once: true });
    let output = '';
    const keep = (text: string): void => {
      output = (output + text).slice(-keptCharacters);
    };
    child.stdout?.setEncoding('utf8').on('data', keep);
    child.stderr?.setEncoding('utf8').on('data', keep);
    child.on('error', (error) => {
      signal?.removeEventListener('abort', stop);
      if ('code' in error && error.code === 'ENOENT') resolve(null);
      else reject(new RbdeltaError('io', `cannot run ${program}: ${error.message}`, { cause: error }));
    });
    child.on('close', (status, killedBy) => {
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) reject(interruption(signal));
      else resolve({ status, signal: killedBy, output });
    });
  });
}
