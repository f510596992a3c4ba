// A disk that is full at any moment of an operation: it is refused as such, nothing is broken, and it can be done again.

import { cp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { open } from 'lmdb';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openLocalPool } from '../../../src/image/local/index.ts';
import { run } from '../../kit/command.ts';
import { type SmallDisk, smallDisk } from '../../kit/small-disk.ts';
import { makeFamily, operations } from './family.ts';

/** RBDELTA_TEST_ALL=1: every operation, and many moments of each; it takes minutes. */
const isAll = process.env['RBDELTA_TEST_ALL'] === '1';
const usual = ['create', 'write and flush', 'snap rollback', 'copy-up', 'rm'];

/** As it is usually; and without free pages and room in the database, so that it has to grow. */
let made: string;
let lean: string;
let disk: SmallDisk | string;

beforeAll(async () => {
  disk = await smallDisk(16);
  if (typeof disk === 'string') return;
  made = join(disk.path, 'made');
  const pool = await openLocalPool(made);
  await makeFamily(pool);
  await pool.close();
  lean = join(disk.path, 'lean');
  const database = open({ path: join(made, 'omap'), noSubdir: false });
  await cp(made, lean, { recursive: true });
  await rm(join(lean, 'omap', 'data.mdb'));
  await database.backup(join(lean, 'omap'), true);
  await database.close();
});
afterAll(async () => {
  if (typeof disk !== 'string') await disk.unmount();
});

test.for(Object.keys(operations).filter((name) => isAll || usual.includes(name)))(
  '%s',
  { timeout: 600_000 },
  async (name, { skip }) => {
    if (typeof disk === 'string') return skip(disk);
    const after = join(disk.path, 'after');
    await cp(made, after, { recursive: true });
    const pool = await openLocalPool(after);
    await operations[name]!.run(pool);
    await pool.close();
    const program = join(import.meta.dirname, 'full-disk-process.ts');
    const args = ['--import', 'tsx', program, disk.path, name, isAll ? 'all' : 'some', made, lean];
    const { status, signal, stdout, stderr } = await run(process.execPath, args);
    await rm(after, { recursive: true });
    expect({ status, signal, stderr }).toEqual({ status: 0, signal: null, stderr: '' });
    const { refused, problems } = JSON.parse(stdout.toString().trim().split('\n').at(-1)!) as Result;
    expect(problems).toEqual([]);
    expect(refused).toBeGreaterThan(0);
  },
);

interface Result {
  /** How often the disk was too full. */
  refused: number;
  problems: string[];
}
