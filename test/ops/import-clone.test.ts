// Clones that are exported become clones again where their parent is, with their own data only: between any two clusters.

import { createHash } from 'node:crypto';
import { rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closing } from '../../src/bytes/closing.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { feature } from '../../src/format/rbd-features.ts';
import { encodeImageHeader, readImageHeader } from '../../src/format/rbd-image.ts';
import { decodeParentNote, parentKey } from '../../src/format/rbd-image-parent.ts';
import type { CloneOptions, Cluster, ClusterImage } from '../../src/image/port.ts';
import { exportImage } from '../../src/ops/export.ts';
import { type ImportOptions, importImage, importRaw } from '../../src/ops/import.ts';
import { usageOf } from '../../src/ops/usage.ts';
import { eachCluster, replaced, type TestCluster } from '../kit/each-cluster.ts';
import { onCeph } from '../image/ceph/pools.ts';
import { rbd } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { contentOf, failing, failureOf, readerOf } from './import-world.ts';

const objectBytes = 64 << 10;
const size = 32 * objectBytes;

interface Place {
  cluster: Cluster;
  pool: string;
}
const specIn = ({ pool }: Place, image: string, snap: string | null = null) => ({ pool, namespace: '', image, snap });

const writing = async <T>(place: Place, image: string, use: (opened: ClusterImage) => Promise<T>): Promise<T> =>
  closing(await place.cluster.openToWrite(specIn(place, image)), use);

async function exported(place: Place, image: string): Promise<Buffer> {
  const sink = memorySink();
  const metadata = await place.cluster.metadata(specIn(place, image));
  await exportImage((snap) => place.cluster.open(specIn(place, image, snap)), metadata, sink);
  return sink.bytes();
}

const digest = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** All that is to be the same after a move, and what the image takes itself. */
async function described(place: Place, image: string) {
  const { info, heldBytes } = await closing(await place.cluster.open(specIn(place, image)), async (opened) => ({
    info: await opened.info(),
    heldBytes: await ownBytes(place, image),
  }));
  const versions = await Promise.all(
    [...info.snapshots.map(({ name }) => name), null].map(async (snap) =>
      digest(await closing(await place.cluster.open(specIn(place, image, snap)), contentOf)),
    ),
  );
  return {
    facts: {
      order: info.order,
      // one stripe in an object is none, whatever its unit: librbd gives a clone that of its parent
      features: info.stripeCount > 1 ? info.features : info.features & ~feature.striping,
      stripeUnit: info.stripeCount > 1 ? info.stripeUnit : null,
      stripeCount: info.stripeCount,
      snapshots: info.snapshots.map(({ name, protection, size: bytes }) => ({ name, protection, bytes })),
      metadata: [...(await place.cluster.metadata(specIn(place, image)))],
      overlap: info.parent?.overlap,
      versions,
    },
    parent: info.parent && `${info.parent.image}@${info.parent.snap}`,
    heldBytes,
  };
}

async function ownBytes(place: Place, image: string): Promise<number> {
  const { snapshots } = await closing(await place.cluster.open(specIn(place, image)), (opened) => opened.info());
  let bytes = 0;
  let fromSnap: string | null = null;
  for (const snap of [...snapshots.map(({ name }) => name), null]) {
    const opened = await place.cluster.open(specIn(place, image, snap));
    bytes += (await closing(opened, (version) => usageOf(version, { fromSnap }))).usedBytes;
    fromSnap = snap;
  }
  return bytes;
}

/** `base@v1`, most of it data; `vm`, a clone of it with a history: writes, zeros, the parent's own bytes, shrunk, grown. */
async function makeFamily(
  place: Place,
  base: string,
  vm: string,
  { cloneFormat = 1, shrinks = false, ...stripes }: CloneOptions & { shrinks?: boolean } = {},
): Promise<void> {
  await place.cluster.create(specIn(place, base), { size, order: 16 });
  const bytes = noise(7, size);
  bytes.fill(0, 20 * objectBytes, 22 * objectBytes);
  await writing(place, base, async (image) => {
    await image.write(0, bytes);
    await image.createSnapshot('v1');
    await image.protectSnapshot('v1');
  });
  await place.cluster.setMetadata(specIn(place, base), 'of-the-base', 'x');
  await place.cluster.clone(specIn(place, base, 'v1'), specIn(place, vm), { cloneFormat, ...stripes });
  await place.cluster.removeMetadata(specIn(place, vm), 'of-the-base');
  await place.cluster.setMetadata(specIn(place, vm), 'owner', 'me');
  await writing(place, vm, async (image) => {
    await image.resize(30 * objectBytes + 1000);
    await image.resize(31 * objectBytes);
    await image.write(100, noise(8, 5000));
    await image.writeZeroes(3 * objectBytes, objectBytes);
    await image.writeZeroes(4 * objectBytes + 500, 6000);
    await image.write(5 * objectBytes, bytes.subarray(5 * objectBytes, 6 * objectBytes));
    await image.write(20 * objectBytes + 7, noise(9, 300));
    await image.createSnapshot('one');
    await image.protectSnapshot('one');
    await image.write(6 * objectBytes, noise(10, 3 * objectBytes));
    await image.writeZeroes(7 * objectBytes, 9000);
    await image.createSnapshot('two');
    if (shrinks) await image.resize(12 * objectBytes + 5);
    await image.resize(40 * objectBytes);
    await image.write(39 * objectBytes, noise(11, 100));
    await image.writeZeroes(2 * objectBytes, objectBytes);
  });
}

/** The same snapshot of the same image, but of another cluster, or under other ids. */
async function moveBase(from: Place, to: Place, base: string): Promise<void> {
  const own = from.cluster === to.cluster && from.pool === to.pool;
  if (!own) await importImage(to.cluster, specIn(to, base), readerOf(await exported(from, base)));
}

const directions = eachCluster.flatMap((from) => eachCluster.map((to) => [from[0], to[0], from[1], to[1]] as const));

describe.each(directions)('from %s to %s', (_from, _to, makeFrom, makeTo) => {
  let [one, two]: TestCluster[] = [];
  let [from, to]: Place[] = [];
  let ceph: TestCluster | undefined;
  let made = 0;
  let [base, vm] = ['', ''];

  beforeAll(async () => {
    one = await makeFrom();
    two = makeFrom === makeTo ? one : await makeTo();
    ceph = onCeph ? await eachCluster[1]![1]() : undefined;
    from = { cluster: one.cluster, pool: one.pool };
    to = { cluster: two.cluster, pool: two === one ? two.otherPool : two.pool };
  });
  afterAll(async () => {
    await one?.dispose();
    if (two !== one) await two?.dispose();
    await ceph?.dispose();
  });
  const fresh = () => {
    made += 1;
    [base, vm] = [`base-${made}`, `vm-${made}`];
  };
  const imported = async (stream: Uint8Array, options: ImportOptions = {}) => {
    const notices: string[] = [];
    const result = await importImage(to!.cluster, specIn(to!, vm), readerOf(stream), {
      ...options,
      onNotice: (text) => notices.push(text),
    });
    return { ...result, notices };
  };

  test.each([
    [{ cloneFormat: 1 }],
    [{ cloneFormat: 2, stripeUnit: 16 << 10, stripeCount: 2 }],
    [{ cloneFormat: 2, order: 17, shrinks: true }],
  ] as const)('a clone is one again, with all its versions and no more data of its own: %j', async (options) => {
    fresh();
    await makeFamily(from!, base, vm, options);
    await moveBase(from!, to!, base);
    const was = await described(from!, vm);
    const { notices, parent, writtenBytes } = await imported(await exported(from!, vm));
    expect(notices).toEqual([]);
    expect(parent).toMatchObject({ image: base, snap: 'v1' });
    const is = await described(to!, vm);
    expect(is.parent).toBe(`${base}@v1`);
    expect(writtenBytes).toBeLessThan(8 * objectBytes);
    const kept = 'shrinks' in options ? 12 * objectBytes + 5 : 30 * objectBytes + 1000;
    expect(was.facts.overlap).toBe(kept);
    // what a later version cut off is zeros on top of the parent
    expect(is.facts).toEqual({ ...was.facts, overlap: 30 * objectBytes + 1000 });
    expect(is.heldBytes).toBeLessThanOrEqual(was.heldBytes + ('shrinks' in options ? 19 * objectBytes : 0));
  });

  test('without its parent it is whole, and tells of it: back with the parent, it is a clone', async () => {
    fresh();
    await makeFamily(from!, base, vm);
    const was = await described(from!, vm);
    const stream1 = await exported(from!, vm);
    await from!.cluster.rename(specIn(from!, base), 'away');
    const { notices, parent } = await imported(stream1);
    await from!.cluster.rename(specIn(from!, 'away'), base);
    expect(parent).toBeNull();
    expect(notices).toEqual([expect.stringContaining(`a clone of ${from!.pool}/${base}@v1, which is not here`)]);
    const is = await described(to!, vm);
    const note = await to!.cluster.metadata(specIn(to!, vm));
    expect(is.facts.versions).toEqual(was.facts.versions);
    expect(is.parent).toBeNull();
    expect(decodeParentNote(note.get(parentKey) ?? '')).toMatchObject({ image: base, snap: 'v1', size });

    const stream2 = await exported(to!, vm);
    const back = `${vm}-back`;
    await importImage(from!.cluster, specIn(from!, back), readerOf(stream2));
    const again = await described(from!, back);
    expect(again).toEqual({ ...was, heldBytes: again.heldBytes });
    expect(again.heldBytes).toBeLessThanOrEqual(was.heldBytes);
  });

  test('of the same name, but with other bytes, it is no parent, unless it is asked for: then all is right as well', async () => {
    fresh();
    await makeFamily(from!, base, vm);
    const stream = await exported(from!, vm);
    const { facts } = await described(from!, vm);
    await to!.cluster.create(specIn(to!, `${base}-else`), { size: size - 5000, order: 15 });
    const like = `${base}-else`;
    await writing(to!, like, async (image) => {
      await image.write(3 * objectBytes - 77, noise(99, 20 * objectBytes));
      await image.createSnapshot('v1');
    });
    const found = await imported(stream, { parent: specIn(to!, like, 'v1') });
    expect(found.parent).toMatchObject({ image: like });
    const is = await described(to!, vm);
    expect(is.parent).toBe(`${like}@v1`);
    expect(is.facts.versions).toEqual(facts.versions);
    expect(is.facts.metadata).toEqual(facts.metadata);

    if (from!.cluster === to!.cluster) return;
    await to!.cluster.rename(specIn(to!, like), base);
    vm += '-2';
    const { parent, notices } = await imported(stream);
    expect(parent).toBeNull();
    expect(notices).toEqual([expect.stringContaining('which is another one here')]);
    expect((await described(to!, vm)).facts.versions).toEqual(facts.versions);
  });

  test('no parent is wanted: the image is whole; what is no note is none', async () => {
    fresh();
    await makeFamily(from!, base, vm);
    await moveBase(from!, to!, base);
    const stream = await exported(from!, vm);
    const dataPool = to!.pool === one!.otherPool ? one!.pool : (two?.otherPool ?? '');
    const whole = await imported(stream, { parent: null, create: { dataPool } });
    expect(whole).toMatchObject({ parent: null, notices: [] });
    const info = await closing(await to!.cluster.open(specIn(to!, vm)), (image) => image.info());
    expect(info).toMatchObject({ parent: null, dataPool });
    expect((await described(to!, vm)).facts.versions).toEqual((await described(from!, vm)).facts.versions);
    vm += '-2';
    expect(await imported(stream, { create: { dataPool } })).toMatchObject({ parent: { image: base } });
    const clone = await closing(await to!.cluster.open(specIn(to!, vm)), (image) => image.info());
    expect(clone).toMatchObject({ parent: { image: base }, dataPool });
    vm += '-3';
    const reader = readerOf(stream);
    const header = await readImageHeader(reader);
    header.metadata.set(parentKey, '{"pool":1}');
    const changed = Buffer.concat([encodeImageHeader(header), stream.subarray(reader.position)]);
    expect(await imported(changed)).toMatchObject({ parent: null, notices: [] });
  });

  test('raw bytes become a clone with --parent, which has what differs', async () => {
    fresh();
    await makeFamily(to!, base, `${vm}-other`);
    for (const [bytes, known] of [
      [size - 9000, true],
      [size - 9000, false],
      [size + 70_000, true],
      [size + 70_000, false],
    ] as const) {
      vm += '-x';
      const raw = Buffer.concat([noise(7, size), noise(12, 70_000)]).subarray(0, bytes);
      raw.fill(0, 20 * objectBytes, 22 * objectBytes);
      noise(13, 8192).copy(raw, 4 * objectBytes + 4096);
      raw.fill(0, 9 * objectBytes, 10 * objectBytes);
      const source = bytesSource(raw);
      const options = { parent: specIn(to!, base, 'v1') };
      const done = await importRaw(to!.cluster, specIn(to!, vm), source, known ? bytes : null, options);
      expect(done.writtenBytes).toBe(8192 + Math.max(0, bytes - size));
      const is = await described(to!, vm);
      expect(is.facts.versions).toEqual([digest(raw)]);
      expect(is).toMatchObject({ parent: `${base}@v1`, facts: { overlap: Math.min(size, bytes) } });
      expect(is.heldBytes).toBeLessThanOrEqual(4 * objectBytes);
    }
  });

  test('whichever call fails, nothing is left, and the parent has no child', async () => {
    fresh();
    await makeFamily(from!, base, vm);
    await moveBase(from!, to!, base);
    const stream = await exported(from!, vm);
    vm += '-new';
    const before = await to!.cluster.list(to!.pool, '');
    const children = await to!.cluster.children(specIn(to!, base));
    for (let n = 0; ; n += n < 6 ? 1 : 5) {
      const broken = replaced(to!.cluster, {
        openToWrite: async (what) => failing(await to!.cluster.openToWrite(what), n),
      });
      const failure = await importImage(broken, specIn(to!, vm), readerOf(stream)).then(
        () => null,
        (error: unknown) => error,
      );
      if (failure === null) break;
      expect(failure).toMatchObject({ code: 'noSpace' });
      expect(await to!.cluster.list(to!.pool, ''), `call ${n}`).toEqual(before);
      expect(await to!.cluster.children(specIn(to!, base)), `call ${n}`).toEqual(children);
    }
    expect((await described(to!, vm)).parent).toBe(`${base}@v1`);
    const cut = importImage(to!.cluster, specIn(to!, `${vm}-2`), readerOf(stream.subarray(0, -9)));
    expect(await failureOf(cut)).toMatchObject({ code: 'corrupt' });
    expect(await to!.cluster.list(to!.pool, '')).not.toContain(`${vm}-2`);
  });

  test.skipIf(!onCeph)('the real rbd reads the stream; what it exports again becomes a clone again', async () => {
    fresh();
    await makeFamily(from!, base, vm);
    const was = await described(from!, vm);
    const path = join(tmpdir(), `rbdelta-clone-${process.pid}-${vm}`);
    const there = { cluster: ceph!.cluster, pool: ceph!.otherPool };
    const name = `${vm}-by-rbd-${made}`;
    await writeFile(path, await exported(from!, vm));
    await rbd(['import', '--no-progress', '--export-format', '2', path, `${there.pool}/${name}`]);
    await rm(path);
    const is = await described(there, name);
    const note = (await there.cluster.metadata(specIn(there, name))).get(parentKey) ?? '';
    expect(decodeParentNote(note)).toMatchObject({ image: base, snap: 'v1', size });
    const { metadata: _, overlap: __, ...facts } = was.facts;
    expect(is.facts).toMatchObject(facts);
    expect(is.facts.metadata).toEqual([
      ['owner', 'me'],
      [parentKey, note],
    ]);
    const stream = await rbd(['export', '--no-progress', '--export-format', '2', `${there.pool}/${name}`, '-']);
    const back = `${vm}-back`;
    await importImage(from!.cluster, specIn(from!, back), readerOf(stream));
    const again = await described(from!, back);
    expect(again).toEqual({ ...was, heldBytes: again.heldBytes });
    expect(again.heldBytes).toBeLessThanOrEqual(was.heldBytes);
  });
});
