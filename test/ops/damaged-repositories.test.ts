// Whole repositories that were damaged: what `repo check`, `repo verify` and `restore` say of each of their points.

import { createHash } from 'node:crypto';
import { cpSync, readFileSync } from 'node:fs';
import { cp, mkdtemp, readFile, rename, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished, test } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { type VerifiedPoint, Verifier } from '../../src/ops/repo-verify.ts';
import { restoreToFile } from '../../src/ops/restore.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { loadChain } from '../../src/repo/chain.ts';
import { openRepository, type Repository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';

/** Of a path of the repository. */
interface Change {
  file: string;
  flip?: { byte: number; bit: number };
  cut?: number;
  remove?: true;
  swap?: string;
  from?: string;
  find?: string;
  replace?: string;
}

/** `check`: `ok`, or the kind of the finding. `audit`, `scrub`: `ok` or `damaged`. `restore`: `ok`, or the code. */
type Said = Record<'check' | 'audit' | 'scrub' | 'restore', string>;

const vectors = new URL('../../formats/repository/vectors/', import.meta.url);
const jsonOf = <T>(name: string): T => JSON.parse(readFileSync(new URL(name, vectors), 'utf8')) as T;
const told = jsonOf<{ point: string; imageSha256: string }[]>('two-points.json');
const damaged = jsonOf<{ name: string; changes: Change[]; points: Record<string, Said> }[]>('damaged.json');
const image = { pool: 'volumes', namespace: 'tenant', image: 'vm 1' };

async function apply(top: string, { file, flip, cut, remove, swap, from, find, replace }: Change): Promise<void> {
  const path = join(top, file);
  if (flip !== undefined) {
    const bytes = await readFile(path);
    bytes[flip.byte]! ^= 1 << flip.bit;
    await writeFile(path, bytes);
  }
  if (cut !== undefined) await truncate(path, cut);
  if (remove === true) await rm(path);
  if (from !== undefined) await cp(fileURLToPath(new URL(`two-points/${encodeURI(from)}`, vectors)), path);
  if (swap !== undefined) {
    await rename(path, `${path}.other`);
    await rename(join(top, swap), path);
    await rename(`${path}.other`, join(top, swap));
  }
  if (find !== undefined) {
    const text = await readFile(path, 'utf8');
    if (!text.includes(find)) throw new Error(`${file} has no ${find}`);
    await writeFile(path, text.replace(find, replace ?? ''));
  }
}

async function verified(repository: Repository, level: 'audit' | 'scrub', point: string): Promise<VerifiedPoint> {
  const verifier = new Verifier(repository, { level, version: '0.0.0' });
  try {
    const points = await readPoints(repository, image, () => {});
    return await verifier.verify({ image, point, points });
  } finally {
    await verifier.close();
  }
}

const verdict = ({ ok }: VerifiedPoint): string => (ok ? 'ok' : 'damaged');

/** `ok` only with the very bytes of the image. */
async function restored(repository: Repository, point: string, sha256: string, path: string): Promise<string> {
  try {
    const chain = await loadChain(repository, image, point);
    try {
      await restoreToFile(chain, path);
    } finally {
      await chain.close();
    }
  } catch (error) {
    if (error instanceof RbdeltaError) return error.code;
    throw error;
  }
  const content = await readFile(path);
  await rm(path);
  return createHash('sha256').update(content).digest('hex') === sha256 ? 'ok' : 'WRONG';
}

test.each(damaged)('$name', async ({ changes, points }) => {
  const dir = await mkdtemp(join(tmpdir(), 'rbdelta-damaged-'));
  onTestFinished(() => rm(dir, { recursive: true }));
  const top = join(dir, 'repo');
  cpSync(fileURLToPath(new URL('two-points', vectors)), top, { recursive: true });
  for (const change of changes) await apply(top, change);
  const repository = await openRepository(await openDirectoryStore(top));
  const { findings } = await checkRepository(repository);
  const said: Record<string, Said> = {};
  const all: VerifiedPoint[] = [];
  for (const { point, imageSha256 } of told) {
    const problem = findings.find((one) => one.state === 'problem' && one.point === point);
    const [audit, scrub] = [await verified(repository, 'audit', point), await verified(repository, 'scrub', point)];
    all.push(audit, scrub);
    said[point] = {
      check: problem?.kind ?? 'ok',
      audit: verdict(audit),
      scrub: verdict(scrub),
      restore: await restored(repository, point, imageSha256, join(dir, 'restored')),
    };
  }
  expect(said).toEqual(points);
  // what it says of other points of the chain is what it says when it is asked about them
  for (const { point, level, affected, unaffected } of all) {
    for (const id of affected) expect(points[id]?.[level as 'audit' | 'scrub']).toBe('damaged');
    const below = unaffected.filter((id) => id <= point);
    for (const id of below) expect(points[id]?.[level as 'audit' | 'scrub']).toBe('ok');
  }
});
