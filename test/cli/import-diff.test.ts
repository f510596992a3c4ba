// What `import-diff` says about its target, and what it leaves behind.

import { readdir, readFile, writeFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { noise } from '../kit/noise.ts';
import { makeWorld, type World } from './world.ts';

const size = 64 << 10;

/** An image with the snapshots a, b, c; the diffs that lead to them in files of these names. */
async function makeDiffs(world: World): Promise<Buffer[]> {
  const { ok, path } = world;
  await writeFile(path('raw'), noise(1, size));
  await ok('import raw volumes/vm');
  await ok('snap create volumes/vm@a');
  await ok('export-diff volumes/vm@a a');
  let before = 'a';
  for (const snap of ['b', 'c']) {
    await writeFile(path('change'), noise(snap.charCodeAt(0), size));
    await ok(`export-diff file:change to-${snap}.full`);
    await ok(`import-diff --overwrite to-${snap}.full volumes/vm`);
    await ok(`snap create volumes/vm@${snap}`);
    await ok(`export-diff volumes/vm@${snap} --from-snap ${before} ${snap}`);
    before = snap;
  }
  return Promise.all(['a', 'b', 'c'].map((name) => readFile(path(name))));
}

describe('a file', () => {
  test('takes a chain without --force, silently', async () => {
    const world = await makeWorld();
    await writeFile(world.path('chain'), Buffer.concat(await makeDiffs(world)));
    expect(await world.ok('import-diff --dry-run chain file:copy')).toBe(
      `nothing -> "a", size 0 -> ${size}, no snapshot\n` +
        `"a" -> "b", size ${size} -> ${size}, no snapshot\n` +
        `"b" -> "c", size ${size} -> ${size}, no snapshot\n`,
    );
    expect(await readdir(world.dir)).not.toContain('copy');
    expect(await world.run('import-diff chain file:copy')).toEqual({ status: 0, stdout: '', stderr: '' });
    await world.ok('export volumes/vm@c c.raw');
    expect(await readFile(world.path('copy'))).toEqual(await readFile(world.path('c.raw')));
  });

  test('that was made for the import stays when a whole diff was applied, and only then', async () => {
    const world = await makeWorld();
    const [a, b, c] = (await makeDiffs(world)) as [Buffer, Buffer, Buffer];
    const { path, run } = world;
    for (const [name, cut] of [
      ['before.a', a.subarray(0, 5)],
      ['in.a', a.subarray(0, -1)],
    ] as const) {
      await writeFile(path(name), cut);
      const { status, stderr } = await run(`import-diff ${name} file:copy`);
      expect(status).toBe(74);
      expect(stderr).toMatch(name === 'in.a' ? /; "file:copy" is removed again\n/ : /; nothing was changed\n/);
      expect(await readdir(world.dir)).not.toContain('copy');
    }
    await world.ok('export volumes/vm@b b.raw');
    await writeFile(path('late'), Buffer.concat([a, b, a]));
    expect(await run('import-diff late file:copy')).toMatchObject({
      status: 67,
      stderr: expect.stringContaining('the first 2 diffs of the stream stay applied to "file:copy", up to "b"\n'),
    });
    expect(await readFile(path('copy'))).toEqual(await readFile(path('b.raw')));
    await writeFile(path('cut'), Buffer.concat([a, b, c.subarray(0, -1)]));
    const cut = await run('import-diff cut file:./other');
    expect(cut.status).toBe(74);
    expect(cut.stderr).toContain('; "file:./other" holds "b" with a part of the diff applied; the first 2 diffs');
    expect(await readdir(world.dir)).toContain('other');
  });
});

test('messages name the image', async () => {
  const world = await makeWorld();
  const [a, b] = (await makeDiffs(world)) as [Buffer, Buffer];
  const { run, ok, path } = world;
  await ok(`create --size ${size}B backups/vm-1`);
  await writeFile(path('cut'), Buffer.concat([a, b.subarray(0, -1)]));
  const says = async (line: string): Promise<string> => (await run(line)).stderr;
  expect(await says('import-diff cut backups/vm-1')).toMatch(
    /; "backups\/vm-1" is at its start snapshot "a" again; the diff before it in the chain stays applied and "backups\/vm-1" has "a"\n/,
  );
  expect(await says('import-diff a backups/vm-1')).toContain('the end snapshot "a" exists already in "backups/vm-1"');
  expect(await says('import-diff c --pool backups vm-1')).toContain('"b" does not exist in "backups/vm-1"');
});
