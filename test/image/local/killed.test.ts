// Killed at any system call: the pool opens, is sound, and has all of the operation or nothing of it; nothing is lost to it.

import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { run } from '../../kit/command.ts';
import { makeFamily, type Operation, operations, spec, type State, stateOf } from './family.ts';

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

async function stateAt(dir: string): Promise<State> {
  const pool = await openLocalPool(dir);
  const state = await stateOf(pool);
  await pool.close();
  return state;
}

async function soundness(pool: LocalPool): Promise<{ problems: string[]; leftovers: string[] }> {
  const { findings } = await pool.check(null);
  const texts = (...states: string[]) => findings.filter(({ state }) => states.includes(state)).map(({ text }) => text);
  return { problems: texts('problem', 'note'), leftovers: texts('leftover') };
}

/** What is there after a crash, which a repair of what it has left does not change; and what is wrong with it. */
async function recovered(dir: string): Promise<{ now: State; problems: string[] }> {
  const pool = await openLocalPool(dir);
  const { problems, leftovers } = await soundness(pool);
  const now = await stateOf(pool);
  if (leftovers.length > 0) {
    await pool.check(null, { repair: true });
    const left = await soundness(pool);
    const texts = [...left.problems, ...left.leftovers, ...differing(await stateOf(pool), now)];
    problems.push(...texts.map((text) => `after a repair: ${text}`));
  }
  await pool.close();
  return { now, problems };
}

/** Where two states differ: in facts, or in the bytes of images. */
function differing(now: State, expected: State): string[] {
  const images = [...expected.heads].filter(([image, bytes]) => now.heads.get(image)?.equals(bytes) !== true);
  return [
    ...(now.facts === expected.facts ? [] : [`facts are ${now.facts}, not ${expected.facts}`]),
    ...images.map(([image]) => `other bytes of ${image}`),
  ];
}

/** All or nothing; once done, it stays so. Where bytes come one by one, each is an old one or a new one. */
function compare(
  { before, after, now }: { before: State; after: State; now: State },
  { bytesOf }: Operation,
  isDone: boolean,
): string[] {
  const [old, fresh, found] = [before, after, now].map(({ heads }) => heads.get(bytesOf ?? ''));
  const without = ({ facts, heads }: State): State => ({
    facts,
    heads: new Map([...heads].filter(([image]) => image !== bytesOf)),
  });
  const asBefore = isDone ? ['done already'] : differing(without(now), without(before));
  const asAfter = differing(without(now), without(after));
  const wrong = found?.findIndex((byte, i) => byte !== old?.[i] && byte !== fresh?.[i]) ?? -1;
  return [
    ...(asBefore.length > 0 && asAfter.length > 0
      ? [`neither all (${asAfter[0]!}) nor nothing (${asBefore[0]!})`]
      : []),
    ...(wrong >= 0 ? [`byte ${wrong} of ${bytesOf!} is neither old nor new`] : []),
  ];
}
