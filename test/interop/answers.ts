// The same command lines by the real rbd, by rbdelta on Ceph and by rbdelta on the local pool: the same output and status.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run as runCommandLine } from '../../src/cli/run.ts';
import { run } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';

const on = process.env['RBDELTA_TEST_CEPH'] === '1';

interface Answer {
  status: number | null;
  stdout: string;
}

type Line = Answer & { line: string };

/**
 * Compares the answers to `text`, a command to a line, in an order that makes sense. POOL is each one's own, CLIENT who
 * holds the lock of that id, FILE 8 MiB of raw bytes, DIFF an increment of that size; a pool `data` is there as well.
 */
export function compareAnswers(name: string, text: string): void {
  const lines = text.trim().split('\n');

  describe.skipIf(!on)(`as rbd: ${name}`, () => {
    let dir: string;
    const pools = { rbd: `${name}-rbd-${process.pid}`, ceph: `${name}-own-${process.pid}`, local: `${name}-local` };

    beforeAll(async () => {
      dir = await mkdtemp(join(tmpdir(), 'rbdelta-answers-'));
      for (const pool of [pools.rbd, pools.ceph]) {
        await run('ceph', ['osd', 'pool', 'create', pool, '8']);
        await run('rbd', ['pool', 'init', pool]);
      }
      for (const pool of [pools.local, 'data']) await answer('local', `pool create ${pool}`);
      await writeFile(join(dir, 'raw'), Buffer.concat([noise(1, 5 << 20), Buffer.alloc(2 << 20), noise(2, 1 << 20)]));
      await writeFile(join(dir, 'diff'), diffBytes());
    });

    afterAll(async () => {
      await run('ceph', ['tell', 'mon.*', 'config', 'set', 'mon_allow_pool_delete', 'true']);
      for (const pool of [pools.rbd, pools.ceph]) {
        await run('ceph', ['osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it']);
      }
      await rm(dir, { recursive: true });
    });

    async function answer(side: 'rbd' | 'ceph' | 'local', line: string, shown: typeof plain = plain): Promise<Answer> {
      if (line.endsWith(' CLIENT')) {
        const [, , image = '', id = ''] = line.split(' ');
        const { stdout: locks } = await answer(side, `lock ls ${image} --format json`, (text) => text);
        const { locker } = (JSON.parse(locks) as { id: string; locker: string }[]).find((one) => one.id === id)!;
        return answer(side, line.replace('CLIENT', locker));
      }
      const words = line
        .replaceAll('POOL', pools[side])
        .replaceAll('FILE', join(dir, 'raw'))
        .replaceAll('DIFF', join(dir, 'diff'))
        .split(' ');
      if (side === 'rbd') {
        const { status, stdout } = await run('rbd', words, { env: { TZ: 'UTC' } });
        return { status, stdout: shown(stdout.toString(), pools.rbd) };
      }
      // a clone has data, onto which rbdelta imports nothing unless it is told to
      if (words[0] === 'import-diff') words.push('--force');
      let stdout = '';
      const status = await runCommandLine(words, {
        env: side === 'local' ? { RBDELTA_DIR: join(dir, 'pool') } : { CEPH_CONF: process.env['CEPH_CONF'] },
        signal: new AbortController().signal,
        stdout: { write: async (text) => void (stdout += text), flush: async () => undefined },
        writeError: () => undefined,
        columns: () => 80,
        progress: false,
      });
      return { status, stdout: shown(stdout, pools[side]) };
    }

    test('rbdelta answers as rbd does, on Ceph and on the local pool', async () => {
      const answers = async (side: keyof typeof pools): Promise<Line[]> => {
        const all: Line[] = [];
        for (const line of lines) all.push({ line, ...(await answer(side, line)) });
        return all;
      };
      const [expected, ceph, local] = await Promise.all([answers('rbd'), answers('ceph'), answers('local')]);
      expect(ceph).toEqual(expected);
      expect(local).toEqual(expected);
    }, 1_200_000);
  });
}

/** Without what differs from time to time: ids, times, names that Ceph invents, widths that follow from them. */
const plain = (text: string, pool: string): string =>
  text
    .replaceAll(pool, 'POOL')
    .replaceAll(/127\.0\.0\.1:0\/\d+/gu, '-')
    .replaceAll(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gu, 'UUID')
    .replaceAll(/\b(?=[0-9a-f]*[0-9])[0-9a-f]{10,14}\b/gu, 'ID')
    .replaceAll(/[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}/gu, 'TIME')
    .replaceAll(/("(?:snapshot_)?id": ?|<(?:snapshot_)?id>)\d+(?=[,<])/gu, '$1N')
    .replaceAll(/\brbd_data\.\d+\.ID/gu, 'rbd_data.N.ID')
    .replaceAll(/\bclient\.\d+/gu, 'client.N')
    .replaceAll(/^(Locker .*Address|client\.N .*-) +$/gmu, '$1')
    .replaceAll(/^ *\d+ {2}/gmu, 'N  ')
    .replaceAll(/ {2,}/gu, '  ')
    // By id, which is another one each time: in the order of the names.
    .replaceAll(/(?:^ID .*\n)+/gmu, (lines) => `${lines.trimEnd().split('\n').sort().join('\n')}\n`)
    .replaceAll(/-{2,}/gu, '--');

/** An end snapshot, some bytes and some zeros. */
function diffBytes(): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const range = (tag: string, offset: number, length: number) => {
    const bytes = Buffer.alloc(17);
    bytes.write(tag);
    bytes.writeBigUInt64LE(BigInt(offset), 1);
    bytes.writeBigUInt64LE(BigInt(length), 9);
    return bytes;
  };
  return Buffer.concat([
    Buffer.from('rbd diff v1\n'),
    Buffer.from('t'),
    u32(3),
    Buffer.from('one'),
    range('s', 8 << 20, 0).subarray(0, 9),
    range('w', 100_000, 5000),
    noise(3, 5000),
    range('z', 1 << 20, 1 << 20),
    range('z', (3 << 20) + 4096, 8192),
    range('w', 6 << 20, 4096),
    noise(4, 4096),
    Buffer.from('e'),
  ]);
}
