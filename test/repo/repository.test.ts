// What becomes of a repository whose rbdelta.json is lost or damaged: its points are what counts.

import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { initRepository, openRepository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { makeRepoWorld, type RepoWorld } from '../kit/repo-world.ts';

async function world(): Promise<RepoWorld & { file: string; point: string }> {
  const made = await makeRepoWorld();
  onTestFinished(() => made.close());
  await made.image('vm', 1 << 20);
  const { point } = await made.backup('vm');
  return { ...made, point, file: join(made.repoDir, 'rbdelta.json') };
}

const restore = /^put a copy of its rbdelta\.json back; without one, examples\/restore-without-rbdelta\.sh/;

test('without its file, a place with points is no place for a new repository', async () => {
  const made = await world();
  const { file, point, repoDir } = made;
  const kept = await readFile(file);
  await rm(file);
  const before = await made.files();
  await expect(made.reopen()).rejects.toMatchObject({
    code: 'notFound',
    message: expect.stringContaining(`lost its rbdelta.json; its points are there, as rbd/vm@${point}`),
    hint: expect.stringMatching(restore),
  });
  await expect(initRepository(await openDirectoryStore(repoDir), Date.now())).rejects.toMatchObject({
    code: 'exists',
    message: expect.stringContaining(`rbd/vm@${point}`),
    hint: expect.stringMatching(restore),
  });
  expect(await made.files()).toEqual(before);
  await writeFile(file, kept);
  expect((await made.reopen()).id).toBe(JSON.parse(kept.toString()).id);
});

test('one that is damaged is told of with what can still be had', async () => {
  const made = await world();
  const { file } = made;
  await writeFile(file, '{ "format": 1');
  await expect(made.reopen()).rejects.toMatchObject({ code: 'corrupt', hint: expect.stringMatching(restore) });
  await writeFile(file, '{ "format": 2 }');
  await expect(made.reopen()).rejects.toMatchObject({ code: 'unsupported', hint: 'a newer rbdelta may read it' });
});

test('an empty place is told to be one, and other files do not matter', async () => {
  const { dir } = await world();
  const store = await openDirectoryStore(join(dir, 'other'), { create: true });
  onTestFinished(() => store.close());
  await store.put('some/thing/else', Buffer.from('x'));
  await expect(openRepository(store)).rejects.toMatchObject({
    code: 'notFound',
    hint: expect.stringContaining('rbdelta repo init'),
  });
  await initRepository(store, Date.now());
  expect((await readdir(join(dir, 'other'))).sort()).toEqual(['rbdelta.json', 'some']);
});
