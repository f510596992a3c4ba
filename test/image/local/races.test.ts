// Two processes at once: whatever one does just before another one writes, it is as if one had come after the other.

import { cp, mkdtemp, rm } from 'node:fs/promises';
import { existsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { RbdeltaError } from '../../../src/error.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import type { Store } from '../../../src/image/local/store.ts';
import type { ClusterImage } from '../../../src/image/port.ts';
import { makeFamily, spec } from './family.ts';
import { soundness, stateOf } from './states.ts';

let isWatched = false;
/** Called before each transaction of a pool that was opened while `isWatched`. */
let beforeTransaction = (): void => {};

vi.mock('../../../src/image/local/store.ts', async (importActual) => {
  const actual = await importActual<typeof import('../../../src/image/local/store.ts')>();
  const openStore = async (dir: string): Promise<Store> => {
    const store = await actual.openStore(dir);
    if (!isWatched) return store;
    return {
      ...store,
      transact(action, use) {
        beforeTransaction();
        return store.transact(action, use);
      },
    };
  };
  return { ...actual, openStore };
});

let top: string;
let binned: string;

type Action = (pool: LocalPool) => Promise<unknown>;

const size = 8 * 4096;
const trashed = () => ({ ...spec(''), id: binned });
const writing =
  (image: string, use: (image: ClusterImage) => Promise<unknown>): Action =>
  async (pool) => {
    const opened = await pool.openToWrite(spec(image));
    try {
      await use(opened);
    } finally {
      await opened.close();
    }
  };
const cloneOf =
  (image: string, snap: string, cloneFormat: 1 | 2): Action =>
  (pool) =>
    pool.clone(spec(image, snap), spec('new'), { cloneFormat });

/** What is done to the same things: each is tried with each. */
const groups: Record<string, Record<string, Action>> = {
  'an image': {
    'rename to b': (pool) => pool.rename(spec('gone'), 'b'),
    'rename to d': (pool) => pool.rename(spec('gone'), 'd'),
    'create of b': (pool) => pool.create(spec('b'), { size }),
    'trash mv': (pool) => pool.moveToTrash(spec('gone'), null),
    rm: (pool) => pool.remove(spec('gone')),
    'image-meta set': (pool) => pool.setMetadata(spec('gone'), 'k', 'v'),
    'lock add': (pool) => pool.addLock(spec('gone'), 'mine', null),
    'snap create': writing('gone', (image) => image.createSnapshot('s')),
    'pool rm --force': (pool) => pool.removePool('volumes', { force: true }),
  },
  'an image in the trash': {
    'restore as x': (pool) => pool.restoreFromTrash(trashed(), 'x'),
    'restore as y': (pool) => pool.restoreFromTrash(trashed(), 'y'),
    'create of x': (pool) => pool.create(spec('x'), { size }),
    'trash rm': (pool) => pool.removeFromTrash(trashed(), true),
  },
  'an unprotected snapshot': {
    'clone of format 2': cloneOf('disk', 's1', 2),
    'snap rm': writing('disk', (disk) => disk.removeSnapshot('s1')),
    'snap protect': writing('disk', (disk) => disk.protectSnapshot('s1')),
    'snap rename': writing('disk', (disk) => disk.renameSnapshot('s1', 'first')),
  },
  'a protected snapshot': {
    'clone of format 1': cloneOf('spare', 's', 1),
    'clone of format 2': cloneOf('spare', 's', 2),
    'snap unprotect': writing('spare', (spare) => spare.unprotectSnapshot('s')),
    'snap rm': writing('spare', (spare) => spare.removeSnapshot('s')),
  },
  'a snapshot with a clone': {
    'another clone': cloneOf('base', 's', 2),
    rm: (pool) => pool.remove(spec('kid')),
    flatten: writing('kid', (kid) => kid.flatten()),
    rename: (pool) => pool.rename(spec('kid'), 'child'),
  },
  'a pool without images': {
    create: (pool) => pool.create({ ...spec('new'), pool: 'spare' }, { size }),
    'create with its data': (pool) => pool.create(spec('new'), { size, dataPool: 'spare' }),
    clone: (pool) => pool.clone(spec('base', 's'), { ...spec('new'), pool: 'spare' }, { cloneFormat: 1 }),
    'namespace create': (pool) => pool.createNamespace('spare', 'ns'),
    'pool rm': (pool) => pool.removePool('spare'),
  },
  'a namespace without images': {
    create: (pool) => pool.create({ ...spec('new'), namespace: 'empty' }, { size }),
    'namespace rm': (pool) => pool.removeNamespace('volumes', 'empty'),
    'pool rm --force': (pool) => pool.removePool('volumes', { force: true }),
  },
};

beforeAll(async () => {
  top = await mkdtemp(join(existsSync('/dev/shm') ? '/dev/shm' : tmpdir(), 'rbdelta-races-'));
  const pool = await openLocalPool(join(top, 'family'));
  await makeFamily(pool);
  binned = (await pool.trash('volumes', ''))[0]!.id;
  await pool.close();
});
afterAll(() => rm(top, { recursive: true, force: true }));

for (const [group, actions] of Object.entries(groups)) {
  const names = Object.keys(actions);
  test.each(names.flatMap((one) => names.map((other) => [one, other] as const)))(
    `${group}: %s, and beside it %s`,
    async (one, other) => {
      const [first, second] = [actions[one]!, actions[other]!];
      const allowed = [
        await inTurn(group, one, other),
        reversed(await inTurn(group, other, one)),
        await inTurn(group, one, null),
        reversed(await inTurn(group, other, null)),
      ];
      for (let moment = 1, isReached = true; isReached; moment += 1) {
        isReached = false;
        const found = await outcome(async (pool, beside) => {
          let seen = 0;
          let done: Promise<string> | undefined;
          beforeTransaction = () => {
            seen += 1;
            if (seen !== moment) return;
            isReached = true;
            done = told(second(beside));
          };
          const answer = await told(first(pool));
          beforeTransaction = () => {};
          return [answer, (await done) ?? 'not begun'];
        });
        const ends = isReached ? allowed : [found];
        expect(ends, `before transaction ${moment}`).toContainEqual(found);
        expect(isReached || moment > 1).toBe(true);
      }
    },
  );
}

interface Outcome {
  /** What the first and the second one were told. */
  answers: string[];
  /** All that is there then. */
  facts: unknown[];
}

const reversed = ({ answers, facts }: Outcome): Outcome => ({ answers: answers.toReversed(), facts });

const known = new Map<string, Outcome>();

/** What comes out when one comes after the other; null: one that finds the thing in use, and does nothing. */
async function inTurn(group: string, one: string, other: string | null): Promise<Outcome> {
  const key = `${group}: ${one}, ${other}`;
  let found = known.get(key);
  if (found === undefined) {
    const [first, second] = [groups[group]![one]!, other === null ? null : groups[group]![other]!];
    found = await outcome(async (pool) => [
      await told(first(pool)),
      second === null ? 'busy' : await told(second(pool)),
    ]);
    known.set(key, found);
  }
  return found;
}

/** `done`, or why not. */
async function told(action: Promise<unknown>): Promise<string> {
  try {
    await action;
    return 'done';
  } catch (error) {
    if (error instanceof RbdeltaError) return error.code;
    throw error;
  }
}

/** What comes out for a family of its own, which two have open. */
async function outcome(act: (pool: LocalPool, beside: LocalPool) => Promise<string[]>): Promise<Outcome> {
  const dir = await mkdtemp(join(top, 'at-'));
  await cp(join(top, 'family'), dir, { recursive: true });
  const beside = await openLocalPool(dir);
  isWatched = true;
  const pool = await openLocalPool(dir);
  isWatched = false;
  const answers = await act(pool, beside);
  const { problems, leftovers } = await soundness(pool);
  const facts: unknown[] = [problems, leftovers];
  for (const name of await pool.pools()) {
    for (const namespace of ['', ...(await pool.namespaces(name))]) {
      facts.push([name, namespace, await pool.list(name, namespace)]);
    }
    if (name === 'volumes') facts.push((await stateOf(pool)).facts);
  }
  await pool.close();
  await beside.close();
  await rm(dir, { recursive: true });
  return { answers, facts };
}
