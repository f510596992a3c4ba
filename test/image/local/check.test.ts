// A check finds a pool sound after any history, and tells what damage and leftovers are; a repair loses nothing.

import fc from 'fast-check';
import { appendFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { snapshotKey } from '../../../src/format/rbd-header.ts';
import { findImage, headerKey, loadHeader } from '../../../src/image/local/header.ts';
import { type LocalPool, openLocalPool } from '../../../src/image/local/index.ts';
import { mapKey, OpenMap } from '../../../src/image/local/object-maps.ts';
import { ObjectTable } from '../../../src/image/local/objects.ts';
import { objectKey, openStore, type Store } from '../../../src/image/local/store.ts';
import { noteTrim } from '../../../src/image/local/trim.ts';
import { Bytes, perform, steps } from './history.ts';

const objectBytes = 4096;
const most = 12 * objectBytes;
const at = { pool: 'volumes', namespace: '', image: 'disk', snap: null };
const child = { ...at, image: 'child' };

let dir: string;
let pool: LocalPool;
let store: Store;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-check-'));
  pool = await openLocalPool(dir);
  await pool.createPool('volumes');
  store = await openStore(dir);
});
afterEach(async () => {
  await store.close();
  await pool.close();
  await rm(dir, { recursive: true });
});

const texts = async (repair = false): Promise<string[]> => {
  // what another handle of this process has put is seen a turn of the event loop later
  await sleep(10);
  return (await pool.check(null, { repair })).findings.map(
    ({ state, image, text, repaired }) => `${state} ${image ?? '-'}: ${text}${repaired ? ' (repaired)' : ''}`,
  );
};

/** A parent with a snapshot that has been written over, and a clone with a copy-up. */
async function family(): Promise<void> {
  await pool.create(at, { size: most, order: 12 });
  const image = await pool.openToWrite(at);
  await image.write(0, Buffer.alloc(3 * objectBytes, 1));
  await image.createSnapshot('s');
  await image.write(0, Buffer.alloc(objectBytes, 2));
  await image.close();
  await pool.clone({ ...at, snap: 's' }, child, { cloneFormat: 2 });
  const clone = await pool.openToWrite(child);
  await clone.write(100, Buffer.from('mine'));
  await clone.close();
}

test.each([false, true])('sound after random histories (of a clone: %s)', async (cloned) => {
  await fc.assert(
    fc.asyncProperty(steps(most, objectBytes), async (history) => {
      const model = new Bytes(most);
      if (cloned) {
        await family();
        const shown = await pool.open(child);
        await shown.read(0, model.head);
        await shown.close();
      } else await pool.create(child, { size: most, order: 12 });
      const image = await pool.openToWrite(child);
      for (const step of history) {
        const applied = model.apply(step);
        if (applied !== null && applied.do !== 'reopen') await perform(image, applied);
      }
      const [{ snapshots }, busy] = [await image.info(), await texts()];
      expect(busy).toEqual(['note child: it is open to write: passed over']);
      await image.close();
      expect(await texts()).toEqual([]);
      const again = await pool.openToWrite(child);
      for (const { name } of snapshots) await again.removeSnapshot(name);
      await again.close();
      await pool.remove(child);
      if (cloned) {
        const parent = await pool.openToWrite(at);
        await parent.removeSnapshot('s');
        await parent.close();
        await pool.remove(at);
      }
      expect(await texts()).toEqual([]);
    }),
    { numRuns: 15, seed: 4 },
  );
});

test('leftovers of a crash are told and removed', async () => {
  await family();
  const image = findImage(store, at);
  const directory = dirname(
    join(dir, 'objects', String(image.dataPoolId), image.prefix.slice('rbd_data.'.length), 'x'),
  );
  const group = join(directory, (await readdir(directory))[0]!);
  await writeFile(join(group, '0000000000000000.ff-1'), 'left');
  await mkdir(join(dir, 'objects', '1', '0123456789ab'), { recursive: true });
  await writeFile(join(dir, 'objects', '1', '0123456789ab', 'file'), 'left too');
  store.transact(() => {
    noteTrim(store, image, 77);
    void store.omap.put(Buffer.concat([objectKey(1, '', 'rbd_header.feed'), Buffer.from('order')]), Buffer.from([22]));
  });
  const found = [
    'leftover disk: the removal of snapshot 77 is not finished',
    'leftover -: object rbd_header.feed belongs to no image',
    'leftover -: 2 files of 12 bytes that nothing names',
  ];
  expect((await texts()).toSorted()).toEqual(found.toSorted());
  expect((await texts(true)).toSorted()).toEqual(found.map((text) => `${text} (repaired)`).toSorted());
  expect(await texts()).toEqual([]);
});

test('files of pools that are no more are told and removed, those of pools that were never there are a problem', async () => {
  await family();
  const leave = async (poolId: number) => {
    const path = join(dir, 'objects', String(poolId), '0123456789ab');
    await mkdir(path, { recursive: true });
    await writeFile(join(path, 'file'), 'left');
  };
  const gone = await pool.createPool('gone');
  await leave(gone);
  expect(await texts()).toEqual(['leftover -: 1 file of 4 bytes that nothing names']);
  await pool.removePool('gone');
  expect(await texts()).toEqual([]);
  await leave(gone);
  await leave(gone + 7);
  const [left, unknown] = [
    'leftover -: 1 file of 4 bytes of a pool that is no more',
    'problem -: 1 file of 4 bytes of a pool that the database does not know',
  ];
  expect(await texts()).toEqual([left, unknown]);
  expect(await texts(true)).toEqual([left, unknown]);
  await rm(join(dir, 'objects', String(gone + 7)), { recursive: true });
  expect(await texts(true)).toEqual([`${left} (repaired)`]);
  expect((await readdir(join(dir, 'objects'))).toSorted()).toEqual(['1']);
});

test('a wrong object map is found and made anew', async () => {
  await family();
  const map = new OpenMap(store, mapKey(findImage(store, at), null));
  await map.set(1, 0);
  expect(await texts()).toEqual([
    'problem disk: the object map of the head is wrong about 1 object',
    'note -: files were not looked at, since something is wrong with the records',
  ]);
  expect(await texts(true)).toContain('problem disk: the object map of the head is wrong about 1 object (repaired)');
  expect(await texts()).toEqual([]);
});

test('damage is found, and nothing is removed because of it', async () => {
  await family();
  const image = findImage(store, at);
  const table = new ObjectTable(store, image);
  const object = table.get(0)!;
  await table.put(0, { ...object, clones: object.clones.map((clone) => ({ ...clone, snaps: [5, 6] })) });
  expect(await texts()).toContainEqual(
    expect.stringMatching(/^problem disk: object 0: clone \d+ serves snapshots that/),
  );
  expect(await texts(true)).toContainEqual(
    expect.stringMatching(/^problem disk: object 0: clone \d+ serves snapshots/),
  );
  await table.put(0, object);
  expect(await texts()).toEqual([]);
  const file = object.clones[0]!.file;
  const path = join(dir, 'objects', '1', image.id, '000000', `0000000000000000.${file}`);
  await appendFile(path, 'more');
  expect(await texts()).toContainEqual(expect.stringMatching(/its file 4100$/));
  store.transact(() => void store.content.remove(objectKey(1, '', 'rbd_id.disk')));
  expect(await texts()).toContain('problem disk: rbd_id and rbd_directory are not the same');
});

test('a file that is gone is damage, of the head and of a snapshot', async () => {
  await family();
  const image = findImage(store, at);
  const { head, clones } = new ObjectTable(store, image).get(0)!;
  const path = (file: string) => join(dir, 'objects', '1', image.id, '000000', `0000000000000000.${file}`);
  await rm(path(head!));
  expect(await texts()).toContain(`problem disk: object 0: its file is gone: ${path(head!)}`);
  await rm(path(clones[0]!.file));
  const { id, file } = clones[0]!;
  expect(await texts(true)).toContain(`problem disk: object 0: the file of clone ${id} is gone: ${path(file)}`);
  const snapshot = await pool.open({ ...at, snap: 's' });
  await expect(snapshot.read(0, Buffer.alloc(16))).rejects.toMatchObject({ code: 'corrupt' });
  await snapshot.close();
});

test('a problem comes with what to do: who reads what is damaged, what can be made anew', async () => {
  await family();
  await new OpenMap(store, mapKey(findImage(store, at), null)).set(1, 0);
  const hints = async () => {
    await sleep(10);
    return (await pool.check(null)).findings.map(({ state, hint }) => [state, hint]);
  };
  expect(await hints()).toEqual([
    ['problem', 'rbdelta pool check --repair makes it anew'],
    ['note', undefined],
  ]);
  await rm(join(dir, 'objects'), { recursive: true });
  expect(await hints()).toContainEqual([
    'problem',
    expect.stringMatching(/^restore volumes\/disk \(its clones read from it: volumes\/child\) from a backup/),
  ]);
  store.transact(() => void store.content.remove(objectKey(1, '', 'rbd_id.disk')));
  expect(await hints()).toContainEqual(['problem', expect.stringMatching(/^put the directory of the pool back/)]);
});

test('a clone whose snapshot is not there is a problem', async () => {
  await family();
  const parent = findImage(store, at);
  const { id } = loadHeader(store, parent).snapshots[0]!;
  store.transact(() => void store.omap.remove(headerKey(parent, snapshotKey(id))));
  expect(await texts()).toContain(`problem child: its parent ${parent.id} has no snapshot ${id} any more`);
});

test('a clone and its parent must know each other', async () => {
  await family();
  const parent = findImage(store, at);
  const header = Buffer.concat([objectKey(1, '', `rbd_header.${findImage(store, child).id}`), Buffer.from('parent')]);
  const link = store.omap.get(header)!;
  store.transact(() => void store.omap.remove(header));
  expect(await texts()).toContainEqual(expect.stringMatching(/^leftover disk: it lists image \w+ as a clone/));
  store.transact(() => void store.omap.put(header, link));
  expect(await texts()).toEqual([]);
  const key = [...store.omap.getKeys({})].map((k) => Buffer.from(k)).find((k) => k.includes('snap_children_'))!;
  store.transact(() => void store.omap.remove(key));
  expect(await texts()).toContain(`problem child: its parent ${parent.id} does not list it among its clones`);
});
