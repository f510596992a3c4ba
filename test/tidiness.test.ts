// The rules of the code that a machine can check: who imports whom, who may print, what stands where.

import { execFile } from 'node:child_process';
import { access, constants, readdir, readFile } from 'node:fs/promises';
import { dirname, join, normalize } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';

/** Rooms of src/ from the lowest; rooms of one line do not know each other. */
const levels = [
  ['error'],
  ['bytes'],
  ['format'],
  ['diff'],
  ['image', 'store'],
  ['repo'],
  ['ops', 'serve'],
  ['index', 'cli'],
];
/** Adapters of one port do not know each other either. */
const adapters = ['image/ceph', 'image/local', 'image/file'];

const listFiles = async (folder: string, ends: RegExp): Promise<string[]> =>
  (await readdir(folder, { recursive: true }))
    .map((name) => `${folder}/${name}`)
    .filter((name) => ends.test(name))
    .sort();

// What runs in threads is plain JavaScript.
const sources = await listFiles('src', /\.[jt]s$/);
const texts = new Map(await Promise.all(sources.map(async (path) => [path, await readFile(path, 'utf8')] as const)));
const exists = (path: string): Promise<boolean> =>
  access(path).then(
    () => true,
    () => false,
  );

/** The text without comments, so that a rule may be talked about. */
const code = (text: string): string => text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/(^|\s)\/\/.*$/gm, '$1');

const importsOf = (text: string): string[] =>
  [...code(text).matchAll(/(?:\bfrom|\bimport\(|\brequire\(|^import)\s*'([^']+)'/gm)].map((match) => match[1] ?? '');

const room = (path: string): string =>
  path
    .replace(/^src\//, '')
    .replace(/\.[jt]s$/, '')
    .split('/')[0] ?? '';
const level = (path: string): number => levels.findIndex((rooms) => rooms.includes(room(path)));

describe('src/', () => {
  test('every file stands in a room of the map', () => {
    expect(sources.filter((path) => level(path) < 0)).toEqual([]);
  });

  test('imports point down, and not sideways', () => {
    const wrong = [...texts].flatMap(([path, text]) =>
      importsOf(text)
        .filter((target) => target.startsWith('.'))
        .map((target) => normalize(join(dirname(path), target)))
        .filter((target) => room(target) !== room(path) && level(target) >= level(path))
        .map((target) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test('adapters do not import each other', () => {
    const adapter = (path: string): string | undefined => adapters.find((name) => path.startsWith(`src/${name}`));
    const wrong = [...texts].flatMap(([path, text]) =>
      importsOf(text)
        .map((target) => adapter(normalize(join(dirname(path), target))))
        .filter((target) => target !== undefined && adapter(path) !== undefined && target !== adapter(path))
        .map((target) => `${path} imports ${target}`),
    );
    expect(wrong).toEqual([]);
  });

  test.each([
    ['koffi', 'src/image/ceph/'],
    ['lmdb', 'src/image/local/'],
    ['@aws-sdk/', 'src/store/s3'],
    ['yargs', 'src/cli/'],
  ])('only one place imports %s: %s', (name, place) => {
    const wrong = [...texts].filter(
      ([path, text]) => !path.startsWith(place) && importsOf(text).some((target) => target.startsWith(name)),
    );
    expect(wrong.map(([path]) => path)).toEqual([]);
  });

  test('nothing outside src/cli prints, exits, reads the environment or takes signals', () => {
    const forbidden =
      /\bconsole\.|\bprocess\.(stdout|stderr|stdin|exit|exitCode|env|argv|on|once)\b|['"](node:)?process['"]/;
    // The AWS SDK prints unless a variable forbids it: set for the moment in which a client is made.
    const exempt = (path: string): boolean => path.startsWith('src/cli/') || path === 'src/store/s3-client.ts';
    const wrong = [...texts].filter(([path, text]) => !exempt(path) && forbidden.test(code(text)));
    expect(wrong.map(([path, text]) => `${path}: ${forbidden.exec(code(text))?.[0]}`)).toEqual([]);
  });

  test('a file says in its first line what it is for', () => {
    const wrong = [...texts].filter(([, text]) => !/^(#!.*\n)?(\/\/ \S|\/\*\* \S)/.test(text));
    expect(wrong.map(([path]) => path)).toEqual([]);
  });

  test('a file is one concept: at most 400 lines, and no drawer for the rest', () => {
    const long = [...texts].filter(([, text]) => text.split('\n').length > 401).map(([path]) => path);
    const drawers = sources.filter((path) => /\/(utils?|helpers?|common|misc|manager)\b/.test(path));
    expect([...long, ...drawers]).toEqual([]);
  });
});

describe('formats/', async () => {
  const folders = (await readdir('formats', { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const names = folders.map((entry) => entry.name);
  const specOf = (path: string): string =>
    /formats\/([\w-]+)\/spec\.md/.exec(texts.get(path)?.split('\n')[0] ?? '')?.[1] ?? '';
  // A format has one codec by its name, or by its name and a part of it (archive-index).
  const codecsOf = (name: string): string[] =>
    sources.filter((path) => new RegExp(`^src/format/${name}(-[\\w-]+)?\\.ts$`).test(path) && specOf(path) === name);

  test.each(names)('%s has a spec, vectors, a codec that names the spec, a test', async (name) => {
    expect(await exists(`formats/${name}/spec.md`)).toBe(true);
    expect(await readdir(`formats/${name}/vectors`)).not.toEqual([]);
    const tests = codecsOf(name).map((path) => path.replace(/^src\/(.*)\.ts$/, 'test/$1.test.ts'));
    expect((await Promise.all(tests.map(exists))).some(Boolean)).toBe(true);
  });

  test('a file that names a spec names one that there is', () => {
    const wrong = sources.filter((path) => specOf(path) !== '' && !names.includes(specOf(path)));
    expect(wrong).toEqual([]);
  });
});

describe('package', async () => {
  const manifest = JSON.parse(await readFile('package.json', 'utf8'));
  const readme = await readFile('README.md', 'utf8');

  test('the dependencies are those of the table in README.md: the first `name` of each row', () => {
    const section = readme.split(/^#+ /m).find((part) => /^dependenc/i.test(part)) ?? '';
    const rows = section.split('\n').filter((line) => line.startsWith('|'));
    const told = rows.map((row) => /`([^`]+)`/.exec(row)?.[1]).filter((name) => name !== undefined);
    const used = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
    expect(told.sort()).toEqual(used.sort());
  });

  test('every dependency is used', () => {
    const imported = new Set([...texts.values()].flatMap(importsOf));
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies });
    const named = (name: string): boolean =>
      [...imported].some((target) => target === name || target.startsWith(`${name}/`));
    expect(declared.filter((name) => !named(name))).toEqual([]);
  });

  test('the lock file is whole for every platform (node test/kit/complete-lock.mjs) and names no address', async () => {
    await promisify(execFile)(process.execPath, ['test/kit/complete-lock.mjs', '--check']);
    expect(await readFile('package-lock.json', 'utf8')).not.toContain('"resolved"');
  });

  test('every example is run by a test or by .ci/run', async () => {
    const tests = await listFiles('test', /\.test\.ts$/);
    const runs = await Promise.all(['.ci/run', ...tests].map((path) => readFile(path, 'utf8')));
    const examples = await readdir('examples');
    expect(examples).not.toEqual([]);
    expect(examples.filter((name) => !runs.some((text) => text.includes(`examples/${name}`)))).toEqual([]);
  });

  test('every command that README.md shows with ./ can be run', async () => {
    const commands = [...readme.matchAll(/^(\.\/\S+)/gm)].map((match) => match[1] ?? '');
    expect(commands).not.toEqual([]);
    await Promise.all(commands.map((path) => access(path, constants.X_OK)));
  });
});
