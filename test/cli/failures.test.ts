// Every failure is one sentence and a status that rbd has for it too.

import { readFile, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { noise } from '../kit/noise.ts';
import { makeWorld } from './world.ts';

test('each failure has its status, one sentence, and changes nothing', async () => {
  const { run, ok, path } = await makeWorld();
  await writeFile(path('raw'), noise(1, 65536));
  await ok('import raw volumes/vm');
  await ok('snap create volumes/vm@a');
  await ok('export-diff volumes/vm@a full');
  await ok('export-diff volumes/vm --from-snap a increment');
  await ok('create backups/vm --size 64K');
  await writeFile(path('cut'), (await readFile(path('full'))).subarray(0, 1000));
  const before = await ok('ls -l backups');

  const cases: [status: number, line: string][] = [
    [1, 'nosuch'],
    [1, 'export-diff volumes/vm x extra'],
    [1, 'export-diff volumes/vm x --nosuch=1'],
    [1, 'export-diff volumes/vm x --diff-format 3'],
    [1, 'export-diff volumes/vm x --compress lz4'],
    [1, 'export-diff volumes/vm - --json'],
    [1, 'import-diff --rollback --sparse-size x full backups/vm'],
    [1, 'merge-diff - - x'],
    [1, 'diff volumes/vm --format yaml'],
    [1, 'create --size 8Q volumes/x'],
    [1, 'create --size 1 volumes/x --mirror-image-mode nosuch'],
    [1, 'create --size 1 volumes/x --journal-object-size 1K'],
    [1, 'export-diff volumes/vm x --format xml'],
    [1, 'import-diff --json --format plain full backups/vm'],
    [1, 'export-diff volumes/vm - --format json'],
    [2, 'export-diff volumes/nosuch x'],
    [2, 'export-diff volumes/vm@nosuch x'],
    [2, 'export-diff --from-snap nosuch volumes/vm x'],
    [2, 'export-diff nosuch/vm x'],
    [2, 'import-diff nosuch backups/vm'],
    [2, 'merge-diff nosuch full x'],
    [2, 'inspect nosuch'],
    [39, 'rm volumes/vm'],
    [17, 'export-diff volumes/vm full'],
    [17, 'export volumes/vm raw'],
    [17, 'import raw volumes/vm'],
    [17, 'snap create volumes/vm@a'],
    [17, 'import-diff full volumes/vm'],
    [22, 'export-diff'],
    [22, 'export-diff volumes/vm'],
    [22, 'import-diff full'],
    [22, 'import-diff full backups/vm@a'],
    [22, 'import-diff raw backups/vm'],
    [22, 'merge-diff full'],
    [22, 'merge-diff full full'],
    [22, 'merge-diff full full x'],
    [22, 'resize volumes/vm --size 4K'],
    [22, 'snap create volumes/vm'],
    [22, 'diff volumes/vm --pretty-format'],
    [22, 'create volumes/x'],
    [21, 'inspect .'],
    [21, 'import-diff . backups/vm'],
    [22, 'inspect raw'],
    [22, 'import raw file:x'],
    [22, 'import raw --dest file:x'],
    [22, 'info file:raw'],
    [22, 'create --size 1 file:x'],
    [74, 'import-diff cut backups/vm'],
    [74, 'merge-diff cut increment x'],
    [74, 'inspect cut'],
    [95, 'create volumes/x --size 1 --mirror-image-mode journal'],
    [95, 'create volumes/x --size 1 --image-feature exclusive-lock,journaling --journal-pool p'],
    [110, 'ls -m 127.0.0.1:1 --timeout 1 volumes'],
    [111, 'ls --cluster nosuch volumes'],
  ];
  const oneFailure = expect.stringMatching(/^rbdelta: [^\n]+\n(hint: [^\n]+\n)?$/u);
  for (const [status, line] of cases) {
    const result = await run(line);
    expect({ line, status: result.status, stderr: result.stderr }).toEqual({
      line,
      status,
      stderr: oneFailure,
    });
  }
  expect((await run('import-diff - backups/vm', { stdin: Buffer.alloc(0) })).status).toBe(74);
  expect(await ok('ls -l backups')).toBe(before);
  expect((await run('inspect x')).status).toBe(2); // nothing was left under the name of an output
});

test('what is wrong with an input says which one, once', async () => {
  const { run, ok, path } = await makeWorld();
  await writeFile(path('raw'), noise(1, 65536));
  await ok('import raw volumes/vm');
  for (const snap of ['a', 'b', 'c']) await ok(`snap create volumes/vm@${snap}`);
  await ok('export-diff volumes/vm@a full');
  await ok('export-diff --compress zstd volumes/vm@a full.zst');
  await ok('export-diff volumes/vm@b --from-snap a ab');
  await ok('export-diff volumes/vm@c --from-snap b bc');
  await ok('export --export-format 2 volumes/vm image');
  await ok('create backups/vm --size 64K');
  for (const file of ['full', 'full.zst', 'ab', 'bc', 'image']) {
    const bytes = await readFile(path(file));
    // a snapshot may have the name of a file
    await writeFile(path(`${file}-cut`), bytes.subarray(0, bytes.length - 3));
  }
  await writeFile(path('empty'), '');
  await writeFile(path('a'), Buffer.concat([await readFile(path('full')), Buffer.from('rubbish')]));

  const cases: [status: number, name: string, line: string][] = [
    [74, '"full-cut"', 'import-diff full-cut backups/vm'],
    [74, '"full.zst-cut"', 'import-diff full.zst-cut backups/vm'],
    [74, '"a"', 'import-diff a backups/vm'],
    [22, '"raw"', 'import-diff raw backups/vm'],
    [74, '"empty"', 'import-diff empty backups/vm'],
    [74, '"empty"', 'inspect empty'],
    [74, '"empty"', 'merge-diff full empty x'],
    [74, '"empty"', 'import --export-format 2 empty backups/new'],
    [74, '"full-cut"', 'inspect full-cut'],
    [74, '"full.zst-cut"', 'inspect full.zst-cut'],
    [22, '"raw"', 'inspect raw'],
    [74, '"bc-cut"', 'merge-diff full ab bc-cut x'],
    [74, '"ab-cut"', 'merge-diff full.zst ab-cut bc x'],
    [74, '"full.zst-cut"', 'merge-diff full.zst-cut ab bc x'],
    [22, '"raw"', 'merge-diff full raw bc x'],
    [74, '"image-cut"', 'import --export-format 2 image-cut backups/new'],
    [22, '"raw"', 'import --export-format 2 raw backups/new'],
    [2, 'cannot open "nosuch"', 'merge-diff full nosuch x'],
    [21, 'cannot read "."', 'merge-diff full . x'],
  ];
  for (const [status, name, line] of cases) {
    const result = await run(line);
    expect({ line, status: result.status, stderr: result.stderr }).toEqual({
      line,
      status,
      stderr: expect.stringMatching(new RegExp(`^rbdelta: ${name.replaceAll('.', '\\.')}: `, 'u')),
    });
    const [sentence] = result.stderr.split('\n');
    expect(sentence?.split(name).length).toBe(2);
  }
  const piped = await run('merge-diff full - x', { stdin: await readFile(path('ab-cut')) });
  expect(piped).toMatchObject({
    status: 74,
    stderr: expect.stringMatching(/^rbdelta: standard input: the stream ends/u),
  });
  await writeFile(path('cut.zst'), await readFile(path('full.zst-cut')));
  const unpacked = await run('import cut.zst backups/new');
  expect(unpacked).toMatchObject({
    status: 74,
    stderr: expect.stringContaining('\nrbdelta: "cut.zst": the zstd stream ends'),
  });
});

test('only the words of a command are quoted as unknown', async () => {
  const { run } = await makeWorld({ pools: [] });
  expect((await run('nosuch b/y3@s1')).stderr).toContain("unknown command 'nosuch'\n");
  expect((await run('snap nosuch b/y3@s1')).stderr).toContain("unknown command 'snap nosuch'\n");
});

test('what rbd accepts is accepted: options of a journal without one, --format json for --json', async () => {
  const { ok, path } = await makeWorld();
  await writeFile(path('raw'), noise(1, 65536));
  await ok('import raw volumes/vm --journal-splay-width 4 --journal-object-size 16M --journal-pool p');
  expect(JSON.parse(await ok('export-diff volumes/vm full --format json'))).toMatchObject({ data_bytes: 65536 });
  await ok('create backups/vm --size 64K');
  expect(await ok('import-diff full backups/vm --format plain')).toBe('');
  expect(JSON.parse(await ok('import-diff --overwrite full backups/vm --json --format json'))).toHaveProperty('diffs');
});

test('an image that went its own way is status 67; --rollback and --force go on', async () => {
  const { run, ok, path } = await makeWorld();
  await writeFile(path('raw'), noise(1, 65536));
  await ok('import raw volumes/vm');
  await ok('snap create volumes/vm@a');
  await ok('export-diff volumes/vm@a full');
  await ok('snap create volumes/vm@b');
  await ok('export-diff volumes/vm@b --from-snap a inc');
  await ok('create backups/vm --size 64K');
  await ok('import-diff full backups/vm');
  await writeFile(path('other'), noise(2, 65536));
  await ok('export-diff file:other otherdiff');
  await ok('import-diff --overwrite otherdiff backups/vm');
  expect(await run('import-diff inc backups/vm')).toMatchObject({
    status: 67,
    stderr: expect.stringContaining('hint:'),
  });
  expect(await run('import-diff --dry-run --rollback inc backups/vm')).toMatchObject({ status: 0 });
  expect(await run('import-diff inc backups/vm')).toMatchObject({ status: 67 });
  expect(await run('import-diff --rollback inc backups/vm')).toMatchObject({ status: 0 });
  expect(await run('import-diff --skip-existing inc backups/vm')).toMatchObject({ status: 0 });
});
