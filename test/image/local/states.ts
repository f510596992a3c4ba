// All that can be told of a pool, and how a state after an operation that did not come to its end compares with others.

import { createHash } from 'node:crypto';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import type { Image } from '../../../src/image/port.ts';
import { type Operation, spec } from './family.ts';

/** All that can be told: `facts` as a text, and the bytes of heads by the name of the image. */
export interface State {
  facts: string;
  heads: Map<string, Buffer>;
}

export async function stateOf(pool: LocalPool): Promise<State> {
  const heads = new Map<string, Buffer>();
  const facts: unknown[] = [await pool.pools(), await pool.namespaces('volumes'), await pool.quota('volumes')];
  const trashed = await pool.trash('volumes', '');
  const images = [
    ...(await pool.list('volumes', '')).map((name) => ({ name, at: spec(name) })),
    ...trashed.map(({ name, id }) => ({ name: `trash ${name}`, at: { ...spec(''), id } })),
  ];
  for (const { name, at } of images) {
    const opened = await pool.open(at);
    const { id, size: bytes, parent, snapshots, features, flags } = await opened.info();
    heads.set(name, await contentOf(opened, bytes));
    await opened.close();
    const versions: unknown[] = [];
    for (const { name: snap, size: length, protection, parentOverlap, flags: marks, namespace } of snapshots) {
      // its name is a random one, and nobody reads by it
      if (namespace !== 'user') {
        versions.push({ namespace, length, parentOverlap, marks });
        continue;
      }
      const version = await pool.open({ ...at, snap });
      const digest = createHash('sha1')
        .update(await contentOf(version, length))
        .digest('hex');
      versions.push({ snap, length, protection, parentOverlap, marks, digest });
      await version.close();
    }
    const children = (await pool.children(at)).map((child) => child.image);
    const metadata = [...(await pool.metadata(at))];
    const limit = (await pool.omap('volumes', '', `rbd_header.${id}`)).get('snap_limit')?.toString('hex');
    facts.push({
      name,
      bytes,
      parent: parent && [parent.image, parent.overlap],
      features,
      flags,
      versions,
      children,
      metadata,
      limit,
    });
  }
  return { facts: JSON.stringify(facts, null, 1), heads };
}

async function contentOf(image: Image, bytes: number): Promise<Buffer> {
  const content = Buffer.alloc(bytes);
  await image.read(0, content);
  return content;
}

export async function stateAt(dir: string): Promise<State> {
  const pool = await openLocalPool(dir);
  const state = await stateOf(pool);
  await pool.close();
  return state;
}

export async function soundness(pool: LocalPool): Promise<{ problems: string[]; leftovers: string[] }> {
  const { findings } = await pool.check(null);
  const texts = (...states: string[]) => findings.filter(({ state }) => states.includes(state)).map(({ text }) => text);
  return { problems: texts('problem', 'note'), leftovers: texts('leftover') };
}

/** What is there after a crash, which a repair of what it has left does not change; and what is wrong with it. */
export async function recovered(dir: string): Promise<{ now: State; problems: string[] }> {
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
export function differing(now: State, expected: State): string[] {
  const images = [...expected.heads].filter(([image, bytes]) => now.heads.get(image)?.equals(bytes) !== true);
  return [
    ...(now.facts === expected.facts ? [] : [`facts are ${now.facts}, not ${expected.facts}`]),
    ...images.map(([image]) => `other bytes of ${image}`),
  ];
}

/** All or nothing; once done, it stays so. Where bytes come one by one, each is an old one or a new one. */
export function compare(
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
