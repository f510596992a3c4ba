import { randomBytes } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import * as sdk from '@aws-sdk/client-s3';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import type { CopiedRange, Store } from '../../src/store/port.ts';
import { openStore } from '../../src/store/open.ts';
import { connectS3, type S3Connection, type S3Options } from '../../src/store/s3.ts';
import { openS3Store } from '../../src/store/s3-store.ts';
import { type FaultAction, type FaultyProxy, faultyProxy } from '../kit/http-faults.ts';
import { noise } from '../kit/noise.ts';
import { collect, contentOf, keysOf, storeSuite } from '../suites/store.ts';

const MiB = 1 << 20;

test('what S3 does not have is refused before anything is sent', async () => {
  const open = (options: S3Options) =>
    openS3Store('s3://b/p', { endpoint: 'http://127.0.0.1:1', region: 'x', ...options });
  await expect(open({ storageClass: 'DEEP_ARCHIVE' })).rejects.toMatchObject({ code: 'unsupported' });
  await expect(open({ sse: 'rot13' })).rejects.toMatchObject({ code: 'usage' });
  await expect(open({ caFile: '/nowhere.pem' })).rejects.toMatchObject({ code: 'notFound' });
  await expect(openS3Store('s3://')).rejects.toMatchObject({ code: 'usage' });
});

describe.skipIf(!process.env['RBDELTA_TEST_S3'])('with a real server', () => {
  const bucket = `rbdelta-store-${process.pid}-${randomBytes(4).toString('hex')}`;
  const versioned = `${bucket}-versioned`;
  let s3: S3Connection;
  let proxy: FaultyProxy;
  let store: Store;

  beforeAll(async () => {
    s3 = await connectS3();
    proxy = await faultyProxy(s3.endpoint);
    const { client } = s3;
    for (const Bucket of [bucket, versioned]) await client.send(new sdk.CreateBucketCommand({ Bucket }));
    const VersioningConfiguration = { Status: 'Enabled' as const };
    await client.send(new sdk.PutBucketVersioningCommand({ Bucket: versioned, VersioningConfiguration }));
    store = await openS3Store(`s3://${bucket}/faults`, { endpoint: proxy.url });
  });

  afterAll(async () => {
    const { client } = s3;
    await store.remove(await keysOf(store));
    await store.close();
    for (const Bucket of [bucket, versioned]) {
      const listed = await client.send(new sdk.ListObjectVersionsCommand({ Bucket }));
      for (const { Key, VersionId } of [...(listed.Versions ?? []), ...(listed.DeleteMarkers ?? [])]) {
        await client.send(new sdk.DeleteObjectCommand({ Bucket, Key, VersionId }));
      }
      await client.send(new sdk.DeleteBucketCommand({ Bucket }));
    }
    client.destroy();
    await proxy[Symbol.asyncDispose]();
  });

  storeSuite('S3', async () => {
    const prefix = 'some/prefix/';
    const suiteStore = await openStore(`s3://${bucket}/${prefix}`);
    return {
      store: suiteStore,
      async leaveBehind(key) {
        const { client } = s3;
        const target = { Bucket: bucket, Key: prefix + key };
        const { UploadId } = await client.send(new sdk.CreateMultipartUploadCommand(target));
        await client.send(new sdk.UploadPartCommand({ ...target, UploadId, PartNumber: 1, Body: Buffer.alloc(1234) }));
        return 1234;
      },
      enforcesCreate: true,
      dispose: () => suiteStore.close(),
    };
  });

  test('a versioned bucket does not enforce create, and says so; what is seen to exist is refused', async () => {
    const whole = await openStore(`s3://${versioned}`);
    expect(await whole.enforcesCreate('p/')).toBe(false);
    await whole.put('a', Buffer.from('first'), { create: true });
    await expect(whole.put('a', Buffer.from('second'), { create: true })).rejects.toMatchObject({ code: 'exists' });
    expect(await keysOf(whole)).toEqual(['a']);
    await whole.remove(['a']);
    expect(await keysOf(whole)).toEqual([]);
    await whole.close();
  });

  test('a bucket that does not exist, and keys that are wrong, are refused when it is opened', async () => {
    await expect(openS3Store('s3://rbdelta-no-such-bucket/x')).rejects.toMatchObject({
      code: 'notFound',
      message: `cannot open s3://rbdelta-no-such-bucket/x/ at ${s3.endpoint}: the bucket does not exist`,
    });
    const before = process.env['AWS_SECRET_ACCESS_KEY'];
    process.env['AWS_SECRET_ACCESS_KEY'] = 'wrong';
    try {
      await expect(openS3Store(`s3://${bucket}/x`)).rejects.toMatchObject({ code: 'permission' });
    } finally {
      process.env['AWS_SECRET_ACCESS_KEY'] = before;
    }
  });

  describe('on the way', () => {
    const bytes = noise(2, 12 * MiB);
    const range = (offset: number, length: number): CopiedRange => ({ key: 'kept/from', offset, length });
    const small = Buffer.from('small');

    beforeAll(async () => {
      await store.write('kept/from', [bytes], { maxBytes: bytes.length });
      await store.put('kept/small', small);
    });
    beforeEach(async () => {
      proxy.faults.length = proxy.requests.length = 0;
      for await (const leftover of store.leftovers('')) await store.removeLeftover(leftover);
      await store.remove((await keysOf(store)).filter((key) => !key.startsWith('kept/')));
      proxy.requests.length = 0;
    });

    const written = (pieces: (Uint8Array | CopiedRange)[], content: Buffer) => ({
      run: () => store.write('new', pieces, { maxBytes: 64 * MiB }).then(({ bytes: length }) => length),
      gives: content.length,
      leaves: content,
    });
    const listed = ['kept/from', 'kept/small', ...Array.from({ length: 3 }, (_, i) => `listed/${i}`)];
    const putListed = async (): Promise<void> => {
      for (const key of listed.slice(2)) await store.put(key, small);
    };

    const operations: Record<
      string,
      { before?: () => Promise<void>; run: () => Promise<unknown>; gives: unknown; leaves?: Buffer | null }
    > = {
      get: { run: () => store.get('kept/small', 10), gives: small },
      'get of nothing': { run: () => store.get('nothing', 10), gives: null },
      read: {
        run: async () => {
          const into = Buffer.alloc(MiB);
          await store.read('kept/from', 12_345, into);
          return into;
        },
        gives: bytes.subarray(12_345, 12_345 + MiB),
      },
      stat: { run: () => store.stat('kept/from').then((found) => found?.bytes), gives: bytes.length },
      put: { run: () => store.put('new', small), gives: undefined, leaves: small },
      'put of what is new': { run: () => store.put('new', small, { create: true }), gives: undefined, leaves: small },
      'a small write': written([bytes.subarray(0, 1000)], bytes.subarray(0, 1000)),
      'a write in parts': written([bytes.subarray(0, 9 * MiB)], bytes.subarray(0, 9 * MiB)),
      'a copy': written([range(0, bytes.length)], bytes),
      'a copy of a part': written([range(5, 6 * MiB)], bytes.subarray(5, 6 * MiB + 5)),
      'a write of copies and data': written(
        [small, range(0, 11 * MiB), small],
        Buffer.concat([small, bytes.subarray(0, 11 * MiB), small]),
      ),
      list: { before: putListed, run: () => keysOf(store), gives: listed },
      folders: { before: putListed, run: () => collect(store.folders('')), gives: ['kept', 'listed'] },
      remove: {
        before: () => store.put('new', small),
        run: () => store.remove(['new', 'nothing']),
        gives: 2,
        leaves: null,
      },
      leftovers: { run: () => collect(store.leftovers('')), gives: [] },
      nowMs: {
        run: async () => {
          // Only then does it ask.
          vi.spyOn(performance, 'now').mockReturnValueOnce(performance.now() + 120_000);
          return (await store.nowMs()) > 0;
        },
        gives: true,
      },
      enforcesCreate: { run: () => store.enforcesCreate('probes/'), gives: true },
    };

    const passing: Record<string, FaultAction> = {
      'a 500': { kind: 'answer', status: 500, code: 'InternalError' },
      'a 503': { kind: 'answer', status: 503, code: 'SlowDown' },
      'a broken connection': { kind: 'cut' },
      'an answer that is cut': { kind: 'cutBody', afterBytes: 10 },
      'an answer that gets lost': { kind: 'loseAnswer', status: 500, code: 'InternalError' },
    };

    test('the time is told from what the last answer said', async () => {
      await store.get('kept/small', 10);
      proxy.requests.length = 0;
      expect(Math.abs((await store.nowMs()) - Date.now())).toBeLessThan(60_000);
      expect(proxy.requests).toEqual([]);
    });

    test.each(Object.keys(operations))('%s stands any fault that passes, at any request', async (name) => {
      const { before, run, gives, leaves } = operations[name]!;
      const check = async (title: string): Promise<void> => {
        const result = await run().catch((error: unknown) => Promise.reject(new Error(title, { cause: error })));
        proxy.faults.length = 0;
        const content = (await store.stat('new')) === null ? null : await contentOf(store, 'new');
        const orphans = await collect(store.leftovers(''));
        for (const orphan of orphans) await store.removeLeftover(orphan);
        const others = (await keysOf(store)).filter((key) => !/^(kept|listed|new)/.test(key));
        await store.remove(['new']);
        // Who never learns the name of an upload cannot remove it.
        const unnamed = /created.*(cut|lost)$/.test(title);
        const same = Buffer.isBuffer(gives) ? gives.equals(result as Buffer) : isDeepStrictEqual(result, gives);
        const left = content === null ? null : leaves?.equals(content);
        expect({ title, same, left, orphans: unnamed ? 0 : orphans.length, others }).toEqual({
          title,
          same: true,
          left: leaves ? true : null,
          orphans: 0,
          others: [],
        });
      };
      await before?.();
      proxy.requests.length = 0;
      await check('no fault');
      await before?.();
      proxy.requests.length = 0;
      await run();
      const requests = [...proxy.requests];
      expect(requests.length).toBeGreaterThan(0);
      for (const [skip, line] of requests.entries()) {
        for (const [fault, act] of Object.entries(passing)) {
          await store.remove(['new']);
          await before?.();
          proxy.faults.push({ match: /./, skip, times: 1, act: { ...act } });
          await check(`request ${skip} ${/[?&]uploads/.test(line) ? 'that created' : ''}: ${fault}`);
        }
      }
    });

    test('what is one part is one request, a whole object is copied, a range is not downloaded', async () => {
      const requestsOf = async (pieces: (Uint8Array | CopiedRange)[]): Promise<string[]> => {
        proxy.requests.length = 0;
        await store.write('new', pieces, { maxBytes: 64 * MiB });
        return proxy.requests.map((line) =>
          line.replace(/ .*?[?&](partNumber|uploads|uploadId).*/, ' $1').replace(/ \/.*/, ''),
        );
      };
      expect(await requestsOf([bytes.subarray(0, 8 * MiB)])).toEqual(['PUT']);
      expect(await requestsOf([range(0, bytes.length)])).toEqual(['HEAD', 'PUT']);
      expect(await requestsOf([range(4, 100), small])).toEqual(['GET', 'PUT']);
      const parts = await requestsOf([bytes.subarray(0, 6 * MiB), range(0, 10 * MiB), small]);
      expect(parts.toSorted()).toEqual(
        ['POST uploads', 'PUT partNumber', 'PUT partNumber', 'PUT partNumber', 'POST uploadId', 'HEAD'].toSorted(),
      );
    });

    test('failures that stay fail, and leave nothing behind', async () => {
      const quick = await openS3Store(`s3://${bucket}/faults`, { endpoint: proxy.url, attempts: 2 });
      for (const [match, status, code] of [
        [/^PUT .*partNumber=2/, 500, 'io'],
        [/^POST .*uploadId=/, 500, 'io'],
        [/^POST .*uploads/, 403, 'permission'],
        [/^PUT .*partNumber=1/, 503, 'unavailable'],
        [/^PUT .*partNumber=1/, 507, 'noSpace'],
      ] as const) {
        proxy.faults.push({ match, act: { kind: 'answer', status, code: 'MadeUp' } });
        const pieces = [bytes.subarray(0, 9 * MiB), range(0, 9 * MiB), small];
        await expect(quick.write('new', pieces, { maxBytes: 64 * MiB })).rejects.toMatchObject({ code });
        proxy.faults.length = 0;
        expect(await store.stat('new')).toBeNull();
        expect(await collect(store.leftovers(''))).toEqual([]);
      }
      await quick.close();
    });

    test('a Complete that says yes to nothing is noticed', async () => {
      const vanish = async (): Promise<void> => {
        await s3.client.send(new sdk.DeleteObjectCommand({ Bucket: bucket, Key: 'faults/new' }));
      };
      proxy.faults.push({ match: /^HEAD/, times: 1, act: { kind: 'before', run: vanish } });
      await expect(store.write('new', [bytes], { maxBytes: bytes.length })).rejects.toMatchObject({
        code: 'io',
        message: expect.stringContaining(`${bytes.length} bytes were sent, nothing is there`),
      });
      expect(await keysOf(store)).toEqual(['kept/from', 'kept/small']);
    });

    test('of two that create, the one whose answer got lost is not told that it lost', async () => {
      proxy.faults.push({ match: /^PUT/, times: 1, act: { kind: 'loseAnswer', status: 500, code: 'InternalError' } });
      await store.put('new', small, { create: true });
      const theirs = async (): Promise<void> => {
        const Body = Buffer.from('theirs');
        await s3.client.send(new sdk.PutObjectCommand({ Bucket: bucket, Key: 'faults/new2', Body }));
      };
      proxy.faults.push({ match: /^PUT/, times: 1, act: { kind: 'before', run: theirs } });
      await expect(store.put('new2', small, { create: true })).rejects.toMatchObject({ code: 'exists' });
      expect((await store.get('new2', 100))?.toString()).toBe('theirs');
    });

    test('single keys that cannot be removed are said to be so', async () => {
      const answer = '<Error><Key>faults/b</Key><Code>AccessDenied</Code><Message>no</Message></Error>';
      const body = `<?xml version="1.0" encoding="UTF-8"?><DeleteResult>${answer}${answer}</DeleteResult>`;
      proxy.faults.push({ match: /\?delete/, times: 1, act: { kind: 'answerWith', status: 200, body } });
      await expect(store.remove(['a', 'b', 'c'])).rejects.toMatchObject({
        code: 'permission',
        message: `cannot remove s3://${bucket}/faults/b at ${proxy.url}, nor 1 other object: access denied`,
      });
      proxy.faults.push({
        match: /\?delete/,
        times: 2,
        act: { kind: 'answerWith', status: 200, body: body.replaceAll('AccessDenied', 'SlowDown') },
      });
      await store.put('b', small);
      expect(await store.remove(['a', 'b', 'c'])).toBe(3);
      expect(await store.stat('b')).toBeNull();
    });

    test('an aborted signal interrupts what hangs, and nothing stays', async () => {
      const stop = new AbortController();
      proxy.faults.push({ match: /partNumber=1/, act: { kind: 'hang' } });
      const writing = store.write('new', [bytes], { maxBytes: bytes.length, signal: stop.signal });
      setTimeout(() => stop.abort(), 100);
      await expect(writing).rejects.toMatchObject({ code: 'interrupted' });
      expect(await store.stat('new')).toBeNull();
      expect(await collect(store.leftovers(''))).toEqual([]);
    });

    test('a list asks for pages as they are needed', async () => {
      const keys = Array.from({ length: 1001 }, (_, i) => `listed/${String(i).padStart(4, '0')}`);
      for (let at = 0; at < keys.length; at += 50)
        await Promise.all(keys.slice(at, at + 50).map((key) => store.put(key, small)));
      proxy.requests.length = 0;
      const first = store.list('listed/')[Symbol.asyncIterator]();
      await first.next();
      await first.return?.();
      expect(proxy.requests).toHaveLength(1);
      expect(await keysOf(store, 'listed/')).toEqual(keys);
      expect(proxy.requests).toHaveLength(3);
    });
  });

  test('settings of objects reach the server: the storage class of what is large, encryption of all', async () => {
    const endpoint = proxy.url;
    const headers: unknown[] = [];
    proxy.faults.length = 0;
    const special = await openS3Store(`s3://${bucket}/special`, { endpoint, storageClass: 'STANDARD', sse: 'AES256' });
    proxy.faults.push({
      match: /^PUT/,
      act: {
        kind: 'see',
        see: (sent) => headers.push([sent['x-amz-storage-class'], sent['x-amz-server-side-encryption']]),
      },
    });
    // radosgw encrypts only over TLS.
    await special.put('small', Buffer.from('x')).catch(() => {});
    await special.write('large', [Buffer.from('x')], { maxBytes: 10 }).catch(() => {});
    expect(headers[0]).toEqual([undefined, 'AES256']);
    expect(headers.at(-1)).toEqual(['STANDARD', 'AES256']);
    await special.remove(await keysOf(special));
    await special.close();
  });
});
