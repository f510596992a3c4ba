// Imports and exports of whole images on a real Ceph, beside the real rbd.

import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { memorySink } from '../../src/bytes/sink.ts';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource, chunkSource, fileSource } from '../../src/bytes/source.ts';
import { connectCeph } from '../../src/image/ceph/index.ts';
import type { Cluster, WritableImage } from '../../src/image/port.ts';
import { exportImage, exportRaw, exportRawToFile } from '../../src/ops/export.ts';
import { importImage, importRaw } from '../../src/ops/import.ts';
import { importDiff } from '../../src/ops/import-diff.ts';
import { digestOf, rbd, run } from '../kit/command.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { e, f, failing, failureOf, p, readerOf, s, snapshotsOf, stateOf, t, v1, w, z } from './import-world.ts';

const pool = 'backups';
const spec = (image: string, snap: string | null = null) => ({ pool, namespace: '', image, snap });
const MiB = 1 << 20;

describe.skipIf(process.env['RBDELTA_TEST_CEPH'] !== '1')('import and export on a real Ceph', () => {
  let cluster: Cluster;
  let writer: RbdWriter;
  let folder: string;
  let number = 0;
  let source: string;
  let target: string;
  const made: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-import-ceph-'));
    cluster = await connectCeph({});
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', pool);
  });
  beforeEach(() => {
    number += 1;
    source = `imp-${process.pid}-${number}-source`;
    target = `imp-${process.pid}-${number}-target`;
    made.push(source, target);
  });
  afterAll(async () => {
    await writer?.end();
    for (const image of made) {
      const listed = await run('rbd', ['snap', 'ls', '--format', 'json', `${pool}/${image}`]);
      if (listed.status !== 0) continue;
      for (const { name } of JSON.parse(listed.stdout.toString()) as { name: string }[])
        await run('rbd', ['snap', 'unprotect', '--pool', pool, '--image', image, '--snap', name]);
      await run('rbd', ['snap', 'purge', '--no-progress', `${pool}/${image}`]);
      await run('rbd', ['rm', '--no-progress', `${pool}/${image}`]);
    }
    await cluster?.close();
    await rm(folder, { recursive: true });
  });

  const digest = (image: string, snap = ''): Promise<string> =>
    digestOf('rbd', ['export', '--no-progress', `${pool}/${image}${snap}`, '-']);

  const opening = async <T>(image: string, act: (opened: WritableImage) => Promise<T>): Promise<T> => {
    const opened = await cluster.openToWrite(spec(image));
    try {
      return await act(opened);
    } finally {
      await opened.close();
    }
  };

  const sha = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');
  /** A MiB of `first` at 0, and one of `third` at 2 MiB. */
  const applied = (size: number, first: number, third: number): Buffer =>
    Buffer.alloc(size)
      .fill(first, 0, MiB)
      .fill(third, 2 * MiB, 3 * MiB);

  const apply = (image: string, stream: Uint8Array, options = {}) =>
    opening(image, (opened) =>
      importDiff(opened, (snap) => cluster.open(spec(image, snap)), readerOf(stream), options),
    );

  /** A source with two snapshots, that grew, shrank, and was discarded in. */
  const makeSource = async (options: { stripeUnit?: number; stripeCount?: number } = {}) => {
    await writer.create(source, { size: 8 * MiB, order: 20, ...options });
    await writer.fill(source, 100_000, 3 * MiB, 0x41);
    await writer.createSnapshot(source, 's1');
    await writer.resize(source, 10 * MiB + 1000);
    await writer.fill(source, 9 * MiB + 5, MiB, 0x42);
    await writer.writeZeroes(source, MiB, 70_000);
    await writer.discard(source, 2 * MiB, MiB);
    await writer.createSnapshot(source, 's2');
    await writer.protectSnapshot(source, 's2');
    await writer.resize(source, 5 * MiB + 17);
    await writer.fill(source, 0, 5, 0x43);
    await writer.flush(source);
  };
  const forgetSource = async () => {
    await writer.unprotectSnapshot(source, 's2');
    await writer.close(source);
  };

  it.each([
    ['plain', {}],
    ['striped', { stripeUnit: 64 << 10, stripeCount: 4 }],
  ])('a chain that rbd exported from a %s image, on one input, makes an equal image', async (_, options) => {
    await makeSource(options);
    const chain = Buffer.concat([
      await rbd(['export-diff', '--no-progress', `${pool}/${source}@s1`, '-']),
      await rbd(['export-diff', '--no-progress', '--from-snap', 's1', `${pool}/${source}@s2`, '-']),
      await rbd(['export-diff', '--no-progress', '--from-snap', 's2', `${pool}/${source}`, '-']),
    ]);
    await rbd(['create', '--size', '1M', `${pool}/${target}`]);
    await apply(target, chain);
    for (const snap of ['@s1', '@s2', ''])
      expect([snap, await digest(target, snap)]).toEqual([snap, await digest(source, snap)]);
    expect(await failureOf(apply(target, chain))).toMatchObject({ code: 'exists' });
    await forgetSource();
  });

  it('zero runs in payloads make no objects, as with rbd', async () => {
    const stream = v1(
      t('a'),
      s(8 * MiB),
      w(
        0,
        Buffer.alloc(8 * MiB)
          .fill(1, 0, 100)
          .fill(2, 5 * MiB, 5 * MiB + 1),
      ),
      e,
    );
    const path = join(folder, 'sparse.diff');
    await writeFile(path, stream);
    for (const image of [source, target])
      await rbd(['create', '--size', '8M', '--object-size', '1M', `${pool}/${image}`]);
    await rbd(['import-diff', '--no-progress', path, `${pool}/${source}`]);
    await apply(target, stream);
    const used = async (image: string) => {
      const du = JSON.parse((await rbd(['du', '--format', 'json', `${pool}/${image}@a`])).toString()) as {
        images: { used_size: number }[];
      };
      return du.images[0]?.used_size;
    };
    expect(await used(target)).toBe(2 * MiB);
    expect(await used(target)).toBe(await used(source));
    expect(await digest(target)).toBe(await digest(source));
  });

  it('a name of 4096 bytes of any kind becomes a snapshot', async () => {
    const name = Buffer.alloc(4096, 'n@/');
    name[7] = 0xff;
    await rbd(['create', '--size', '1M', `${pool}/${target}`]);
    await apply(target, v1(t(name), s(MiB), w(0, 'data'), e));
    await apply(target, v1(f(name), t('b'), s(MiB), w(0, 'more'), e));
    await opening(target, async (opened) => {
      const [first] = await snapshotsOf(opened);
      expect(first?.length).toBe(4096);
      await opened.removeSnapshot(first ?? '');
    });
  });

  it('whichever call fails, the image is at its base again, and a re-run completes', async () => {
    await rbd(['create', '--size', '3M', '--object-size', '1M', `${pool}/${target}`]);
    await apply(target, v1(t('a'), s(3 * MiB), w(MiB - 5, Buffer.alloc(MiB, 'x')), e));
    const stream = v1(f('a'), t('b'), p(true), s(4 * MiB), w(0, 'bbbb'), z(MiB, 5000), w(3 * MiB, 'more'), e);
    const before = await opening(target, stateOf);
    let calls = 0;
    for (let n = 0; ; n += 1) {
      const outcome = await opening(target, (opened) =>
        importDiff(
          failing(opened, n, { late: n % 2 === 1 }),
          (snap) => cluster.open(spec(target, snap)),
          readerOf(stream),
        ),
      ).catch((error: unknown) => error);
      if (!(outcome instanceof Error)) break;
      calls += 1;
      expect(await opening(target, stateOf), `call ${n}`).toBe(before);
    }
    expect(calls).toBeGreaterThan(5);
  });

  it('an image that holds data is overwritten, and what the stream leaves out is cleared', async () => {
    await makeSource();
    await writer.create(target, { size: 9 * MiB, order: 22 });
    await writer.fill(target, 0, 9 * MiB, 0x7a);
    await writer.close(target);
    const full = await rbd(['export-diff', '--no-progress', `${pool}/${source}@s2`, '-']);
    expect(await failureOf(apply(target, full))).toMatchObject({ code: 'diverged' });
    await apply(target, full, { overwrite: true });
    expect(await digest(target)).toBe(await digest(source, '@s2'));
    await forgetSource();
  });

  it('format 1: our export equals the one of rbd, to a pipe and to a file', async () => {
    await makeSource();
    const at = await cluster.open(spec(source, 's2'));
    const sink = memorySink();
    await exportRaw(at, sink);
    const path = join(folder, `${source}.raw`);
    await exportRawToFile(at, path);
    await at.close();
    const expected = await digest(source, '@s2');
    expect(createHash('sha256').update(sink.bytes()).digest('hex')).toBe(expected);
    expect(
      createHash('sha256')
        .update(await readFile(path))
        .digest('hex'),
    ).toBe(expected);
    const file = await fileSource(path);
    await importRaw(cluster, spec(target), file, null);
    await file.close();
    expect(await digest(target)).toBe(expected);
    await forgetSource();
  });

  it('format 1: an import of known size, with an object size', async () => {
    const bytes = Buffer.alloc(3 * MiB + 5, 'q').fill(0, 5000, 2 * MiB);
    await importRaw(cluster, spec(target), bytesSource(bytes), bytes.length, { create: { order: 16 } });
    expect(await digest(target)).toBe(createHash('sha256').update(bytes).digest('hex'));
    expect((await opening(target, (opened) => opened.info())).order).toBe(16);
  });

  it.each([
    ['ours', 'rbd'],
    ['rbd', 'ours'],
    ['ours', 'ours'],
  ])(
    'format 2: exported by %s, imported by %s: every version, protection and metadata are equal',
    async (exporter, importer) => {
      await makeSource({ stripeUnit: 64 << 10, stripeCount: 2 });
      await rbd(['image-meta', 'set', `${pool}/${source}`, 'owner', 'me']);
      const path = join(folder, `${source}.v2`);
      if (exporter === 'rbd') await rbd(['export', '--no-progress', '--export-format', '2', `${pool}/${source}`, path]);
      else {
        const sink = memorySink();
        await exportImage((snap) => cluster.open(spec(source, snap)), await cluster.metadata(spec(source)), sink);
        await writeFile(path, sink.bytes());
      }
      if (importer === 'rbd') await rbd(['import', '--no-progress', '--export-format', '2', path, `${pool}/${target}`]);
      else await importImage(cluster, spec(target), readerOf(await readFile(path)));
      for (const snap of ['@s1', '@s2', ''])
        expect([snap, await digest(target, snap)]).toEqual([snap, await digest(source, snap)]);
      const infos = await Promise.all([source, target].map((image) => opening(image, (opened) => opened.info())));
      const [was, is] = infos.map(({ order, stripeUnit, stripeCount, features, snapshots }) => [
        order,
        stripeUnit,
        stripeCount,
        features,
        ...snapshots.map(({ name, size, protection }) => [name, size, protection]),
      ]);
      expect(is).toEqual(was);
      expect(await cluster.metadata(spec(target))).toEqual(new Map([['owner', 'me']]));
      await forgetSource();
    },
  );

  it('one import at a time: another, and one onto an image that a client writes, is refused and harms nobody', async () => {
    await writer.create(target, { size: 4 * MiB });
    const bytes = v1(t('s'), s(4 * MiB), w(0, Buffer.alloc(MiB, 1)), w(2 * MiB, Buffer.alloc(MiB, 2)), e);
    let half: () => void = () => undefined;
    const halfDone = new Promise<void>((resolve) => (half = resolve));
    let goOn: () => void = () => undefined;
    const goes = new Promise<void>((resolve) => (goOn = resolve));
    async function* slowly() {
      yield bytes.subarray(0, MiB + 100);
      half();
      await goes;
      yield bytes.subarray(MiB + 100);
    }
    const run1 = opening(target, (opened) =>
      importDiff(opened, (snap) => cluster.open(spec(target, snap)), new ByteReader(chunkSource(slowly()))),
    );
    await halfDone;
    const other = await connectCeph({});
    const opened = await other.openToWrite(spec(target));
    const second = () =>
      importDiff(opened, (snap) => other.open(spec(target, snap)), readerOf(bytes), { overwrite: true });
    expect(await failureOf(second())).toMatchObject({
      code: 'busy',
      message: expect.stringContaining('nothing was changed'),
    });
    goOn();
    await run1;
    for (const snap of ['@s', '']) expect(await digest(target, snap)).toBe(sha(applied(4 * MiB, 1, 2)));
    // A client that only has the lock because it wrote would let it go, and get an error for its next write.
    await opened.write(0, Buffer.alloc(512, 9));
    expect(await failureOf(apply(target, v1(f('s'), s(4 * MiB), e), { rollback: true }))).toMatchObject({
      code: 'busy',
    });
    await opened.write(512, Buffer.alloc(512, 9));
    await apply(target, v1(f('s'), t('forced'), s(4 * MiB), z(0, 512), e), { force: true });
    await other.close();
    await apply(target, v1(f('s'), t('next'), s(4 * MiB), z(0, MiB), e), { rollback: true });
    expect(await digest(target, '@next')).toBe(sha(applied(4 * MiB, 0, 2)));
  });

  it('format 2: what is cut off leaves no image, though it had snapshots already', async () => {
    await makeSource();
    const file = await rbd(['export', '--no-progress', '--export-format', '2', `${pool}/${source}`, '-']);
    for (const cut of [1, 6, 500_000])
      expect(
        await failureOf(importImage(cluster, spec(target), readerOf(file.subarray(0, file.length - cut)))),
      ).toMatchObject({ code: 'corrupt' });
    expect(await cluster.list(pool, '')).not.toContain(target);
    await forgetSource();
  });
});
