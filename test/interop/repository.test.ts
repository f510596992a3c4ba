// Backups of every kind of image on a real Ceph, to a directory and to real S3 (radosgw), by the command line: restored by
// us in every way and by stock tools, each point is the snapshot it was made of.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CreateBucketCommand, ListMultipartUploadsCommand, S3Client } from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, rbd, rbdelta, rbdeltaOk } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget, histories, type History, MiB, size } from './histories.ts';
import {
  backUp,
  bytesOf,
  dropImage,
  expectClean,
  filesOf,
  importWithStockTools,
  type MadePoint,
  onCeph,
  onS3,
  ownSnapshots,
  pointsOf,
  restoredBytes,
} from './repository-kit.ts';

const KiB = 1024;
const bucket = `it-repo-${process.pid}-${Date.now()}`;
const stores = [...(onCeph ? ['directory'] : []), ...(onS3 ? ['s3'] : [])];
/** The stores differ in nothing that an image could show: S3 gets the images that differ most. */
const storesOf = ({ name }: History): string[] =>
  stores.filter((store) => store === 'directory' || name === 'plain' || name === 'clone');

let writer: RbdWriter;
let folder: string;
let client: S3Client | null = null;

beforeAll(async () => {
  if (!onCeph) return;
  folder = await mkdtemp(join(tmpdir(), 'rbdelta-interop-'));
  writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
  if (!onS3) return;
  client = new S3Client({ forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: bucket }));
});

afterAll(async () => {
  if (!onCeph) return;
  await writer.end();
  client?.destroy();
  await rm(folder, { recursive: true });
});

/** A new repository. */
async function repositoryIn(store: string, name: string): Promise<string> {
  const where = store === 's3' ? `s3://${bucket}/${name}` : join(folder, name);
  await rbdeltaOk(['repo', 'init', where]);
  return where;
}

const unfinishedUploads = async (): Promise<number> =>
  (await client?.send(new ListMultipartUploadsCommand({ Bucket: bucket })))?.Uploads?.length ?? 0;

/** Beside the images of other suites, which run at the same time. */
const ownCopyOf = (history: History): History => ({
  ...history,
  image: history.image.replace(/it-(?!space)/, 'repo-'),
});

describe.skipIf(!onCeph).each(histories.map((history) => [history.name, ownCopyOf(history)] as const))(
  '%s',
  (_, history) => {
    const source = `volumes/${history.image}`;
    const scratch = `backups/repo-${history.image.replaceAll('/', '-')}`;
    /** What each point must be, of every store the same. */
    const points: { made: Record<string, MadePoint>; truth: string }[] = [];
    /** Where every point costs too much: the full, one in the middle, the newest. */
    const some = (): typeof points => [points[0]!, points[points.length >> 1]!, points.at(-1)!];
    const stores = storesOf(history);
    const repositories: Record<string, string> = {};

    beforeAll(async () => {
      await forget(writer, history);
      await history.make(writer, history.image);
      await writer.close(history.image);
      for (const store of stores) repositories[store] = await repositoryIn(store, history.image.replaceAll('/', '-'));
      const backUpAll = async (...options: string[]): Promise<void> => {
        const made: Record<string, MadePoint> = {};
        for (const store of stores) made[store] = await backUp(source, repositories[store]!, ...options);
        points.push({ made, truth: await bytesOf(`${source}@${made['directory']!.snapshot}`) });
      };
      const snapshots = (await writer.snapshots(history.image)).map(({ name }) => name);
      await writer.close(history.image);
      for (const name of snapshots) await backUpAll('--snap', name);
      await backUpAll();
      await writer.write(history.image, MiB + 3, noise(200, 70 * KiB));
      await writer.discard(history.image, 2 * MiB, MiB);
      await writer.resize(history.image, size + 3 * MiB + 1);
      await writer.write(history.image, size + MiB, noise(201, 100 * KiB + 5));
      await writer.close(history.image);
      await backUpAll();
      await writer.resize(history.image, 14 * MiB + 333);
      await writer.write(history.image, 14 * MiB, noise(202, 333));
      await writer.close(history.image);
      await backUpAll();
    });

    afterAll(async () => {
      for (const what of ['stock', 'new', 'in-place']) await dropImage(`${scratch}-${what}`);
      await forget(writer, history);
    });

    describe.each(stores)('to %s', (store) => {
      test('the first is a full, all others are increments; of our snapshots only the newest stays', async () => {
        const methods = points.map(({ made }) => made[store]!.method);
        expect(methods).toEqual(['full', ...methods.slice(1).map(() => 'increment')]);
        expect(await ownSnapshots(source)).toContain(points.at(-1)!.made[store]!.snapshot);
        expect(await ownSnapshots(source)).toHaveLength(stores.length);
        await expectClean(repositories[store]!);
      });

      test('cat | zstd -d | rbd import-diff, point by point', async () => {
        const copy = `${scratch}-stock`;
        await dropImage(copy);
        await rbd(['create', '--size', '1M', copy]);
        for (const { made, truth } of points) {
          const { point, snapshot } = made[store]!;
          const into = join(folder, 'fetched');
          await importWithStockTools(await filesOf(repositories[store]!, history.image, point, into), copy);
          const found = { head: await bytesOf(copy), snapshot: await bytesOf(`${copy}@${snapshot}`) };
          expect({ point, ...found }).toEqual({ point, head: truth, snapshot: truth });
        }
      });

      test('points to a new image, and to standard output', async () => {
        const copy = `${scratch}-new`;
        for (const { made, truth } of some()) {
          const { point } = made[store]!;
          await dropImage(copy);
          await rbdeltaOk(['restore', '--no-progress', repositories[store]!, point, copy]);
          const found = { image: await bytesOf(copy), stdout: await restoredBytes(repositories[store]!, point) };
          expect({ point, ...found }).toEqual({ point, image: truth, stdout: truth });
        }
      });

      test('points in place, newest first, then the newest again', async () => {
        const copy = `${scratch}-in-place`;
        await dropImage(copy);
        await rbd(['create', '--size', '16M', copy]);
        for (const { made, truth } of [...some().toReversed(), points.at(-1)!]) {
          const { point } = made[store]!;
          await rbdeltaOk(['restore', '--no-progress', '--in-place', repositories[store]!, point, copy]);
          expect({ point, image: await bytesOf(copy) }).toEqual({ point, image: truth });
        }
      });

      test('the oldest and the newest to a file', async () => {
        for (const { made, truth } of [points[0]!, points.at(-1)!]) {
          const file = join(folder, 'restored.raw');
          await rm(file, { force: true });
          await rbdeltaOk(['restore', '--no-progress', repositories[store]!, made[store]!.point, `file:${file}`]);
          expect(await digestOf('cat', [file])).toBe(truth);
        }
      });
    });
  },
);

describe.skipIf(!onCeph).each(stores)('an image that is backed up to %s', (store) => {
  const image = `repo-life-${store}`;
  const source = `volumes/${image}`;
  let repository: string;

  beforeAll(async () => {
    await forget(writer, { image });
    repository = await repositoryIn(store, image);
    await writer.create(image, { size: 20 * MiB });
    for (let at = 0; at < 16; at++) await writer.write(image, at * MiB, noise(300 + at, MiB));
    await writer.close(image);
  });

  afterAll(async () => {
    await writer.close(image);
    await forget(writer, { image });
  });

  test('the snapshot of the point before is released, one of somebody else is not touched', async () => {
    await rbd(['snap', 'create', '--no-progress', `${source}@theirs`]);
    for (let i = 0; i < 3; i++) {
      const { snapshot } = await backUp(source, repository);
      expect(await ownSnapshots(source)).toEqual([snapshot]);
    }
    expect((await writer.snapshots(image)).map(({ name }) => name)).toContain('theirs');
    await writer.close(image);
  });

  test('a base snapshot that somebody removed costs a read, and nothing is stored twice', async () => {
    const [lost = ''] = await ownSnapshots(source);
    await rbd(['snap', 'rm', '--no-progress', `${source}@${lost}`]);
    await writer.write(image, 5 * MiB + 123, noise(340, 9000));
    await writer.close(image);
    const made = await backUp(source, repository);
    expect(made.method).toBe('compare');
    expect(made.read_bytes).toBeGreaterThanOrEqual(16 * MiB);
    expect(made.stored_bytes).toBeLessThan(256 * KiB);
    expect(await restoredBytes(repository, made.point)).toBe(await bytesOf(`${source}@${made.snapshot}`));
    await writer.write(image, 6 * MiB, noise(341, 10));
    await writer.close(image);
    expect((await backUp(source, repository)).method).toBe('increment');
  });

  test.each(['taken by writing', 'held for itself'])('the exclusive lock is with another client: %s', async (how) => {
    await writer.write(image, 7 * MiB, noise(350, 4 * KiB));
    if (how === 'held for itself') await writer.lock(image);
    const made = await backUp(source, repository);
    expect(made.method).toBe('increment');
    await writer.write(image, 7 * MiB, noise(351, 4 * KiB)); // it still can
    await writer.flush(image);
    expect(await restoredBytes(repository, made.point)).toBe(await bytesOf(`${source}@${made.snapshot}`));
    expect(await bytesOf(source)).not.toBe(await bytesOf(`${source}@${made.snapshot}`));
    await writer.close(image);
  });

  test('flatten, forget, prune and copy change no byte of what stays', async () => {
    const truth = new Map<string, string>();
    await rbdeltaOk(['repo', 'prune', '--no-progress', '--keep-last', '1', repository]);
    const [first] = await pointsOf(repository);
    truth.set(first!.point, await restoredBytes(repository, first!.point));
    for (let i = 0; i < 3; i++) {
      for (let at = 0; at < 10; at++)
        await writer.write(image, ((i * 7 + at) % 16) * MiB + i, noise(400 + i, 30 * KiB));
      await writer.discard(image, (10 + i) * MiB, 2 * MiB);
      await writer.close(image);
      const { point, snapshot } = await backUp(source, repository);
      truth.set(point, await bytesOf(`${source}@${snapshot}`));
    }
    const [oldest = '', second = '', third = '', newest = ''] = [...truth.keys()];
    const expectPoints = async (where: string, points: readonly string[]): Promise<void> => {
      expect((await pointsOf(where)).map(({ point }) => point)).toEqual(points);
      const found = await Promise.all(points.map((point) => restoredBytes(where, point)));
      expect(found).toEqual(points.map((point) => truth.get(point)));
      await expectClean(where);
      expect(await unfinishedUploads()).toBe(0);
    };
    await rbdeltaOk(['repo', 'flatten', '--no-progress', repository, third]);
    await rbdeltaOk(['repo', 'forget', '--no-progress', repository, second]);
    await expectPoints(repository, [oldest, third, newest]);

    const other = store === 's3' ? `s3://${bucket}/${image}-copy` : join(folder, `${image}-copy`);
    await rbdeltaOk(['repo', 'init', '--like', repository, other]);
    await rbdeltaOk(['repo', 'copy', '--no-progress', repository, other]);
    await expectPoints(other, [oldest, third, newest]);

    await rbdeltaOk(['repo', 'prune', '--no-progress', '--keep-last', '1', repository]);
    await expectPoints(repository, [newest]);
    await rbdeltaOk(['repo', 'verify', '--no-progress', '--level', 'scrub', repository]);
    // the chain goes on behind it
    const made = await backUp(source, repository);
    expect(made.method).toBe('increment');
    const copy = `backups/${image}-stock`;
    await dropImage(copy);
    await rbd(['create', '--size', '1M', copy]);
    for (const point of [newest, made.point]) {
      const into = join(folder, 'fetched');
      await importWithStockTools(await filesOf(repository, image, point, into), copy);
    }
    expect(await bytesOf(copy)).toBe(await bytesOf(`${source}@${made.snapshot}`));
    await dropImage(copy);
  }, 600_000);

  test('two at once: one is refused or waits', async () => {
    const args = ['backup', '--no-progress', source, repository];
    const results = await Promise.all([1, 2].map(() => rbdelta(args)));
    const statuses = results.map(({ status }) => status ?? -1).sort((a, b) => a - b);
    expect(statuses[0]).toBe(0);
    expect([0, 16]).toContain(statuses[1]);
    await expectClean(repository);
  });
});
