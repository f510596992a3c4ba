// A process that does one operation to a family of images while the disk is full but for so many pages, for each number of
// pages: `full-disk-process.ts MOUNT NAME all|some FAMILY…`. Prints what went wrong, as JSON; ended by a signal, it tells nothing.

import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { RbdeltaError } from '../../../src/error.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { fill } from '../../kit/small-disk.ts';
import { operations, spec } from './family.ts';
import { compare, differing, recovered, soundness, type State, stateAt, stateOf } from './states.ts';

const [mount = '', name = '', much = '', ...families] = process.argv.slice(2);
const operation = operations[name]!;

/** The error, when there was one; whatever it does, it must come to an end. */
async function attempt(action: () => Promise<unknown>): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise((_, failed) => {
    timer = setTimeout(() => failed(new Error('it hangs')), 20_000);
  });
  try {
    await Promise.race([action(), late]);
    return null;
  } catch (error) {
    return error;
  } finally {
    clearTimeout(timer);
  }
}

/** Opened while there is room, or when there is none any more. */
async function underPressure(dir: string, pages: number, openFirst: boolean): Promise<unknown> {
  let pool: LocalPool | null = null;
  if (openFirst) {
    pool = await openLocalPool(dir);
    await pool.pools();
  }
  const free = fill(mount, pages);
  let error = await attempt(async () => {
    pool ??= await openLocalPool(dir);
    await operation.run(pool);
  });
  error ??= await attempt(async () => pool?.close());
  free();
  if (error === null || !openFirst) {
    await pool?.close();
    return error;
  }
  // who goes on with the pool open, once there is room again, sees and does the same as one who comes then
  const again = await attempt(async () => {
    await stateOf(pool!);
    for (const image of await pool!.list('volumes', '')) await (await pool!.openToWrite(spec(image))).close();
    await pool!.close();
  });
  if (again !== null) throw new Error('the pool that was open is of no use any more', { cause: again });
  return error;
}

async function problemsAt(
  family: string,
  pages: number,
  openFirst: boolean,
  before: State,
  after: State,
): Promise<[boolean, string[]]> {
  const dir = join(mount, 'pool');
  cpSync(family, dir, { recursive: true });
  const problems: string[] = [];
  const error = await underPressure(dir, pages, openFirst);
  if (error !== null && !(error instanceof RbdeltaError && error.code === 'noSpace')) {
    problems.push(`it failed with ${error instanceof Error ? error.stack : JSON.stringify(error)}`);
  }
  const { now, problems: found } = await recovered(dir);
  problems.push(...found, ...compare({ before, after, now }, operation, error === null));
  if (error !== null && differing(now, after).length > 0) {
    const pool = await openLocalPool(dir);
    await operation.run(pool);
    problems.push(...differing(await stateOf(pool), after).map((text) => `done again: ${text}`));
    const { problems: wrong, leftovers } = await soundness(pool);
    problems.push(...[...wrong, ...leftovers].map((text) => `done again: ${text}`));
    await pool.close();
  }
  rmSync(dir, { recursive: true });
  return [error !== null, problems];
}

const isAll = much === 'all';
const [before, after] = [await stateAt(families[0]!), await stateAt(join(mount, 'after'))];
const result = { refused: 0, problems: [] as string[] };

/** With ever more room, until it was enough for three times. */
async function atAllMoments(family: string, openFirst: boolean): Promise<void> {
  const step = (pages: number) => (isAll && pages < 16 ? 1 : Math.max(1, Math.floor(pages / (isAll ? 4 : 2))));
  for (let pages = 0, done = 0; done < 3; pages += done > 0 ? 1 : step(pages)) {
    const where = `${family}, ${pages} pages left${openFirst ? ', opened before' : ''}`;
    const [refused, problems] = await problemsAt(family, pages, openFirst, before, after);
    if (refused) result.refused += 1;
    done = refused ? 0 : done + 1;
    result.problems.push(...problems.map((text) => `${where}: ${text}`));
    if (problems.length > 0) return;
  }
}

for (const family of families) {
  for (const openFirst of isAll ? [true, false] : [true]) await atAllMoments(family, openFirst);
}
process.stdout.write(`\n${JSON.stringify(result)}\n`);
process.exit(0);
