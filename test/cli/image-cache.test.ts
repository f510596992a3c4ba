// The verbs of the image cache on a command line: what they print, what they refuse.

import { readFile, utimes, writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { makeWorld } from './world.ts';

test('image-cache clone, ls, purge', async () => {
  const { ok, run, path } = await makeWorld();
  await writeFile(path('a.raw'), Buffer.alloc(300_000, 'a'));
  await writeFile(path('b.raw'), Buffer.alloc(200_000, 'b'));
  expect(await ok('image-cache ls volumes')).toBe('');
  const plan = await ok('image-cache clone --dry-run a.raw volumes/vm-1');
  expect(plan).toMatch(/^vm-1 would be a clone of the new base image-cache\.[0-9a-f]{24}\n$/u);
  expect(await ok('ls volumes')).toBe('');

  const made = JSON.parse(await ok('image-cache clone --json --size 1M --object-size 64K a.raw volumes/vm-1')) as {
    base: string;
  };
  expect(made).toEqual({ image: 'vm-1', outcome: 'filled', base: made.base, size: 1 << 20, evicted: [] });
  expect(plan).toContain(made.base);
  expect(await ok('image-cache clone a.raw volumes/vm-2')).toBe('');
  expect(await ok('info volumes/vm-2')).toContain(`parent: volumes/${made.base}@cached`);
  await ok('export volumes/vm-2 out.raw');
  expect((await readFile(path('out.raw'))).equals(Buffer.alloc(300_000, 'a'))).toBe(true);
  expect(await ok('image-cache ls volumes')).toMatch(
    /^NAME +SIZE +CLONES {2}LAST USED +STATE +SOURCE +\nimage-cache\.\w+ {2}293 KiB +2 {2}\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ {2}ready {2}\/.*\/a\.raw *\n$/u,
  );
  expect(JSON.parse(await ok('image-cache ls volumes --json'))).toMatchObject([
    { image: made.base, state: 'ready', size: 300_000, clones: 2, source: expect.stringContaining('a.raw') },
  ]);

  const small = await run('image-cache clone --max-count 1 --json b.raw volumes/vm-3');
  expect(small).toMatchObject({ status: 0, stderr: expect.stringContaining('has no room') });
  expect(JSON.parse(small.stdout)).toMatchObject({ outcome: 'uncached', evicted: [] });
  for (const image of ['vm-1', 'vm-2', 'vm-3']) await ok(`rm volumes/${image}`);
  expect(await ok('image-cache clone --max-count 1 --dry-run b.raw volumes/vm-3')).toMatch(
    new RegExp(`^${made.base} would be removed\\nvm-3 would be a clone of the new base `, 'u'),
  );
  expect(await ok('image-cache purge --max-size 1M volumes')).toBe('');
  expect(await ok('image-cache purge --dry-run volumes')).toBe(`${made.base} would be removed\n`);
  expect(JSON.parse(await ok('image-cache purge --json volumes'))).toEqual({ removed: [made.base], kept: [] });
  expect(await ok('ls volumes')).toBe('');
});

test('a source that changed is another one; a key says what is the same', async () => {
  const { ok, run, path } = await makeWorld();
  await writeFile(path('a.raw'), Buffer.alloc(5000, 'a'));
  const outcome = async (line: string) =>
    (JSON.parse(await ok(`image-cache clone --json ${line}`)) as { outcome: string }).outcome;
  expect(await outcome('a.raw volumes/v1')).toBe('filled');
  await utimes(path('a.raw'), 1, 1);
  expect(await outcome('a.raw volumes/v2')).toBe('filled');
  expect(await outcome('--key debian a.raw volumes/v3')).toBe('filled');
  expect(await outcome('--key debian a.raw volumes/v4')).toBe('hit');
  expect(await outcome('--cache backups --key debian a.raw volumes/v5')).toBe('filled');
  expect(await ok('info volumes/v5')).toContain('parent: backups/image-cache.');
  await ok('namespace create volumes/ns');

  for (const [line, status] of [
    ['a.raw volumes/v1', 17],
    ['none.raw volumes/v9', 2],
    ['- volumes/v9', 22],
    ['/dev/null volumes/v9', 1],
    ['a.raw', 22],
    ['--size 1B a.raw volumes/v9', 22],
    ['--max-count x a.raw volumes/v9', 1],
    ['--max-size 0 a.raw volumes/v9', 1],
    ['--cache a/b/c a.raw volumes/v9', 1],
    ['--cache volumes a.raw volumes/ns/v9', 18],
    ['a.raw nopool/v9', 2],
  ] as const) {
    const result = await run(`image-cache clone ${line}`);
    expect([line, result.status]).toEqual([line, status]);
  }
  expect(await ok('ls volumes')).not.toContain('v9');
});
