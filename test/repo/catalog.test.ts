// What becomes of a catalog that is not as it should be.

import { readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { repairRepository } from '../../src/ops/repo-repair.ts';
import { catalogKey, readCatalog, readPoints } from '../../src/repo/catalog.ts';
import { makeRepoWorld, nameOf, type RepoWorld } from '../kit/repo-world.ts';

const vm = nameOf('vm');

/** With two points of `vm`, of which the first was proved. */
async function world(): Promise<RepoWorld & { ids: string[]; catalog: string; proved: string }> {
  const made = await makeRepoWorld();
  onTestFinished(() => made.close());
  await made.image('vm', 1 << 20);
  const ids = [(await made.backup('vm')).point, (await made.backup('vm')).point];
  const proved = '2026-11-22T12:30:00.000Z';
  const proof = { level: 'audit', finished: proved, ok: true, percent: 100, what: 'complete', version: '0.1.0' };
  const file = { format: 1, proofs: [proof], scrubbed: null };
  await writeFile(join(made.repoDir, `rbd/vm/${ids[0]}/proofs.json`), `${JSON.stringify(file)}\n`);
  return { ...made, ids, proved, catalog: join(made.repoDir, catalogKey(vm)) };
}

test.each(['damaged', 'lost'])('a catalog that was %s is made of the manifests by the next writer', async (how) => {
  const made = await world();
  const { catalog, ids, proved, repository } = made;
  if (how === 'lost') await rm(catalog);
  else await writeFile(catalog, '{ "format": 1, "points": [');
  const { point } = await made.backup('vm');
  const written = await readCatalog(repository, vm);
  expect(written.map(({ id }) => id)).toEqual([...ids, point]);
  expect(written.map(({ proofs }) => proofs)).toEqual([{ audit: proved }, {}, {}]);
});

test('one of a newer rbdelta is refused, and stays as it is', async () => {
  const made = await world();
  const { catalog, repository } = made;
  const newer = '{ "format": 2, "points": {} }\n';
  await writeFile(catalog, newer);
  const refused = { code: 'unsupported', message: expect.stringContaining('has format 2') };
  await expect(made.backup('vm')).rejects.toMatchObject(refused);
  await expect(readPoints(repository, vm)).rejects.toMatchObject(refused);
  await repairRepository(repository);
  expect(await readFile(catalog, 'utf8')).toBe(newer);
});
