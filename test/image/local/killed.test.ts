// Killed at any system call: the pool opens, is sound, and has all of the operation or nothing of it; nothing is lost to it.

import { cp, mkdtemp, readdir, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { run } from '../../kit/command.ts';
import { makeFamily, type Operation, operations, spec, type State, stateOf } from './family.ts';

/** How many of the moments of one operation are looked at: all of a short one, the first and some others of a long one. */
const moments = Number(process.env['RBDELTA_TEST_MOMENTS'] ?? 12);

let top: string;

beforeAll(async () => {
  // the checks flush a lot, and what a killed process leaves does not depend on the disk
  top = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbdelta-killed-'));
  const pool = await openLocalPool(join(top, 'family'));
  await makeFamily(pool);
  await pool.close();
});
afterAll(() => rm(top, { recursive: true, force: true }));

test.each(Object.entries(operations))('%s', async (name, operation) => {
  const folder = await mkdtemp(join(top, 'at-'));
  const [dir, copies] = [join(folder, 'pool'), join(folder, 'copies')];
  await cp(join(top, 'family'), dir, { recursive: true });
  const { calls, watched } = await watch(['copy', copies], dir, name);
  if (!watched) {
    console.warn('system calls cannot be watched here: killed.test.ts looks at nothing');
    return;
  }
  const count = (await readdir(copies)).length;
  expect(count).toBe(calls.length + 1);
  expect(calls.length).toBeGreaterThan(1);
  const [before, after] = [await stateAt(join(top, 'family')), await stateAt(dir)];
  let isDone = false;
  for (const moment of chosen(count)) {
    const what = `before call ${moment} of ${calls.length} (${calls[moment] ?? 'the end'})`;
    const now = await recovered(join(copies, String(moment)), what);
    compare({ before, after, now }, operation, isDone, what);
    isDone ||= before.facts !== after.facts && now.facts === after.facts;
    if (moment === count - 1) expect(now.facts, what).toBe(after.facts);
  }
  await rm(folder, { recursive: true });
});

test.each(['write and flush', 'snap rollback', 'copy-up', 'rm'])(
  '%s, killed beside a process that has the pool open',
  async (name) => {
    const before = await stateAt(join(top, 'family'));
    for (const moment of [2, 5, 9]) {
      const dir = await mkdtemp(join(top, 'beside-'));
      await cp(join(top, 'family'), dir, { recursive: true });
      const pool = await openLocalPool(dir);
      await stateOf(pool);
      const { watched } = await watch(['kill', String(moment)], dir, name);
      if (!watched) return;
      // it is not closed meanwhile: what the dead one held is free all the same
      const sound = await soundness(pool);
      expect(sound.problems).toEqual([]);
      const now = await stateOf(pool);
      const image = operations[name]!.bytesOf;
      if (now.facts === before.facts && image === undefined) expect(now.heads).toEqual(before.heads);
      for (const image of await pool.list('volumes', '')) await (await pool.openToWrite(spec(image))).close();
      await pool.close();
      await rm(dir, { recursive: true });
    }
  },
);

/** Runs an operation under the eyes of at-each-call.py; `calls` are what it did to the directory. */
async function watch(how: string[], dir: string, name: string): Promise<{ calls: string[]; watched: boolean }> {
  const program = [process.execPath, '--import', 'tsx', join(import.meta.dirname, 'one-operation.ts'), dir, name];
  const { status, stdout, stderr } = await run('python3', ['test/kit/at-each-call.py', dir, ...how, ...program]);
  if (status === 77) return { calls: [], watched: false };
  expect(status, stderr).toBe(0);
  return { calls: stdout.toString().split('\n').filter(Boolean), watched: true };
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

/** What is there after a crash, before and after a repair of what it has left: the same, and nothing is left then. */
async function recovered(dir: string, what: string): Promise<State> {
  const pool = await openLocalPool(dir);
  const first = await soundness(pool);
  expect(first.problems, what).toEqual([]);
  const found = await stateOf(pool);
  if (first.leftovers.length > 0) await repairedAs(pool, found, what);
  await pool.close();
  return found;
}

async function repairedAs(pool: LocalPool, found: State, what: string): Promise<void> {
  await pool.check(null, { repair: true });
  expect(await soundness(pool), what).toEqual({ problems: [], leftovers: [] });
  const repaired = await stateOf(pool);
  expect(repaired.facts, `repaired, ${what}`).toBe(found.facts);
  expect(repaired.heads, `repaired, ${what}`).toEqual(found.heads);
}

/** All or nothing; once done, it stays so. Where bytes come one by one, each is an old one or a new one. */
function compare(
  { before, after, now }: { before: State; after: State; now: State },
  { bytesOf }: Operation,
  isDone: boolean,
  what: string,
): void {
  const isSame = (state: State) =>
    now.facts === state.facts &&
    [...now.heads].every(([image, bytes]) => image === bytesOf || state.heads.get(image)?.equals(bytes) === true);
  const as = isSame(before) && !isDone ? before : after;
  expect(now.facts, what).toBe(as.facts);
  for (const [image, bytes] of now.heads) {
    const [old, fresh] = [before.heads.get(image), after.heads.get(image)];
    if (image !== bytesOf || old === undefined || fresh === undefined) {
      expect(bytes.equals(as.heads.get(image)!), `bytes of ${image}, ${what}`).toBe(true);
      continue;
    }
    const wrong = bytes.findIndex((byte, i) => byte !== old[i] && byte !== fresh[i]);
    expect(wrong, `bytes of ${image}, ${what}`).toBe(-1);
  }
}
