// Diffs that go to real S3 (radosgw) and come back: bytes, refusals, and nothing left behind.

import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { CreateBucketCommand, ListMultipartUploadsCommand, ListObjectsV2Command, S3Client } from '@aws-sdk/client-s3';
import { digestOf, rbdelta, rbdeltaOk, rbdeltaProgram, start } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget, MiB } from './histories.ts';

const on = process.env['RBDELTA_TEST_CEPH'] === '1' && process.env['RBDELTA_TEST_S3'] === '1';
const bytesOf = (spec: string): Promise<string> => digestOf('rbd', ['export', '--no-progress', spec, '-']);

describe.skipIf(!on)('s3:// paths', () => {
  let writer: RbdWriter;
  let client: S3Client;
  const bucket = `it-${process.pid}-${Date.now()}`;
  const image = 'it-s3';
  const made = [image];

  beforeAll(async () => {
    client = new S3Client({ forcePathStyle: true });
    await client.send(new CreateBucketCommand({ Bucket: bucket }));
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
    await forget(writer, { image });
    await writer.create(image, { size: 40 * MiB });
    for (let at = 0; at < 24; at++) await writer.write(image, at * MiB, noise(at, MiB)); // several parts
    await writer.createSnapshot(image, 's1');
    await writer.write(image, 30 * MiB + 1, noise(99, 5000));
    await writer.createSnapshot(image, 's2');
    await writer.close(image);
  });

  afterAll(async () => {
    for (const name of made) await forget(writer, { image: name });
    await writer.end();
    client.destroy();
  });

  const target = async (name: string): Promise<string> => {
    await forget(writer, { image: name });
    made.push(name);
    await writer.create(name, { size: MiB });
    return `volumes/${name}`;
  };
  const keys = async (): Promise<string[]> => {
    const listed = await client.send(new ListObjectsV2Command({ Bucket: bucket }));
    return (listed.Contents ?? []).map((object) => object.Key ?? '');
  };
  const unfinished = async (): Promise<number> =>
    (await client.send(new ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads?.length ?? 0;

  test.each([[[]], [['--compress', 'zstd']]])('a full and an increment go there and come back %j', async (options) => {
    const prefix = `s3://${bucket}/chain${options.length}`;
    const full = ['export-diff', '--no-progress', ...options, `volumes/${image}@s1`, `${prefix}/full`];
    const increment = [
      'export-diff',
      '--no-progress',
      ...options,
      '--from-snap',
      's1',
      `volumes/${image}@s2`,
      `${prefix}/inc`,
    ];
    await rbdeltaOk(full);
    await rbdeltaOk(increment);
    const copy = await target(`it-s3-copy${options.length}`);
    await rbdeltaOk(['import-diff', '--no-progress', `${prefix}/full`, copy]);
    await rbdeltaOk(['import-diff', '--no-progress', `${prefix}/inc`, copy]);
    expect(await bytesOf(copy)).toBe(await bytesOf(`volumes/${image}@s2`));
    expect(await bytesOf(`${copy}@s1`)).toBe(await bytesOf(`volumes/${image}@s1`));
  });

  test('a key that exists is refused as rbd refuses a file, and stays as it was', async () => {
    const path = `s3://${bucket}/taken`;
    await rbdeltaOk(['export-diff', '--no-progress', '--from-snap', 's1', `volumes/${image}@s2`, path]);
    expect(await rbdelta(['export-diff', '--no-progress', `volumes/${image}@s2`, path])).toMatchObject({ status: 17 });
    expect((await rbdeltaOk(['inspect', '--json', path])).toString()).toContain('"s1"');
  });

  test('an export that is interrupted leaves no object and no half upload behind', async () => {
    const before = await keys();
    const args = ['export-diff', '--no-progress', '--max-rate', '6M', `volumes/${image}@s1`, `s3://${bucket}/cut`];
    const exporting = start(process.execPath, [rbdeltaProgram, ...args]);
    while ((await unfinished()) === 0 && exporting.child.exitCode === null) await sleep(50);
    exporting.child.kill('SIGINT');
    const { status } = await exporting.result;
    expect(status).toBe(130);
    expect(await keys()).toEqual(before);
    expect(await unfinished()).toBe(0);
  });
});
