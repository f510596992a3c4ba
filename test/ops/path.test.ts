import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as sdk from '@aws-sdk/client-s3';
import { afterAll, describe, expect, test } from 'vitest';
import type { ByteSource } from '../../src/bytes/source.ts';
import { createSink, openSource, parseCompress } from '../../src/ops/path.ts';
import { connectS3 } from '../../src/store/s3.ts';

const dir = mkdtempSync(join(tmpdir(), 'path-'));
afterAll(() => rmSync(dir, { recursive: true }));

const bytes = Buffer.concat([Buffer.alloc(100_000, 'abc'), randomBytes(1000)]);

async function readAll(source: ByteSource): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(65_536);
    const count = await source.read(into);
    if (count === 0) break;
    parts.push(into.subarray(0, count));
  }
  await source.close();
  return Buffer.concat(parts);
}

async function writeAll(path: string, options: Parameters<typeof createSink>[1] = {}): Promise<void> {
  const sink = await createSink(path, options);
  await sink.write([bytes]);
  await sink.finish();
}

test('a file is written once, and reads back, compressed or not', async () => {
  const plain = join(dir, 'plain');
  await writeAll(plain);
  expect(readFileSync(plain).equals(bytes)).toBe(true);
  await expect(createSink(plain)).rejects.toMatchObject({ code: 'exists' });
  expect((await readAll(await openSource(plain))).equals(bytes)).toBe(true);

  const packed = join(dir, 'packed');
  await writeAll(packed, { compress: 3, maxRate: 10 << 20 });
  expect(readFileSync(packed).length).toBeLessThan(bytes.length / 10);
  expect((await readAll(await openSource(packed, { maxRate: 10 << 20 }))).equals(bytes)).toBe(true);
});

test('what is wrong with the options is said before anything is created', async () => {
  const path = join(dir, 'never');
  await expect(createSink(path, { compress: 20 })).rejects.toMatchObject({ code: 'usage' });
  await expect(openSource(path)).rejects.toMatchObject({ code: 'notFound' });
  await expect(createSink('s3://bucket')).rejects.toMatchObject({ code: 'usage' });
});

test('an empty file is an empty stream', async () => {
  writeFileSync(join(dir, 'empty'), '');
  expect(await readAll(await openSource(join(dir, 'empty')))).toHaveLength(0);
});

test('raw bytes are decompressed only from a path that ends in .zst, with a notice', async () => {
  const notices: string[] = [];
  const options = { raw: true, onNotice: (text: string) => notices.push(text) };
  const [image, packed, plain] = [join(dir, 'image.raw'), join(dir, 'image.zst'), join(dir, 'plain.zst')];
  await writeAll(packed, { compress: 3 });
  const stored = readFileSync(packed);
  writeFileSync(image, stored);
  writeFileSync(plain, bytes);
  expect((await readAll(await openSource(image, options))).equals(stored)).toBe(true);
  expect((await readAll(await openSource(plain, options))).equals(bytes)).toBe(true);
  expect(notices).toEqual([]);
  expect((await readAll(await openSource(packed, options))).equals(bytes)).toBe(true);
  expect(notices).toEqual([`"${packed}" is decompressed`]);
});

test('--compress is zstd or zstd:LEVEL', () => {
  expect(parseCompress('zstd')).toBe(3);
  expect(parseCompress('zstd:1')).toBe(1);
  expect(parseCompress('zstd:19')).toBe(19);
  for (const text of ['', 'gzip', 'zstd:', 'zstd:0', 'zstd:20', 'zstd:x', 'zstd:-1', 'zstd:3:3', 'zstd3']) {
    expect(() => parseCompress(text)).toThrow(expect.objectContaining({ code: 'usage' }));
  }
});

describe.skipIf(!process.env['RBDELTA_TEST_S3'])('with a real server', () => {
  test('an object is written once, and reads back, compressed or not', async () => {
    const { client } = await connectS3();
    const Bucket = `rbdelta-path-${process.pid}-${randomBytes(4).toString('hex')}`;
    await client.send(new sdk.CreateBucketCommand({ Bucket }));
    try {
      await writeAll(`s3://${Bucket}/plain`, { maxBytes: bytes.length });
      await writeAll(`s3://${Bucket}/packed`, { maxBytes: bytes.length, compress: 3 });
      await expect(createSink(`s3://${Bucket}/plain`)).rejects.toMatchObject({ code: 'exists' });
      expect((await readAll(await openSource(`s3://${Bucket}/plain`))).equals(bytes)).toBe(true);
      expect((await readAll(await openSource(`s3://${Bucket}/packed`))).equals(bytes)).toBe(true);
    } finally {
      for (const Key of ['plain', 'packed']) await client.send(new sdk.DeleteObjectCommand({ Bucket, Key }));
      await client.send(new sdk.DeleteBucketCommand({ Bucket }));
      client.destroy();
    }
  });
});
