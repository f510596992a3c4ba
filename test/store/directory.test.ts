import { execFileSync } from 'node:child_process';
import { chmod, mkdir, mkdtemp, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/port.ts';
import { collect, keysOf, storeSuite } from '../suites/store.ts';

storeSuite('a directory', async () => {
  const path = await mkdtemp(join(tmpdir(), 'rbdelta-store-'));
  return {
    store: await openStore(path),
    async leaveBehind(key) {
      const at = key.lastIndexOf('/') + 1;
      await mkdir(join(path, key.slice(0, at)), { recursive: true });
      await writeFile(join(path, key.slice(0, at), `.rbdelta-0123456789ab-${key.slice(at)}`), 'half');
      return 4;
    },
    enforcesCreate: true,
    dispose: () => rm(path, { recursive: true }),
  };
});

describe('a directory', () => {
  let outer: string;
  let path: string;
  let store: Store;

  beforeAll(async () => {
    outer = await mkdtemp(join(tmpdir(), 'rbdelta-store-'));
    path = join(outer, 'store');
    store = await openDirectoryStore(path, { create: true });
  });
  afterAll(() => rm(outer, { recursive: true }));

  const everything = async (): Promise<string[]> => (await readdir(path, { recursive: true })).sort();
  const bytes = Buffer.from('bytes');

  test('is made when asked for, for its owner only, and opened again', async () => {
    const deep = join(outer, 'x/y/z');
    await expect(openDirectoryStore(deep)).rejects.toMatchObject({
      code: 'notFound',
      message: `cannot open the directory "${deep}": it does not exist`,
    });
    await openDirectoryStore(deep, { create: true });
    expect((await stat(deep)).mode & 0o777).toBe(0o700);
    await openDirectoryStore(deep, { create: true });
    await openDirectoryStore(deep);
  });

  test('that is a file, or below one, is refused', async () => {
    const file = join(outer, 'file');
    await writeFile(file, '');
    for (const create of [false, true]) {
      await expect(openDirectoryStore(file, { create })).rejects.toMatchObject({
        code: 'invalid',
        message: `cannot open the directory "${file}": it is a file`,
      });
      await expect(openDirectoryStore(join(file, 'x'), { create })).rejects.toMatchObject({ code: 'invalid' });
    }
  });

  test('may be a link itself, and messages call it what the user called it', async () => {
    const link = join(outer, 'link');
    await symlink(path, link);
    const linked = await openDirectoryStore(link);
    await linked.put('through', bytes);
    expect(await store.get('through', 10)).toEqual(bytes);
    expect(linked.nameOf('a/b')).toBe(`"${link}/a/b"`);
    await linked.remove(['through']);
    expect(await everything()).toEqual([]);
  });

  test('links in it are not followed', async () => {
    const other = join(outer, 'other');
    await mkdir(join(other, 'deep'), { recursive: true });
    await writeFile(join(other, 'secret'), 'secret');
    await symlink(other, join(path, 'linked'));
    await symlink(join(other, 'secret'), join(path, 'secret'));
    const refused = { code: 'invalid', message: expect.stringMatching(/symbolic link/) };
    await expect(store.get('linked/secret', 10)).rejects.toMatchObject(refused);
    await expect(store.get('secret', 10)).rejects.toMatchObject(refused);
    await expect(store.stat('linked/deep/x')).rejects.toMatchObject(refused);
    await expect(store.put('linked/new', bytes)).rejects.toMatchObject(refused);
    await expect(store.put('linked/new/er', bytes)).rejects.toMatchObject(refused);
    await expect(store.remove(['linked/secret'])).rejects.toMatchObject(refused);
    await expect(keysOf(store, 'linked/')).rejects.toMatchObject(refused);
    expect(await keysOf(store)).toEqual([]);
    expect(await collect(store.folders(''))).toEqual([]);
    expect(await readdir(other)).toEqual(['deep', 'secret']);
    // The link is a name in the store: that is replaced, not what it leads to.
    await store.put('secret', bytes);
    expect(await store.get('secret', 10)).toEqual(bytes);
    await rm(join(path, 'linked'));
    await store.remove(['secret']);
  });

  test('a pipe does not hang anybody', async () => {
    execFileSync('mkfifo', [join(path, 'pipe')]);
    expect(await store.get('pipe', 10)).toBeNull();
    expect(await keysOf(store)).toEqual([]);
    await rm(join(path, 'pipe'));
  });

  test('what others keep there is neither listed nor removed with its folder', async () => {
    await mkdir(join(path, 'a'));
    await writeFile(join(path, 'a', '.DS_Store'), '');
    await writeFile(join(path, 'a', 'not a key'), '');
    await store.put('a/ours', bytes);
    expect(await keysOf(store)).toEqual(['a/ours']);
    expect(await collect(store.leftovers(''))).toEqual([]);
    await store.remove(['a/ours']);
    expect(await everything()).toEqual(['a', 'a/.DS_Store', 'a/not a key']);
    await rm(join(path, 'a'), { recursive: true });
  });

  test('no folder stays when the last object in it goes, or was never written', async () => {
    await store.put('a/b/c/d', bytes);
    await store.put('a/e', bytes);
    await store.remove(['a/b/c/d']);
    expect(await everything()).toEqual(['a', 'a/e']);
    await store.remove(['a/e']);
    const failing = function* (): Generator<Uint8Array> {
      yield bytes;
      throw new Error('made up');
    };
    await expect(store.write('x/y/z', failing(), { maxBytes: 100 })).rejects.toThrow('made up');
    await store.nowMs();
    await store.enforcesCreate('p/q/');
    expect(await everything()).toEqual([]);
  });

  test('writers and removers of one folder do not get in each other’s way', async () => {
    const other = await openDirectoryStore(path);
    const turns = async (each: Store, key: string): Promise<void> => {
      for (let i = 0; i < 100; i++) {
        await each.put(key, bytes);
        await each.remove([key]);
      }
    };
    await Promise.all([turns(store, 'p/i/lock/1'), turns(other, 'p/i/lock/2'), turns(store, 'p/i/lock/3')]);
    expect(await everything()).toEqual([]);
  });

  test('a file where a folder should be, and a folder where a file should be, are said to be so', async () => {
    await store.put('a', bytes);
    await expect(store.put('a/b', bytes)).rejects.toMatchObject({
      code: 'invalid',
      message: `cannot write "${path}/a/b": a part of the path is not a directory`,
    });
    await store.remove(['a']);
    await store.put('a/b', bytes);
    await expect(store.put('a', bytes)).rejects.toMatchObject({
      name: 'RbdeltaError',
      message: expect.stringContaining(`"${path}/a"`),
    });
    await store.remove(['a/b']);
    expect(await everything()).toEqual([]);
  });

  test('a file that may not grow leaves nothing, and is named', async () => {
    const limited = new URL('./directory-refused.ts', import.meta.url).pathname;
    const said = execFileSync('bash', ['-c', `trap '' XFSZ; ulimit -f 64; exec npx tsx "$0" "$1"`, limited, path]);
    expect(JSON.parse(said.toString())).toEqual({
      code: 'tooLarge',
      message: `cannot write "${path}/a/large": the file is too large for its file system`,
    });
    expect(await everything()).toEqual([]);
  });

  test('what may not be written is a matter of permission', async () => {
    await chmod(path, 0o500);
    // root may write everywhere, unless it has dropped the capability to
    const asAnyone = process.getuid?.() === 0 ? ['setpriv', '--bounding-set', '-dac_override'] : ['env'];
    const limited = new URL('./directory-refused.ts', import.meta.url).pathname;
    const said = execFileSync(asAnyone[0]!, [...asAnyone.slice(1), 'npx', 'tsx', limited, path]);
    await chmod(path, 0o700);
    expect(JSON.parse(said.toString())).toEqual({
      code: 'permission',
      message: `cannot write "${path}/a/large": permission denied`,
    });
    expect(await everything()).toEqual([]);
  });

  test('a writer that is killed leaves only what leftovers shows', async () => {
    const writer = new URL('./directory-killed.ts', import.meta.url).pathname;
    expect(() => execFileSync('npx', ['tsx', writer, path], { stdio: 'ignore' })).toThrow(/Command failed/);
    expect(await keysOf(store)).toEqual([]);
    const found = await collect(store.leftovers(''));
    expect(found).toMatchObject([{ key: 'p/i/object', bytes: 1000 }]);
    await store.removeLeftover(found[0]!);
    await expect(store.removeLeftover({ id: 'p/i/object', key: 'p/i/object' })).rejects.toMatchObject({
      code: 'invalid',
    });
    await expect(store.removeLeftover({ id: '../.rbdelta-0123456789ab-x', key: 'x' })).rejects.toMatchObject({
      code: 'invalid',
    });
    expect(await everything()).toEqual([]);
  });
});

test('a place that is neither a directory nor S3 is refused', async () => {
  await expect(openStore('http://somewhere/x')).rejects.toMatchObject({ code: 'usage' });
});
