import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource, chunkSource } from '../../src/bytes/source.ts';
import type { Cluster, WritableImage } from '../../src/image/port.ts';
import { exportImage } from '../../src/ops/export.ts';
import { importImage, importRaw } from '../../src/ops/import.ts';
import { contentOf, failing, failureOf, makeWorld, readerOf, snapshotsOf, specOf, type World } from './import-world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.close());

const opened = async (name: string, snap: string | null = null) => {
  const image = await world.openAt(name)(snap);
  const result = { info: await image.info(), bytes: await contentOf(image) };
  await image.close();
  return result;
};

/** The cluster, whose images fail at the n-th changing call. */
const failingCluster = (n: number): Cluster => ({
  ...world.cluster,
  openToWrite: async (spec) => {
    const image = await world.cluster.openToWrite(spec);
    return failing(image, n);
  },
});

const raw = Buffer.alloc(9_000_000, 'x').fill(0, 1_000_000, 6_000_000);
/** Bytes of the whole blocks of 4096 that are zero. */
const zeroBlocks = Math.floor(6_000_000 / 4096) * 4096 - Math.ceil(1_000_000 / 4096) * 4096;

describe('format 1', () => {
  it.each([
    ['of known length', raw.length],
    ['of unknown length, as from a pipe', null],
  ])('a source %s becomes an image of its bytes', async (_, size) => {
    const result = await importRaw(world.cluster, specOf('new'), bytesSource(raw), size);
    expect(result).toMatchObject({ size: raw.length, writtenBytes: raw.length - zeroBlocks });
    const { info, bytes } = await opened('new');
    expect(info.size).toBe(raw.length);
    expect(bytes.equals(raw)).toBe(true);
  });

  it('chunks of a pipe may be of any length', async () => {
    function* chunks() {
      for (let offset = 0; offset < raw.length; offset += 77_777) yield raw.subarray(offset, offset + 77_777);
    }
    await importRaw(world.cluster, specOf('new'), chunkSource(chunks()), null, { create: { order: 20 } });
    const { info, bytes } = await opened('new');
    expect(info.order).toBe(20);
    expect(bytes.equals(raw)).toBe(true);
  });

  it('nothing at all becomes an image of no bytes', async () => {
    await importRaw(world.cluster, specOf('new'), bytesSource(Buffer.alloc(0)), null);
    expect((await opened('new')).info.size).toBe(0);
  });

  it('an image that exists is refused, and not touched', async () => {
    const image = await world.image('old', 4, 'mine');
    expect(await failureOf(importRaw(world.cluster, specOf('old'), bytesSource(raw), raw.length))).toMatchObject({
      code: 'exists',
    });
    expect((await contentOf(image)).toString()).toBe('mine');
  });

  it.each([
    ['shorter', raw.length + 1],
    ['longer', raw.length - 1],
  ])('a source that is %s than it said: refused, nothing is left', async (_, size) => {
    expect(await failureOf(importRaw(world.cluster, specOf('new'), bytesSource(raw), size))).toMatchObject({
      code: 'io',
    });
    expect(await world.cluster.list('rbd', '')).toEqual([]);
  });

  it('whichever call fails, nothing is left, and a re-run completes', async () => {
    const small = Buffer.alloc(30_000, 'y').fill(0, 4096, 8192);
    for (let n = 0; ; n += 1) {
      const outcome = await importRaw(failingCluster(n), specOf('new'), bytesSource(small), null, {
        create: { order: 12 },
      }).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) break;
      expect(outcome).toMatchObject({ code: 'noSpace' });
      expect(await world.cluster.list('rbd', ''), `call ${n}`).toEqual([]);
    }
    expect((await opened('new')).bytes.equals(small)).toBe(true);
  });
});

describe('the name comes last', () => {
  /** Bytes in pieces; before the last one, `meanwhile` is called. */
  async function* slowly(bytes: Buffer, meanwhile: () => Promise<void>) {
    yield bytes.subarray(0, bytes.length - 100);
    await meanwhile();
    yield bytes.subarray(bytes.length - 100);
  }
  const ways = {
    'format 1': async (source: AsyncIterable<Uint8Array>) =>
      importRaw(world.cluster, specOf('new'), chunkSource(source), null, { create: { order: 12 } }),
    'format 2': async (source: AsyncIterable<Uint8Array>) =>
      importImage(world.cluster, specOf('new'), new ByteReader(chunkSource(source)), { create: { order: 12 } }),
  };
  const bytesOf = async (way: keyof typeof ways): Promise<Buffer> => {
    const bytes = Buffer.alloc(50_000, 'z');
    if (way === 'format 1') return bytes;
    await (await world.image('source', bytes.length, bytes)).createSnapshot('s');
    const sink = memorySink();
    await exportImage(world.openAt('source'), new Map([['owner', 'me']]), sink);
    return sink.bytes();
  };
  const names = async () => (await world.cluster.list('rbd', '')).filter((name) => name !== 'source');

  it.each(['format 1', 'format 2'] as const)('%s: what is not whole has another name', async (way) => {
    let seen: string[] = [];
    const bytes = await bytesOf(way);
    await ways[way](
      slowly(bytes, async () => {
        // the image is there once what came first was read
        while (seen.length === 0) {
          seen = await names();
          await new Promise((done) => setTimeout(done, 5));
        }
      }),
    );
    expect(seen).toEqual([expect.stringMatching(/^rbdelta-copy-[0-9a-f]{8}$/)]);
    expect(await names()).toEqual(['new']);
    expect((await opened('new')).bytes.equals(Buffer.alloc(50_000, 'z'))).toBe(true);
    const metadata: [string, string][] = way === 'format 2' ? [['owner', 'me']] : [];
    expect([...(await world.cluster.metadata(specOf('new')))]).toEqual(metadata);
  });

  it.each(['format 1', 'format 2'] as const)('%s: an image that got the name meanwhile stays', async (way) => {
    const failure = await failureOf(
      ways[way](slowly(await bytesOf(way), () => world.cluster.create(specOf('new'), { size: 7 }))),
    );
    expect(failure).toMatchObject({ code: 'exists' });
    expect(await names()).toEqual(['new']);
    expect((await opened('new')).info.size).toBe(7);
  });

  it.each(['format 1', 'format 2'] as const)(
    '%s: an image of that name is refused before anything is made',
    async (way) => {
      const bytes = await bytesOf(way);
      await world.cluster.create(specOf('new'), { size: 7 });
      const create = vi.spyOn(world.cluster, 'create');
      expect(await failureOf(ways[way](slowly(bytes, async () => {})))).toMatchObject({ code: 'exists' });
      expect(create).not.toHaveBeenCalled();
    },
  );
});

describe('format 2', () => {
  const size = 3 * 4096;
  const makeSource = async (): Promise<WritableImage> => {
    const image = await world.image('source', size, Buffer.alloc(5000, 'a'), { order: 13 });
    await image.createSnapshot('one');
    await image.protectSnapshot('one');
    await image.resize(20_000);
    await image.write(15_000, Buffer.from('later'));
    await image.createSnapshot('two');
    await image.resize(9000);
    await image.writeZeroes(100, 4096);
    return image;
  };
  const exported = async (metadata = new Map<string, string>()): Promise<Buffer> => {
    const sink = memorySink();
    await exportImage(world.openAt('source'), metadata, sink);
    return sink.bytes();
  };

  it('an image comes back with its snapshots, their protection, its metadata and its object size', async () => {
    const source = await makeSource();
    const file = await exported(
      new Map([
        ['owner', 'me'],
        ['conf_rbd_cache', 'false'],
      ]),
    );
    const result = await importImage(world.cluster, specOf('new'), readerOf(file));
    expect(result).toMatchObject({ size: 9000, snapshots: ['one', 'two'] });
    for (const snap of [null, 'one', 'two']) {
      const [was, is] = [await opened('source', snap), await opened('new', snap)];
      expect(is.bytes.equals(was.bytes), `${snap}`).toBe(true);
      expect(is.info.order).toBe(13);
      expect(is.info.features).toBe(was.info.features);
    }
    const { info } = await opened('new');
    expect(info.snapshots.map(({ name, protection }) => [name, protection])).toEqual([
      ['one', 'protected'],
      ['two', 'unprotected'],
    ]);
    expect(await world.cluster.metadata(specOf('new'))).toEqual(
      new Map([
        ['conf_rbd_cache', 'false'],
        ['owner', 'me'],
      ]),
    );
    await source.unprotectSnapshot('one');
  });

  it('another object size does not make the image striped', async () => {
    const source = await makeSource();
    await importImage(world.cluster, specOf('new'), readerOf(await exported()), { create: { order: 16, features: 1 } });
    const { info, bytes } = await opened('new');
    expect(info).toMatchObject({ order: 16, stripeCount: 1, features: 1 });
    expect(bytes.equals(await contentOf(source))).toBe(true);
    await source.unprotectSnapshot('one');
  });

  it('every proper prefix is refused as corrupt, and nothing is left, no snapshots either', async () => {
    const source = await makeSource();
    const file = await exported();
    for (let length = 0; length < file.length; length += length < 400 ? 7 : 401) {
      expect(
        await failureOf(importImage(world.cluster, specOf('new'), readerOf(file.subarray(0, length)))),
        `cut at ${length}`,
      ).toMatchObject({ code: 'corrupt' });
      expect(await world.cluster.list('rbd', '')).toEqual(['source']);
    }
    const longer = Buffer.concat([file, Buffer.from('x')]);
    expect(await failureOf(importImage(world.cluster, specOf('new'), readerOf(longer)))).toMatchObject({
      code: 'corrupt',
    });
    expect(await world.cluster.list('rbd', '')).toEqual(['source']);
    await source.unprotectSnapshot('one');
  });

  it('whichever call fails, nothing is left, and a re-run completes', async () => {
    const source = await makeSource();
    const file = await exported();
    for (let n = 0; ; n += 1) {
      const outcome = await importImage(failingCluster(n), specOf('new'), readerOf(file)).catch(
        (error: unknown) => error,
      );
      if (!(outcome instanceof Error)) break;
      expect(outcome).toMatchObject({ code: 'noSpace' });
      expect(await world.cluster.list('rbd', ''), `call ${n}`).toEqual(['source']);
    }
    const again = await world.openAt('new')(null);
    expect(await snapshotsOf(again)).toEqual(['one', 'two']);
    await again.close();
    await source.unprotectSnapshot('one');
  });

  it('an interruption while the source gives nothing leaves nothing', async () => {
    const source = await makeSource();
    const file = await exported();
    const abort = new AbortController();
    async function* stuck() {
      yield file.subarray(0, file.length - 10);
      abort.abort();
      await new Promise(() => {});
    }
    const reader = new ByteReader(chunkSource(stuck()));
    expect(await failureOf(importImage(world.cluster, specOf('new'), reader, { signal: abort.signal }))).toMatchObject({
      code: 'interrupted',
    });
    expect(await world.cluster.list('rbd', '')).toEqual(['source']);
    await source.unprotectSnapshot('one');
  });

  it('a diff stream, or a raw image, is refused before anything is made', async () => {
    expect(
      await failureOf(importImage(world.cluster, specOf('new'), readerOf(Buffer.from('rbd diff v1\n')))),
    ).toMatchObject({ code: 'invalid' });
    expect(await failureOf(importImage(world.cluster, specOf('new'), readerOf(Buffer.alloc(512))))).toMatchObject({
      code: 'invalid',
    });
    expect(await world.cluster.list('rbd', '')).toEqual([]);
  });
});
