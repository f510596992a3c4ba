import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { beforeAll, describe, expect, test } from 'vitest';
import { mapOrdered } from '../../src/bytes/ordered.ts';
import { memorySink, type ByteSink } from '../../src/bytes/sink.ts';
import { bytesSource, chunkSource, type ByteSource } from '../../src/bytes/source.ts';
import { autoDecompress, zstdSink, type ZstdOptions } from '../../src/bytes/zstd.ts';
import { RbdeltaError } from '../../src/error.ts';

const hasZstd = ((): boolean => {
  try {
    execFileSync('zstd', ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
})();

/** Bytes that compress to about half. */
function compressible(length: number): Buffer {
  const bytes = Buffer.allocUnsafe(length);
  let state = 12345;
  for (let i = 0; i < length; i++) {
    if (i % 16 < 8) state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    bytes[i] = i % 16 < 8 ? state >>> 16 : 0x41;
  }
  return bytes;
}

async function compress(bytes: Uint8Array, options: ZstdOptions = {}): Promise<Buffer> {
  const inner = memorySink();
  const sink = zstdSink(inner, options);
  await sink.write([bytes]);
  await sink.finish();
  return inner.bytes();
}

async function readAll(source: ByteSource, atATime = 1 << 20): Promise<Buffer> {
  const parts: Buffer[] = [];
  for (;;) {
    const into = Buffer.alloc(atATime);
    const count = await source.read(into);
    if (count === 0) break;
    parts.push(into.subarray(0, count));
  }
  await source.close();
  return Buffer.concat(parts);
}

async function decompress(bytes: Uint8Array): Promise<Buffer> {
  const source = await autoDecompress(bytesSource(bytes));
  try {
    return await readAll(source);
  } finally {
    await source.close();
  }
}

const zstd = (args: string[], input: Uint8Array): Buffer =>
  execFileSync('zstd', [...args, '-q', '-c'], { input, maxBuffer: 1 << 30, stdio: ['pipe', 'pipe', 'ignore'] });

describe('compression', () => {
  test('what was compressed reads back, whatever the length', async () => {
    for (const length of [0, 1, 4095, 65536, 65537, 1_000_000]) {
      const bytes = compressible(length);
      const packed = await compress(bytes, { frameBytes: 65536 });
      expect((await decompress(packed)).equals(bytes)).toBe(true);
    }
  });

  test('writes of any shape give the same frames', async () => {
    const bytes = compressible(300_000);
    const inner = memorySink();
    const sink = zstdSink(inner, { frameBytes: 65536 });
    for (let at = 0; at < bytes.length; at += 12_345) {
      const piece = Buffer.from(bytes.subarray(at, at + 12_345));
      await sink.write([piece.subarray(0, 5), new Uint8Array(0), piece.subarray(5)]);
      piece.fill(0xee); // the caller's memory is the caller's again
    }
    await sink.finish();
    expect(inner.bytes().equals(await compress(bytes, { frameBytes: 65536 }))).toBe(true);
  });

  test.runIf(hasZstd)('zstd -d reads all frames as one; each has its size and a checksum', async () => {
    const bytes = compressible(9 << 20);
    const packed = await compress(bytes, { level: 1 });
    expect(zstd(['-d'], packed).equals(bytes)).toBe(true);
    const dir = mkdtempSync(join(tmpdir(), 'zstd-'));
    try {
      writeFileSync(join(dir, 'x.zst'), packed);
      const listing = execFileSync('zstd', ['-lv', join(dir, 'x.zst')], { encoding: 'utf8' });
      expect(listing).toMatch(/# Zstandard Frames: 3/);
      expect(listing).toMatch(/Decompressed Size: 9(\.00)? MiB \(9437184 B\)/);
      expect(listing).toMatch(/Check: XXH64/);
    } finally {
      rmSync(dir, { recursive: true });
    }
    const nothing = await compress(Buffer.alloc(0));
    expect(zstd(['-d'], nothing)).toHaveLength(0);
  });

  test('levels are 1 to 19, whole', () => {
    for (const level of [0, 20, -1, 1.5, Number.NaN]) {
      expect(() => zstdSink(memorySink(), { level })).toThrow(/zstd level .* is not one of 1 to 19/);
    }
  });

  test('the event loop keeps running while 64 MiB are compressed', async () => {
    const bytes = compressible(8 << 20);
    const sink = zstdSink(memorySink(), { level: 3 });
    let ticks = 0;
    let longestMs = 0;
    let lastTick = performance.now();
    const timer = setInterval(() => {
      const now = performance.now();
      longestMs = Math.max(longestMs, now - lastTick);
      lastTick = now;
      ticks += 1;
    }, 1);
    const started = performance.now();
    for (let i = 0; i < 8; i++) await sink.write([bytes]);
    await sink.finish();
    clearInterval(timer);
    const tookMs = performance.now() - started;
    // One frame takes a thread 40 ms and more: had they been compressed here, the longest pause would show it
    // and the number of ticks would be that of the frames. Wide margins: the machine may be busy.
    expect(ticks).toBeGreaterThan(tookMs / 20);
    expect(longestMs).toBeLessThan(tookMs / 4);
  });

  test('at most threads + 2 frames are held when the sink is slow', async () => {
    const frameBytes = 65536;
    const bytes = compressible(frameBytes);
    let release = (): void => {};
    const gate = new Promise<void>((resolve) => {
      release = resolve;
    });
    const inner: ByteSink = { ...memorySink(), write: () => gate };
    const sink = zstdSink(inner, { frameBytes, threads: 2 });
    let accepted = 0;
    const feeding = (async () => {
      for (let i = 0; i < 20; i++) {
        await sink.write([bytes]);
        accepted += 1;
      }
    })();
    feeding.catch(() => {});
    // However long we wait, it does not take more.
    await sleep(1500);
    expect(accepted).toBeLessThanOrEqual(4);
    release();
    await feeding;
    await sink.finish();
    expect(accepted).toBe(20);
  });

  test('a failure of the sink beneath reaches the writer', async () => {
    const inner: ByteSink = { ...memorySink(), write: () => Promise.reject(new Error('disk full')) };
    const sink = zstdSink(inner, { frameBytes: 4096, threads: 2 });
    await expect(
      (async () => {
        for (let i = 0; i < 20; i++) await sink.write([Buffer.alloc(4096)]);
        await sink.finish();
      })(),
    ).rejects.toThrow('disk full');
    await sink.abort();
  });

  test('abort aborts the sink beneath, with frames under way', async () => {
    let aborted = false;
    const inner: ByteSink = {
      ...memorySink(),
      async abort() {
        aborted = true;
      },
    };
    const sink = zstdSink(inner, { threads: 2, level: 19 });
    await sink.write([compressible(9 << 20)]);
    await sink.abort();
    expect(aborted).toBe(true);
  });
});

describe('decompression', () => {
  const bytes = compressible(1_000_000);
  let frames: Buffer;
  beforeAll(async () => {
    frames = await compress(bytes, { frameBytes: 300_000 });
  });

  test('what does not begin as zstd passes as it is', async () => {
    for (const text of ['', 'r', 'rbd', 'rbd diff v1\n', 'x'.repeat(100_000)]) {
      expect((await decompress(Buffer.from(text))).toString()).toBe(text);
    }
  });

  test('chunks may fall anywhere', async () => {
    const small = await compress(bytes.subarray(0, 5000), { frameBytes: 1024 });
    const source = await autoDecompress(chunkSource([...small].map((byte) => Uint8Array.of(byte))));
    expect((await readAll(source, 7)).equals(bytes.subarray(0, 5000))).toBe(true);
  });

  test('skippable frames are skipped, at the beginning, between and at the end', async () => {
    const skippable = Buffer.from('522a4d180400000061626364', 'hex');
    const packed = Buffer.concat([skippable, frames, skippable, frames, skippable]);
    expect((await decompress(packed)).equals(Buffer.concat([bytes, bytes]))).toBe(true);
  });

  test.runIf(hasZstd)('reads what zstd writes: streamed, threaded, long, fast, ultra, without checksum', async () => {
    for (const args of [['-1'], ['-T0', '-3'], ['--long=27', '-3'], ['--fast=3'], ['--ultra', '-22'], ['--no-check']]) {
      expect((await decompress(zstd(args, bytes))).equals(bytes)).toBe(true);
    }
  });

  test('every truncation is corrupt, never a shorter stream', async () => {
    const small = await compress(bytes.subarray(0, 12));
    const lengths = Array.from({ length: small.length - 4 }, (_, i) => i + 4);
    const codes = mapOrdered(lengths, 4, async (length) => {
      const failure: unknown = await decompress(small.subarray(0, length)).catch((error: unknown) => error);
      return failure instanceof RbdeltaError ? failure.code : failure;
    });
    for await (const code of codes) expect(code).toBe('corrupt');
  });

  test('a flipped bit is corrupt', async () => {
    const damaged = Buffer.from(frames);
    damaged[frames.length >> 1]! ^= 1;
    await expect(decompress(damaged)).rejects.toMatchObject({ code: 'corrupt' });
  });

  test('bytes after the last frame are corrupt', async () => {
    await expect(decompress(Buffer.concat([frames, Buffer.from('rubbish')]))).rejects.toMatchObject({
      code: 'corrupt',
    });
  });

  test('a frame that asks for a window beyond 128 MiB is refused', async () => {
    // Magic, descriptor 0 (a window follows, no content size), window descriptor: exponent 21 is 2^31.
    const header = Buffer.from('28b52ffd00a8', 'hex');
    await expect(decompress(Buffer.concat([header, Buffer.alloc(100)]))).rejects.toMatchObject({
      code: 'tooLarge',
      message: expect.stringContaining('128 MiB'),
    });
  });

  test('a source that fails fails the read', async () => {
    async function* failing(): AsyncGenerator<Uint8Array> {
      yield frames.subarray(0, 1000);
      throw new Error('cable cut');
    }
    const source = await autoDecompress(chunkSource(failing()));
    await expect(readAll(source)).rejects.toThrow('cable cut');
    await source.close();
  });

  test('a reader that leaves early closes everything', async () => {
    const source = await autoDecompress(chunkSource([frames, frames, frames]));
    expect(await source.read(Buffer.alloc(10))).toBe(10);
    await source.close();
    await source.close();
  });
});

test('the threads start from the compiled files as well', () => {
  const script = `
    import { memorySink } from './sink.js';
    import { bytesSource } from './source.js';
    import { autoDecompress, zstdSink } from './zstd.js';
    const inner = memorySink();
    const sink = zstdSink(inner);
    await sink.write([Buffer.from('all is well')]);
    await sink.finish();
    const source = await autoDecompress(bytesSource(inner.bytes()));
    const into = Buffer.alloc(100);
    console.log(into.subarray(0, await source.read(into)).toString());
    await source.close();`;
  const compiled = new URL('../../dist/bytes/', import.meta.url).href;
  const args = ['--input-type=module', '-e', script.replaceAll("'./", `'${compiled}`)];
  expect(execFileSync(process.execPath, args, { encoding: 'utf8', cwd: tmpdir() })).toBe('all is well\n');
});
