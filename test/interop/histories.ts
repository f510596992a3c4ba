// Images with a past, made by Ceph's own hand: one for each thing about an image that can make a diff go wrong.

import { features, type RbdWriter, usualFeatures } from '../kit/rbd-writer.ts';
import { noise } from '../kit/noise.ts';

export const MiB = 1 << 20;
const KiB = 1024;

export interface History {
  name: string;
  /** `[namespace/]image` in pool volumes. */
  image: string;
  /** Snapshots s1, mid, s2 in the end, of an image with objects of 1 MiB. */
  make(writer: RbdWriter, image: string): Promise<void>;
  /** What `make` left behind besides the image. */
  unmake?(writer: RbdWriter, image: string): Promise<void>;
}

/** No multiple of an object, of a block, or of a sector. */
export const size = 24 * MiB + 5 * KiB + 7;

/** Some of everything in the first objects: full, sparse, unaligned, a hole between. */
async function fillFirst(writer: RbdWriter, image: string): Promise<void> {
  await writer.write(image, 0, noise(1, 3 * MiB)); //                       whole objects
  await writer.write(image, 5 * MiB + 4 * KiB, noise(2, 512)); //           one sector
  await writer.write(image, 7 * MiB - 3, noise(3, 7)); //                   across a border, unaligned
  await writer.write(image, 9 * MiB, Buffer.alloc(64 * KiB)); //            zeros that were written
  await writer.write(image, 15 * MiB, noise(4, MiB));
}

async function change(writer: RbdWriter, image: string): Promise<void> {
  await writer.write(image, 100 * KiB, noise(5, 4 * KiB)); //                inside old data
  await writer.write(image, 11 * MiB + 8 * KiB, noise(6, 4 * KiB)); //       a new object
  await writer.createSnapshot(image, 'mid');
  await writer.write(image, 2 * MiB + 4090, noise(7, 12)); //                unaligned
  await writer.writeZeroes(image, MiB + 64 * KiB, 128 * KiB); //             zeros in the middle of an object
  await writer.write(image, 15 * MiB, Buffer.alloc(MiB)); //                 an object overwritten with zeros
}

async function plain(
  writer: RbdWriter,
  image: string,
  options: Partial<Parameters<RbdWriter['create']>[1]> = {},
): Promise<void> {
  await writer.create(image, { size, ...options });
  await fillFirst(writer, image);
  await writer.write(image, size - 9, noise(8, 9)); //                       the very end
  await writer.createSnapshot(image, 's1');
  await change(writer, image);
  await writer.write(image, size - 5, noise(9, 5));
  await writer.createSnapshot(image, 's2');
  await writer.write(image, 4 * MiB, noise(10, 4 * KiB)); //                 later than s2: must not show up
}

export const histories: History[] = [
  { name: 'plain', image: 'it-plain', make: plain },
  {
    name: 'grown',
    image: 'it-grown',
    async make(writer, image) {
      await writer.create(image, { size: 16 * MiB + 512 });
      await fillFirst(writer, image);
      await writer.createSnapshot(image, 's1');
      await writer.resize(image, 20 * MiB);
      await change(writer, image);
      await writer.resize(image, size);
      await writer.write(image, size - 100 * KiB, noise(11, 100 * KiB));
      await writer.createSnapshot(image, 's2');
    },
  },
  {
    name: 'shrunk',
    image: 'it-shrunk',
    async make(writer, image) {
      await writer.create(image, { size });
      await fillFirst(writer, image);
      await writer.write(image, 20 * MiB, noise(12, MiB));
      await writer.createSnapshot(image, 's1');
      await writer.resize(image, 2 * MiB + 77 * KiB);
      await writer.createSnapshot(image, 'mid'); //                           smaller than both ends
      await writer.resize(image, 15 * MiB + 600 * KiB + 1);
      await writer.write(image, 7 * MiB, noise(13, 512));
      await writer.write(image, 15 * MiB + 599 * KiB, noise(14, KiB));
      await writer.createSnapshot(image, 's2');
    },
  },
  {
    name: 'discarded',
    image: 'it-discarded',
    async make(writer, image) {
      await writer.create(image, { size });
      for (let object = 0; object < 24; object++) await writer.write(image, object * MiB, noise(20 + object, MiB));
      await writer.createSnapshot(image, 's1');
      await writer.discard(image, MiB, MiB); //                               whole object
      await writer.discard(image, 3 * MiB + 512 * KiB, 512 * KiB); //         its tail
      await writer.discard(image, 5 * MiB, 256 * KiB); //                     its start
      await writer.discard(image, 7 * MiB + 128 * KiB, 192 * KiB); //         its middle
      await writer.createSnapshot(image, 'mid');
      await writer.discard(image, 8 * MiB + 300 * KiB, 9 * MiB); //           many, unaligned
      await writer.write(image, 10 * MiB + 4 * KiB, noise(50, 4 * KiB)); //    and some of it written again
      await writer.writeZeroes(image, 20 * MiB + 1, 4 * KiB);
      await writer.createSnapshot(image, 's2');
    },
  },
  {
    name: 'clone',
    image: 'it-clone',
    async make(writer, image) {
      const parent = `${image}-parent`;
      await writer.create(parent, { size: 18 * MiB });
      for (let object = 0; object < 18; object += 2) await writer.write(parent, object * MiB, noise(60 + object, MiB));
      await writer.createSnapshot(parent, 'base');
      await writer.protectSnapshot(parent, 'base');
      await writer.clone(parent, 'base', image);
      await writer.resize(image, size); //                                    larger than what the parent covers
      await writer.write(image, 2 * MiB + 300 * KiB, noise(80, 4 * KiB)); //  copies an object up
      await writer.discard(image, 4 * MiB, MiB); //                           hides the parent's data
      await writer.write(image, 20 * MiB, noise(81, 64 * KiB)); //            past the parent
      await writer.createSnapshot(image, 's1');
      await writer.write(image, 6 * MiB, noise(82, 4 * KiB)); //              copied up after s1
      await writer.writeZeroes(image, 8 * MiB, MiB);
      await writer.createSnapshot(image, 'mid');
      await writer.discard(image, 10 * MiB + 128 * KiB, 256 * KiB);
      await writer.write(image, 13 * MiB + 1, noise(83, 1)); //               where the parent has a hole
      await writer.createSnapshot(image, 's2');
    },
    unmake: (writer, image) => forget(writer, { image: `${image}-parent` }),
  },
  {
    name: 'no object map',
    image: 'it-no-map',
    make: (writer, image) => plain(writer, image, { features: features.layering }),
  },
  {
    name: 'invalid map',
    image: 'it-invalid-map',
    async make(writer, image) {
      await plain(writer, image);
      // Object maps that are switched off and on again are empty and flagged as invalid, for every snapshot.
      const maps = features.objectMap | features.fastDiff;
      await writer.setFeatures(image, maps, false);
      await writer.setFeatures(image, maps, true);
      if (((await writer.flags(image)) & 3) !== 3) throw new Error('the maps are not flagged as invalid');
    },
  },
  {
    name: 'striped',
    image: 'it-striped',
    make: (writer, image) =>
      plain(writer, image, { stripeUnit: 64 * KiB, stripeCount: 4, features: usualFeatures | features.striping }),
  },
  { name: 'data pool', image: 'it-data-pool', make: (writer, image) => plain(writer, image, { dataPool: 'data' }) },
  { name: 'namespace', image: 'it-space/it-namespace', make: (writer, image) => plain(writer, image) },
];

/** Removes the image, its snapshots, and what else its history made; silent about what is not there. */
export async function forget(writer: RbdWriter, history: Pick<History, 'image' | 'unmake'>): Promise<void> {
  const snapshots = await writer.snapshots(history.image).catch(() => []);
  for (const { name } of snapshots) {
    await writer.unprotectSnapshot(history.image, name).catch(() => undefined);
    await writer.removeSnapshot(history.image, name);
  }
  await writer.remove(history.image).catch(() => undefined);
  await history.unmake?.(writer, history.image).catch(() => undefined);
}
