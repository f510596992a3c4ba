import { randomBytes } from 'node:crypto';
import * as sdk from '@aws-sdk/client-s3';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ByteSink } from '../../src/bytes/sink.ts';
import type { ByteSource } from '../../src/bytes/source.ts';
import { connectS3, parseS3Url, type S3Connection, s3Sink, s3Source } from '../../src/store/s3.ts';
import { type FaultyProxy, faultyProxy } from '../kit/http-faults.ts';

const MiB = 1 << 20;

test('an address is s3://bucket/key, the key taken as it is', () => {
  expect(parseS3Url('s3://b/k')).toEqual({ bucket: 'b', key: 'k' });
  expect(parseS3Url('s3://b/a b/%20?x#y//z')).toEqual({ bucket: 'b', key: 'a b/%20?x#y//z' });
  for (const url of [
    's3://',
    's3:///k',
    's3://b',
    's3://b/',
    's3://b/dir/',
    's4://b/k',
    `s3://b/${'k'.repeat(1025)}`,
  ]) {
    expect(() => parseS3Url(url)).toThrow(expect.objectContaining({ code: 'usage' }));
  }
});

test('a server that is not there is unavailable', async () => {
  const nobody = { endpoint: 'http://127.0.0.1:1', region: 'x', attempts: 1, bucket: 'b', key: 'k' };
  const refused = { code: 'unavailable', message: expect.stringContaining('s3://b/k at http://127.0.0.1:1') };
  await withCredentials({ id: 'x', secret: 'x' }, async () => {
    await expect(s3Source(nobody)).rejects.toMatchObject(refused);
    await expect(s3Sink(nobody)).rejects.toMatchObject(refused);
  });
});

describe.skipIf(!process.env['RBDELTA_TEST_S3'])('with a real server', () => {
  const bucket = `rbdelta-${process.pid}-${randomBytes(4).toString('hex')}`;
  let s3: S3Connection;
  let proxy: FaultyProxy;
  let objects = 0;

  beforeAll(async () => {
    s3 = await connectS3();
    proxy = await faultyProxy(s3.endpoint);
    await s3.client.send(new sdk.CreateBucketCommand({ Bucket: bucket }));
  });

  afterAll(async () => {
    for (const { Key } of (await s3.client.send(new sdk.ListObjectsV2Command({ Bucket: bucket }))).Contents ?? []) {
      await s3.client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key }));
    }
    await s3.client.send(new sdk.DeleteBucketCommand({ Bucket: bucket }));
    s3.client.destroy();
    await proxy[Symbol.asyncDispose]();
  });

  /** A key of its own for each test, reached through the proxy. */
  function somewhere(): { bucket: string; key: string; endpoint: string } {
    proxy.faults.length = proxy.requests.length = 0;
    objects += 1;
    return { bucket, key: `dir/object ${objects}+é`, endpoint: proxy.url };
  }

  async function store(sink: ByteSink, bytes: Uint8Array): Promise<void> {
    try {
      for (let at = 0; at < bytes.length; at += 3 * MiB) await sink.write([bytes.subarray(at, at + 3 * MiB)]);
      await sink.finish();
    } catch (error) {
      await sink.abort();
      throw error;
    }
  }

  async function put(key: string, text: string): Promise<void> {
    await s3.client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: key, Body: Buffer.from(text) }));
  }

  async function read(source: ByteSource): Promise<Buffer> {
    const parts: Buffer[] = [];
    try {
      for (;;) {
        const into = Buffer.alloc(MiB);
        const count = await source.read(into);
        if (count === 0) return Buffer.concat(parts);
        parts.push(into.subarray(0, count));
      }
    } finally {
      await source.close();
    }
  }

  const stored = async (key: string): Promise<Buffer> => read(await s3Source({ bucket, key }));

  const uploads = async (): Promise<unknown[]> =>
    (await s3.client.send(new sdk.ListMultipartUploadsCommand({ Bucket: bucket }))).Uploads ?? [];

  async function expectNothingLeft(key: string): Promise<void> {
    expect(await uploads()).toEqual([]);
    await expect(stored(key)).rejects.toMatchObject({ code: 'notFound' });
  }

  describe('writing', () => {
    test('what fits into a part is one conditional PUT', async () => {
      const to = somewhere();
      const bytes = randomBytes(100_000);
      await store(await s3Sink(to), bytes);
      expect(proxy.requests.map((line) => line.split(' ')[0])).toEqual(['HEAD', 'GET', 'PUT']);
      expect((await stored(to.key)).equals(bytes)).toBe(true);
    });

    test('nothing at all is an empty object', async () => {
      const to = somewhere();
      await store(await s3Sink(to), Buffer.alloc(0));
      expect(await stored(to.key)).toHaveLength(0);
    });

    test('what is larger goes in parts and reads back', async () => {
      for (const length of [8 * MiB, 8 * MiB + 1, 50 * MiB]) {
        const to = somewhere();
        const bytes = randomBytes(length);
        await store(await s3Sink({ ...to, maxBytes: length }), bytes);
        const parts = proxy.requests.filter((line) => line.includes('partNumber'));
        expect(parts).toHaveLength(length === 8 * MiB ? 0 : Math.ceil(length / (8 * MiB)));
        expect((await stored(to.key)).equals(bytes)).toBe(true);
      }
      expect(await uploads()).toEqual([]);
    });

    test('a key that exists is refused before anything is sent', async () => {
      const to = somewhere();
      await put(to.key, 'old');
      await expect(s3Sink(to)).rejects.toMatchObject({ code: 'exists', message: expect.stringContaining(to.key) });
      expect(proxy.requests.some((line) => /^(PUT|POST)/.test(line))).toBe(false);
    });

    test('a bucket that does not exist is refused before anything is sent', async () => {
      const to = { ...somewhere(), bucket: 'rbdelta-no-such-bucket' };
      await expect(s3Sink(to)).rejects.toMatchObject({
        code: 'notFound',
        message: expect.stringContaining('the bucket does not exist'),
      });
    });

    test('a key that appears meanwhile is not overwritten', async () => {
      for (const length of [1000, 20 * MiB]) {
        const to = somewhere();
        const sink = await s3Sink(to);
        await put(to.key, 'theirs');
        await expect(store(sink, randomBytes(length))).rejects.toMatchObject({ code: 'exists' });
        expect((await stored(to.key)).toString()).toBe('theirs');
      }
      expect(await uploads()).toEqual([]);
    });

    test('abort leaves nothing behind, whenever it comes', async () => {
      expect.hasAssertions();
      for (const length of [0, 1000, 9 * MiB, 40 * MiB]) {
        const to = somewhere();
        const sink = await s3Sink(to);
        await sink.write([randomBytes(length)]);
        await sink.abort();
        await sink.abort();
        await expectNothingLeft(to.key);
      }
    });

    test('an answer that gets lost is not a failure, nor a key that exists', async () => {
      for (const [match, length] of [
        [/^PUT/, 1000],
        [/^POST .*uploadId=/, 20 * MiB],
      ] as const) {
        const to = somewhere();
        const bytes = randomBytes(length);
        proxy.faults.push({ match, times: 1, act: { kind: 'loseAnswer', status: 500, code: 'InternalError' } });
        await store(await s3Sink(to), bytes);
        expect((await stored(to.key)).equals(bytes)).toBe(true);
      }
      expect(await uploads()).toEqual([]);
    });

    test('failures that pass are tried again: 500, 503, a broken connection', async () => {
      const to = somewhere();
      const bytes = randomBytes(40 * MiB);
      proxy.faults.push(
        { match: /partNumber=2/, times: 2, act: { kind: 'answer', status: 503, code: 'SlowDown' } },
        { match: /partNumber=3/, times: 1, act: { kind: 'cut' } },
        { match: /^POST .*uploads/, times: 1, act: { kind: 'answer', status: 500, code: 'InternalError' } },
        { match: /^POST .*uploadId=/, times: 2, act: { kind: 'answer', status: 500, code: 'InternalError' } },
      );
      await store(await s3Sink(to), bytes);
      expect((await stored(to.key)).equals(bytes)).toBe(true);
    });

    test('failures that stay fail, and leave nothing behind', async () => {
      const errors = { answer: 500, code: 'InternalError' };
      for (const [match, status, code] of [
        [/^PUT .*partNumber=2/, errors.answer, 'io'],
        [/^POST .*uploadId=/, errors.answer, 'io'],
        [/^POST .*uploads/, 403, 'permission'],
        [/^PUT .*partNumber=1/, 503, 'unavailable'],
        [/^PUT .*partNumber=1/, 507, 'noSpace'],
      ] as const) {
        const to = { ...somewhere(), attempts: 2 };
        proxy.faults.push({ match, act: { kind: 'answer', status, code: 'MadeUp' } });
        await expect(store(await s3Sink(to), randomBytes(20 * MiB))).rejects.toMatchObject({ code });
        await expectNothingLeft(to.key);
      }
    });

    test('a byte that changes on the way is noticed by the server', async () => {
      for (const length of [1000, 20 * MiB]) {
        const to = { ...somewhere(), attempts: 1 };
        proxy.faults.push({ match: /^PUT/, act: { kind: 'flipByte', at: 500 } });
        await expect(store(await s3Sink(to), randomBytes(length))).rejects.toMatchObject({ name: 'RbdeltaError' });
        await expectNothingLeft(to.key);
      }
    });

    test('an aborted signal interrupts what hangs, and nothing stays', async () => {
      const to = somewhere();
      const stop = new AbortController();
      const sink = await s3Sink({ ...to, signal: stop.signal });
      proxy.faults.push({ match: /partNumber=1/, act: { kind: 'hang' } });
      const writing = store(sink, randomBytes(80 * MiB));
      setTimeout(() => stop.abort(), 100);
      await expect(writing).rejects.toMatchObject({ code: 'interrupted' });
      await expectNothingLeft(to.key);
    });

    test('a signal that comes while something is created or published leaves nothing, either', async () => {
      for (const [match, length] of [
        [/^POST .*uploads/, 20 * MiB],
        [/^POST .*uploadId=/, 20 * MiB],
        [/^PUT/, 1000],
      ] as const) {
        const to = somewhere();
        const stop = new AbortController();
        const sink = await s3Sink({ ...to, signal: stop.signal });
        // The server does it, but the answer no longer reaches anybody.
        const run = async (): Promise<void> => stop.abort();
        proxy.faults.push({ match, times: 1, act: { kind: 'before', run } });
        const writing = (async () => {
          for (let at = 0; at < length; at += MiB) await sink.write([randomBytes(Math.min(MiB, length))]);
          await sink.finish();
        })();
        await expect(writing).rejects.toMatchObject({ code: 'interrupted' });
        await proxy.idle();
        await sink.abort();
        await expectNothingLeft(to.key);
      }
    });
  });

  describe('reading', () => {
    const bytes = randomBytes(3 * MiB + 17);
    const key = 'to read';
    const from = (): { bucket: string; key: string; endpoint: string; rangeBytes: number } => ({
      ...somewhere(),
      key,
      rangeBytes: MiB,
    });

    beforeAll(async () => {
      await store(await s3Sink({ bucket, key }), bytes);
    });

    test('ranges come in order and are the whole', async () => {
      expect((await read(await s3Source(from()))).equals(bytes)).toBe(true);
      expect(proxy.requests.filter((line) => line.startsWith('GET'))).toHaveLength(4);
    });

    test('a key that is missing, or a bucket, is refused at once', async () => {
      await expect(s3Source({ ...from(), key: 'nothing' })).rejects.toMatchObject({
        code: 'notFound',
        message: `cannot read s3://${bucket}/nothing at ${proxy.url}: the bucket has no such key`,
      });
      await expect(s3Source({ ...from(), bucket: 'rbdelta-nothing' })).rejects.toMatchObject({
        code: 'notFound',
        message: expect.stringMatching(/the bucket does not exist$/),
      });
    });

    test('credentials that the server does not take are a matter of permission', async () => {
      const { AWS_ACCESS_KEY_ID: id = '' } = process.env;
      await withCredentials({ id, secret: 'wrong' }, async () => {
        const message = expect.stringContaining(`the secret key is wrong for the access key ${id}`);
        const wrong = { code: 'permission', message };
        await expect(s3Source(from())).rejects.toMatchObject(wrong);
        await expect(s3Sink({ ...from(), key: 'new' })).rejects.toMatchObject(wrong);
      });
      await withCredentials({ id: 'NOBODY', secret: 'wrong' }, async () => {
        const unknown = { code: 'permission', message: expect.stringContaining('does not know the access key NOBODY') };
        await expect(s3Source(from())).rejects.toMatchObject(unknown);
      });
    });

    test('a body that is cut is continued', async () => {
      const source = from();
      proxy.faults.push(
        { match: /^GET/, skip: 1, times: 2, act: { kind: 'cutBody', afterBytes: 300_000 } },
        { match: /^GET/, times: 1, act: { kind: 'cut' } },
        { match: /^GET/, times: 1, act: { kind: 'answer', status: 503, code: 'SlowDown' } },
      );
      expect((await read(await s3Source(source))).equals(bytes)).toBe(true);
    });

    test('a body that is always cut fails and says where', async () => {
      proxy.faults.length = 0;
      const source = await s3Source({ ...from(), attempts: 2 });
      proxy.faults.push({ match: /^GET/, act: { kind: 'cutBody', afterBytes: 1000 } });
      await expect(read(source)).rejects.toMatchObject({
        code: 'io',
        message: expect.stringMatching(/breaks at byte \d+/),
      });
    });

    test('an object that is replaced meanwhile is noticed', async () => {
      const moving = 'replaced';
      await store(await s3Sink({ bucket, key: moving }), bytes);
      const source = await s3Source({ ...from(), key: moving, ahead: 1 });
      proxy.faults.push({ match: /^GET/, skip: 1, times: 1, act: { kind: 'before', run: () => put(moving, 'new') } });
      await expect(read(source)).rejects.toMatchObject({ code: 'io', message: expect.stringContaining('replaced') });
    });

    test('a reader that leaves early, or is interrupted, waits for nothing', async () => {
      const left = await s3Source(from());
      proxy.faults.push({ match: /^GET/, skip: 2, act: { kind: 'hang' } });
      await left.read(Buffer.alloc(10));
      await left.close();

      const stop = new AbortController();
      const source = await s3Source({ ...from(), signal: stop.signal });
      proxy.faults.push({ match: /^GET/, act: { kind: 'hang' } });
      setTimeout(() => stop.abort(), 100);
      await expect(read(source)).rejects.toMatchObject({ code: 'interrupted' });
    });
  });
});

/** The SDK finds credentials in the environment: other ones, for a while. */
async function withCredentials(other: { id: string; secret: string }, run: () => Promise<void>): Promise<void> {
  const before = { ...process.env };
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: other.id, AWS_SECRET_ACCESS_KEY: other.secret });
  try {
    await run();
  } finally {
    for (const name of ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY']) {
      if (before[name] === undefined) delete process.env[name];
      else process.env[name] = before[name];
    }
  }
}
