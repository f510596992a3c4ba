// Killed at any system call: the pool opens, is sound, and has all of the operation or nothing of it; nothing is lost to it.

import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openLocalPool } from '../../../src/image/local/index.ts';
import { run } from '../../kit/command.ts';
import { makeFamily, operations, spec } from './family.ts';
import { compare, differing, recovered, soundness, stateAt, stateOf } from './states.ts';

/** RBDELTA_TEST_ALL=1: every operation, and many moments of each; it takes minutes. */
const isAll = process.env['RBDELTA_TEST_ALL'] === '1';
/** How many of the moments of one operation are looked at, besides its end. */
const moments = Number(process.env['RBDELTA_TEST_MOMENTS'] ?? (isAll ? 12 : 3));

const usual = [
  'create',
  'write and flush',
  'snap create',
  'snap rm',
  'snap rollback',
  'clone',
  'copy-up',
  'flatten',
  'resize down',
  'rename',
  'rm',
];
const alone = Object.keys(operations).filter((name) => isAll || usual.includes(name));
const beside = isAll ? ['write and flush', 'snap rollback', 'copy-up', 'rm'] : ['snap rollback'];

let top: string;

beforeAll(async () => {
  // the checks flush a lot, and what a killed process leaves does not depend on the disk
  top = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbdelta-killed-'));
  const pool = await openLocalPool(join(top, 'family'));
  await makeFamily(pool);
  await pool.close();
});
afterAll(() => rm(top, { recursive: true, force: true }));

test.for(alone)('%s', async (name, { skip }) => {
  const folder = await mkdtemp(join(top, 'at-'));
  const [dir, copies] = [join(folder, 'pool'), join(folder, 'copies')];
  await cp(join(top, 'family'), dir, { recursive: true });
  const calls = await watch(['copy', copies], dir, name, skip);
  const count = (await readdir(copies)).length;
  expect(count).toBe(calls.length + 1);
  expect(calls.length).toBeGreaterThan(1);
  const [before, after] = [await stateAt(join(top, 'family')), await stateAt(dir)];
  const wrong: string[] = [];
  let isDone = false;
  for (const moment of chosen(count)) {
    const isEnd = moment === count - 1;
    const { now, problems } = await recovered(join(copies, String(moment)));
    problems.push(...compare({ before, after, now }, operations[name]!, isDone || isEnd));
    isDone ||= before.facts !== after.facts && now.facts === after.facts;
    wrong.push(...problems.map((text) => `before call ${moment} (${calls[moment] ?? 'the end'}): ${text}`));
  }
  expect(wrong).toEqual([]);
  await rm(folder, { recursive: true });
});

test.for(beside)('%s, killed beside a process that has the pool open', async (name, { skip }) => {
  const before = await stateAt(join(top, 'family'));
  const wrong: string[] = [];
  for (const moment of isAll ? [2, 5, 9] : [2, 5]) {
    const dir = await mkdtemp(join(top, 'beside-'));
    await cp(join(top, 'family'), dir, { recursive: true });
    const pool = await openLocalPool(dir);
    await stateOf(pool);
    await watch(['kill', String(moment)], dir, name, skip);
    // it is not closed meanwhile: what the dead one held is free all the same
    const problems = (await soundness(pool)).problems;
    const now = await stateOf(pool);
    if (now.facts === before.facts && operations[name]!.bytesOf === undefined) problems.push(...differing(now, before));
    for (const image of await pool.list('volumes', '')) await (await pool.openToWrite(spec(image))).close();
    await pool.close();
    wrong.push(...problems.map((text) => `killed at call ${moment}: ${text}`));
    await rm(dir, { recursive: true });
  }
  expect(wrong).toEqual([]);
});

/** Runs an operation under the eyes of at-each-call.py; resolves to the names of the calls that it did to the directory. */
async function watch(how: string[], dir: string, name: string, skip: (why: string) => void): Promise<string[]> {
  const program = [process.execPath, '--import', 'tsx', join(import.meta.dirname, 'one-operation.ts'), dir, name];
  const { status, stdout, stderr } = await run('python3', ['test/kit/at-each-call.py', dir, ...how, ...program]);
  // 77: nothing may be watched here (no ptrace). In CI that is a failure, as nothing would have been tested
  if (status === 77 && !process.env['CI']) skip(`system calls cannot be watched here: ${stderr.trim()}`);
  expect({ status, stderr }).toMatchObject({ status: 0 });
  return stdout.toString().split('\n').filter(Boolean);
}

function chosen(count: number): number[] {
  const all = Array.from({ length: count }, (_, i) => i);
  const step = Math.ceil(count / moments);
  return all.filter((i) => i < moments / 4 || i % step === 0 || i === count - 1);
}
