// A small family of images, and what can be done to it in one operation.

import { ByteReader } from '../../../src/bytes/reader.ts';
import { bytesSource } from '../../../src/bytes/source.ts';
import type { LocalPool } from '../../../src/image/local/index.ts';
import type { ClusterImage } from '../../../src/image/port.ts';
import type { ImageSpec } from '../../../src/image/spec.ts';
import { importDiff } from '../../../src/ops/import-diff.ts';

const objectBytes = 4096;
const size = 8 * objectBytes;
export const spec = (image: string, snap: string | null = null): ImageSpec => ({
  pool: 'volumes',
  namespace: '',
  image,
  snap,
});

async function writing(pool: LocalPool, image: string, use: (image: ClusterImage) => Promise<unknown>): Promise<void> {
  const opened = await pool.openToWrite(spec(image));
  try {
    await use(opened);
  } finally {
    await opened.close();
  }
}

/** `disk` with two snapshots, `base` with a protected one and clones of both formats, `warm` to be opened only, and some to go. */
export async function makeFamily(pool: LocalPool): Promise<void> {
  await pool.createPool('volumes');
  await pool.createPool('spare');
  for (const image of ['disk', 'base', 'spare', 'warm']) await pool.create(spec(image), { size, order: 12 });
  await writing(pool, 'disk', async (disk) => {
    await disk.write(0, Buffer.alloc(size, 1));
    await disk.createSnapshot('s1');
    await disk.write(0, Buffer.alloc(3 * objectBytes + 100, 2));
    await disk.writeZeroes(4 * objectBytes, objectBytes);
    await disk.createSnapshot('s2');
    await disk.write(objectBytes, Buffer.alloc(5 * objectBytes, 3));
  });
  await writing(pool, 'base', async (base) => {
    await base.write(0, Buffer.alloc(5 * objectBytes, 7));
    await base.createSnapshot('s');
    await base.protectSnapshot('s');
  });
  await writing(pool, 'spare', async (spare) => {
    await spare.createSnapshot('s');
    await spare.protectSnapshot('s');
  });
  await pool.clone(spec('base', 's'), spec('kid'), { cloneFormat: 2 });
  await pool.clone(spec('base', 's'), spec('old'), { cloneFormat: 1 });
  for (const image of ['kid', 'old']) {
    await writing(pool, image, async (kid) => {
      await kid.write(objectBytes, Buffer.from('mine'));
      await kid.createSnapshot('k');
    });
  }
  await pool.create(spec('gone'), { size, order: 12 });
  await writing(pool, 'gone', (gone) => gone.write(0, Buffer.alloc(size, 9)));
  await pool.createNamespace('volumes', 'empty');
  await pool.setMetadata(spec('gone'), 'key', 'value');
  await pool.create(spec('binned'), { size, order: 12 });
  await writing(pool, 'binned', (binned) => binned.write(0, Buffer.alloc(size, 5)));
  await pool.moveToTrash(spec('binned'), null);
}

/** The image in the trash, as it is named there. */
async function binned(pool: LocalPool): Promise<ImageSpec> {
  const [image] = await pool.trash('volumes', '');
  return { ...spec(''), id: image!.id };
}

export interface Operation {
  run(pool: LocalPool): Promise<void>;
  /** Not all or nothing: bytes of this image's head may be old or new, one by one. */
  bytesOf?: string;
}

const on = (image: string, use: (image: ClusterImage) => Promise<unknown>, isBytewise = false): Operation => ({
  run: (pool) => writing(pool, image, use),
  ...(isBytewise ? { bytesOf: image } : {}),
});

export const operations: Record<string, Operation> = {
  'pool create': { run: async (pool) => void (await pool.createPool('another')) },
  'pool rm': { run: (pool) => pool.removePool('spare') },
  'pool set-quota': { run: (pool) => pool.setQuota('volumes', { maxObjects: 1000 }) },
  'namespace create': { run: (pool) => pool.createNamespace('volumes', 'ns') },
  'namespace rm': { run: (pool) => pool.removeNamespace('volumes', 'empty') },
  create: { run: (pool) => pool.create(spec('new'), { size: 1 << 20, stripeUnit: 65536, stripeCount: 3 }) },
  'write and flush': on(
    'disk',
    async (disk) => {
      await disk.write(0, Buffer.alloc(2 * objectBytes, 4));
      await disk.flush();
      await disk.write(5 * objectBytes + 7, Buffer.alloc(objectBytes, 5));
      await disk.flush();
    },
    true,
  ),
  zero: on('disk', (disk) => disk.writeZeroes(100, 4 * objectBytes), true),
  'snap create': on('disk', (disk) => disk.createSnapshot('s3')),
  'snap rm': on('disk', (disk) => disk.removeSnapshot('s1')),
  'snap rm of the newest': on('disk', (disk) => disk.removeSnapshot('s2')),
  'snap rename': on('disk', (disk) => disk.renameSnapshot('s1', 'first')),
  'snap protect': on('disk', (disk) => disk.protectSnapshot('s1')),
  'snap unprotect': on('spare', (spare) => spare.unprotectSnapshot('s')),
  'snap limit': on('disk', (disk) => disk.limitSnapshots(5)),
  'snap rollback': on('disk', (disk) => disk.rollback('s1')),
  'resize down': on('disk', (disk) => disk.resize(3 * objectBytes + 50)),
  'resize up': on('disk', (disk) => disk.resize(3 * size)),
  clone: { run: (pool) => pool.clone(spec('base', 's'), spec('new'), { cloneFormat: 1 }) },
  'clone of format 2': { run: (pool) => pool.clone(spec('base', 's'), spec('new'), { cloneFormat: 2 }) },
  'copy-up': on('kid', (kid) => kid.write(2 * objectBytes + 10, Buffer.alloc(objectBytes, 6)), true),
  'resize of a clone': on('kid', (kid) => kid.resize(2 * objectBytes + 50)),
  flatten: on('kid', (kid) => kid.flatten()),
  'flatten of format 1': on('old', (old) => old.flatten()),
  rename: { run: (pool) => pool.rename(spec('disk'), 'other') },
  'trash mv': { run: (pool) => pool.moveToTrash(spec('kid'), null) },
  'trash restore': { run: async (pool) => pool.restoreFromTrash(await binned(pool), null) },
  'trash rm': { run: async (pool) => pool.removeFromTrash(await binned(pool), false) },
  'image-meta set': { run: (pool) => pool.setMetadata(spec('disk'), 'key', 'value') },
  'image-meta rm': { run: (pool) => pool.removeMetadata(spec('gone'), 'key') },
  rm: { run: (pool) => pool.remove(spec('gone')) },
  'object-map check': on('disk', (disk) => disk.checkObjectMap(null)),
  'object-map rebuild': on('disk', (disk) => disk.rebuildObjectMap('s1')),
  'object-map rebuild of the head': on('disk', (disk) => disk.rebuildObjectMap(null)),
  import: {
    bytesOf: 'warm',
    run: (pool) =>
      writing(pool, 'warm', (warm) =>
        importDiff(warm, (snap) => pool.open(spec('warm', snap)), new ByteReader(bytesSource(stream()))),
      ),
  },
};

/** A diff from the beginning, with an end snapshot. */
function stream(): Buffer {
  const u64 = (value: number) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64LE(BigInt(value));
    return bytes;
  };
  const name = Buffer.from('\x03\0\0\0end', 'latin1');
  return Buffer.concat([
    Buffer.from('rbd diff v1\n'),
    Buffer.concat([Buffer.from('t'), name, Buffer.from('s'), u64(size)]),
    Buffer.concat([Buffer.from('w'), u64(objectBytes + 9), u64(objectBytes), Buffer.alloc(objectBytes, 8)]),
    Buffer.concat([Buffer.from('z'), u64(4 * objectBytes), u64(objectBytes), Buffer.from('e')]),
  ]);
}
