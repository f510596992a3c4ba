import { spawnSync } from 'node:child_process';
import { constants } from 'node:fs';
import { mkdtemp, open, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { RbdeltaError } from '../../src/error.ts';
import { openFileImage, openFileToWrite } from '../../src/image/file.ts';

let dir: string;
let path: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-file-'));
  path = join(dir, 'image');
});
afterEach(() => rm(dir, { recursive: true }));

const extentsOf = async (image: Awaited<ReturnType<typeof openFileImage>>, offset: number, length: number) => {
  const extents: [number, number, boolean][] = [];
  await image.changedExtents(null, { offset, length }, (...extent) => extents.push(extent));
  return extents;
};

describe('a file as an image', () => {
  it('reads what is there, and says how large it is', async () => {
    await writeFile(path, 'hello world');
    const image = await openFileImage(path);
    expect(await image.info()).toMatchObject({ size: 11, name: 'image', snapshots: [], features: 0 });
    const into = Buffer.alloc(5);
    await image.read(6, into);
    expect(into.toString()).toBe('world');
    expect(await extentsOf(image, 2, 100)).toEqual([[2, 9, true]]);
    expect(await image.objectMap(null)).toBeNull();
    expect(await image.parent()).toBeNull();
    await image.close();
  });

  it('all of it may be data, however few blocks the file system says it uses', async () => {
    const target = await openFileToWrite(path, { size: 10_000_000 });
    expect((await stat(path)).blocks).toBe(0);
    expect(await extentsOf(target, 0, 10_000_000)).toEqual([[0, 10_000_000, true]]);
    await target.close();
  });

  it('a file that is missing, a directory, a character device: refused in one sentence', async () => {
    await expect(openFileImage(path)).rejects.toMatchObject({ code: 'notFound' });
    await expect(openFileImage(dir)).rejects.toMatchObject({ code: 'invalid' });
    await expect(openFileImage('/dev/null')).rejects.toMatchObject({ code: 'invalid' });
  });

  it('a read past the end is refused, not answered with zeros', async () => {
    await writeFile(path, 'abc');
    const image = await openFileImage(path);
    await expect(image.read(1, Buffer.alloc(5))).rejects.toMatchObject({ code: 'io' });
    await image.close();
  });
});

describe('a file as a target', () => {
  it('is created, written, grown with holes, cut', async () => {
    const image = await openFileToWrite(path);
    await image.resize(100_000);
    await image.write(50_000, Buffer.from('data'));
    await image.flush();
    expect((await image.info()).size).toBe(100_000);
    await image.resize(50_002);
    await image.resize(50_004);
    await image.close();
    const bytes = await readFile(path);
    expect(bytes.length).toBe(50_004);
    expect(bytes.subarray(50_000).toString()).toBe('da\0\0');
  });

  it('zeros are exact to the byte, in the middle and at the end', async () => {
    await writeFile(path, 'x'.repeat(3_000_000));
    const image = await openFileToWrite(path);
    await image.writeZeroes(5, 1_500_000);
    await image.writeZeroes(2_999_990, 10);
    await image.close();
    const expected = Buffer.alloc(3_000_000, 'x').fill(0, 5, 1_500_005).fill(0, 2_999_990);
    expect((await readFile(path)).equals(expected)).toBe(true);
  });

  it('is as long as it was after zeros at the end, whatever is written beside them', async () => {
    const piece = 4096;
    const image = await openFileToWrite(path, { size: 64 * piece });
    for (let round = 0; round < 20; round += 1) {
      await image.write(piece, Buffer.alloc(63 * piece, 'x'));
      await Promise.all([
        image.writeZeroes(32 * piece, 32 * piece),
        ...Array.from({ length: 31 }, (_, i) => image.writeZeroes((31 - i) * piece, piece)),
        image.write(0, Buffer.from('data')),
      ]);
      expect((await image.info()).size).toBe(64 * piece);
      expect((await stat(path)).size).toBe(64 * piece);
    }
    await image.close();
  });

  it('zeros where there are zeros already take no space', async () => {
    const image = await openFileToWrite(path, { size: 8 << 20 });
    await image.write(0, Buffer.from('x'));
    await image.writeZeroes(1 << 20, 4 << 20);
    await image.flush();
    await image.close();
    expect((await stat(path)).blocks * 512).toBeLessThan(1 << 20);
  });

  it('exclusive refuses a file that exists, and leaves it alone', async () => {
    await writeFile(path, 'mine');
    await expect(openFileToWrite(path, { exclusive: true, size: 10 })).rejects.toMatchObject({ code: 'exists' });
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('discarded, it is removed if opening made it, and kept if it was there', async () => {
    const made = await openFileToWrite(path, { size: 10 });
    await made.discard();
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
    await writeFile(path, 'mine');
    const found = await openFileToWrite(path);
    await found.discard();
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('a file that could not be made as long as asked is not left behind', async () => {
    const failure = await openFileToWrite(path, { size: Number.MAX_SAFE_INTEGER }).catch((error: unknown) => error);
    // Some file systems can make such a file.
    if (!(failure instanceof RbdeltaError)) return;
    expect(['tooLarge', 'invalid', 'noSpace']).toContain(failure.code);
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
  });

  it('has no snapshots, and says so', async () => {
    const image = await openFileToWrite(path);
    expect(image.hasSnapshots).toBe(false);
    await expect(image.createSnapshot('a')).rejects.toMatchObject({ code: 'unsupported' });
    await expect(image.rollback('a')).rejects.toThrow(/files have no snapshots/);
    await expect(image.changedExtents('a', { offset: 0, length: 1 }, () => {})).rejects.toThrow(/no snapshots/);
    await image.close();
  });
});

describe('a block device', () => {
  let device: string | null = null;
  beforeEach(async () => {
    await writeFile(path, Buffer.alloc(1_000_448, 'x'));
    const { status, stdout } = spawnSync('losetup', ['--find', '--show', path], { encoding: 'utf8' });
    device = status === 0 ? stdout.trim() : null;
  });
  afterEach(() => {
    if (device) spawnSync('losetup', ['--detach', device]);
  });

  it('is as long as it is, and reads', async (test) => {
    if (!device) return test.skip();
    const image = await openFileImage(device);
    expect((await image.info()).size).toBe(1_000_448);
    expect(await extentsOf(image, 1_000_000, 1_000_000)).toEqual([[1_000_000, 448, true]]);
    await image.close();
  });

  it('takes an image that is shorter, refuses one that is longer, and what an image grows by reads as zeros', async (test) => {
    if (!device) return test.skip();
    const image = await openFileToWrite(device);
    await expect(image.resize(1_000_449)).rejects.toMatchObject({ code: 'noSpace' });
    await image.resize(1000);
    expect((await image.info()).size).toBe(1000);
    await image.resize(2000);
    await image.writeZeroes(10, 5);
    await image.flush();
    await image.close();
    const bytes = await readFile(device);
    expect(bytes.equals(Buffer.alloc(1_000_448, 'x').fill(0, 10, 15).fill(0, 1000, 2000))).toBe(true);
  });

  it('one that somebody holds is busy', async (test) => {
    if (!device) return test.skip();
    const holder = await open(device, constants.O_RDWR | constants.O_EXCL);
    await expect(openFileToWrite(device)).rejects.toMatchObject({ code: 'busy' });
    await holder.close();
  });
});
