// A disk that fails when what was written has to reach it: no later flush says that it is there.

import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { openLocalPool } from '../../../src/image/local/index.ts';
import { run, succeed } from '../../kit/command.ts';
import { fill, smallDisk } from '../../kit/small-disk.ts';

const objectBytes = 1 << 20;
const spec = { pool: 'rbd', namespace: '', image: 'disk', snap: null };

test('after a flush that failed, none succeeds until the image was opened again', async ({ skip }) => {
  const disk = await smallDisk(16);
  if (typeof disk === 'string') return skip(disk);
  // a disk with a file system that has more room than what is below it: to write is possible, to keep it is not
  const [below, place] = [join(disk.path, 'below'), join(disk.path, 'place')];
  await mkdir(place);
  await succeed('truncate', ['-s', '64M', below]);
  await succeed('mkfs.ext2', ['-q', '-b', '4096', below]);
  const { status, stderr } = await run('mount', ['-o', 'loop,errors=continue', below, place]);
  if (status !== 0) {
    await disk.unmount();
    return skip(`a file cannot be mounted here: ${stderr}`);
  }

  const pool = await openLocalPool(join(place, 'pool'));
  onTestFinished(async () => {
    await pool.close();
    await succeed('umount', ['-l', place]);
    await disk.unmount();
  });
  await pool.createPool('rbd');
  await pool.create(spec, { size: 16 * objectBytes, order: 20 });
  const image = await pool.openToWrite(spec);
  await image.write(0, Buffer.alloc(objectBytes, 1));
  await image.flush();
  const free = fill(disk.path);
  await image.write(4 * objectBytes, Buffer.alloc(4 * objectBytes, 2));
  await expect(image.flush()).rejects.toThrow(/fdatasync|fsync/);
  free();
  // what could not be written is no longer tried by the system
  await expect(image.flush()).rejects.toMatchObject({
    code: 'io',
    message: expect.stringContaining('may be lost') as string,
  });
  await expect(image.createSnapshot('s')).rejects.toMatchObject({ code: 'io' });
  await expect(image.close()).rejects.toMatchObject({ code: 'io' });

  const again = await pool.openToWrite(spec);
  await again.write(4 * objectBytes, Buffer.alloc(4 * objectBytes, 3));
  await again.flush();
  await again.createSnapshot('s');
  await again.close();
});
