// The first write after a snapshot, on a file system that can share blocks between files: an object's bytes are not copied.

import { mkdir, mkdtemp, rm, statfs } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openLocalPool } from '../../../src/image/local/index.ts';
import { run, succeed } from '../../kit/command.ts';

const objectBytes = 4 << 20;
const objects = 8;
const spec = (snap: string | null) => ({ pool: 'rbd', namespace: '', image: 'disk', snap });

test('takes a few blocks on XFS, not the object; and snapshot and head have their own bytes', async ({ skip }) => {
  const folder = await mkdtemp(join(tmpdir(), 'rbdelta-xfs-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const [below, place] = [join(folder, 'below'), join(folder, 'place')];
  await mkdir(place);
  await succeed('truncate', ['-s', '512M', below]);
  const path = `${process.env['PATH'] ?? ''}:/usr/sbin:/sbin`;
  const script = 'mkfs.xfs -q -m reflink=1 "$1" && mount -o loop "$1" "$2"';
  const { status, stderr } = await run('sh', ['-c', script, 'sh', below, place], { env: { PATH: path } });
  // CI is root, and would have tested nothing
  if (status !== 0 && process.env['CI']) throw new Error(stderr);
  if (status !== 0) return skip(`no XFS can be made or mounted here: ${stderr.trim()}`);

  const pool = await openLocalPool(join(place, 'pool'));
  onTestFinished(async () => {
    await pool.close();
    await succeed('umount', ['-l', place]);
  });
  await pool.createPool('rbd');
  await pool.create(spec(null), { size: objects * objectBytes });
  const image = await pool.openToWrite(spec(null));
  await image.write(0, Buffer.alloc(objects * objectBytes, 1));
  await image.createSnapshot('s');
  const free = async () => {
    await image.flush();
    const { bfree, bsize } = await statfs(place);
    return bfree * bsize;
  };
  const before = await free();
  for (let object = 0; object < objects; object += 1) await image.write(object * objectBytes, Buffer.alloc(4096, 2));
  expect(before - (await free())).toBeLessThan(objectBytes);

  const snapshot = await pool.open(spec('s'));
  for (const [opened, first] of [
    [image, 2],
    [snapshot, 1],
  ] as const) {
    const bytes = Buffer.alloc(objects * objectBytes);
    await opened.read(0, bytes);
    const expected = Buffer.alloc(objects * objectBytes, 1);
    for (let object = 0; object < objects; object += 1)
      expected.fill(first, object * objectBytes, object * objectBytes + 4096);
    expect(bytes.equals(expected)).toBe(true);
  }
  await snapshot.close();
  await image.close();
});
