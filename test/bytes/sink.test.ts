import { execFileSync, spawn } from 'node:child_process';
import fs, {
  closeSync,
  constants,
  existsSync,
  mkdtempSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, expect, onTestFinished, test, vi } from 'vitest';
import { createFileSink, fdSink, memorySink } from '../../src/bytes/sink.ts';
import { makeFifo } from '../kit/fifo.ts';

const dir = mkdtempSync(join(tmpdir(), 'sink-'));
afterAll(() => rmSync(dir, { recursive: true }));

test('a file holds all chunks in order, however many', async () => {
  const path = join(dir, 'many');
  const sink = await createFileSink(path);
  // More than writev(2) takes at a time (1024).
  const chunks = Array.from({ length: 3000 }, (_, i) => Buffer.from(`${i},`));
  await sink.write(chunks);
  await sink.write([]);
  await sink.write([Buffer.alloc(0), Buffer.from('end')]);
  await sink.finish();
  expect(readFileSync(path, 'latin1')).toBe(`${Buffer.concat(chunks).toString()}end`);
  expect(statSync(path).mode & 0o777).toBe(0o644 & ~process.umask());
});

test('a file that exists is refused and not touched, also by abort', async () => {
  const path = join(dir, 'there');
  writeFileSync(path, 'old');
  await expect(createFileSink(path)).rejects.toMatchObject({
    code: 'exists',
    message: `cannot create "${path}": it exists already`,
  });
  expect(readFileSync(path, 'latin1')).toBe('old');
});

test('a folder that is missing is notFound', async () => {
  await expect(createFileSink(join(dir, 'no', 'file'))).rejects.toMatchObject({ code: 'notFound' });
});

test('abort removes the file; after finish it does nothing', async () => {
  const path = join(dir, 'aborted');
  const aborted = await createFileSink(path);
  const writing = aborted.write([Buffer.alloc(1 << 20)]);
  await aborted.abort(); // while it writes
  await aborted.abort();
  await writing;
  expect(existsSync(path)).toBe(false);

  const finished = await createFileSink(path);
  await finished.finish();
  await finished.abort();
  expect(existsSync(path)).toBe(true);
});

test('abort closes the file only when an interrupted write has ended', async () => {
  const { writev } = fs;
  const ends: unknown[] = [];
  const late = (fd: number, chunks: NodeJS.ArrayBufferView[], done: (error: unknown, written: number) => void) =>
    setTimeout(() => {
      writev(fd, chunks, (error, written) => {
        ends.push(error);
        done(error, written);
      });
    }, 50);
  const spy = vi.spyOn(fs, 'writev').mockImplementation(late as unknown as typeof writev);
  syncBuiltinESMExports();
  onTestFinished(() => {
    spy.mockRestore();
    syncBuiltinESMExports();
  });
  const stop = new AbortController();
  const path = join(dir, 'interrupted');
  const sink = await createFileSink(path, { signal: stop.signal });
  const writing = sink.write([Buffer.from('x')]);
  stop.abort();
  await expect(writing).rejects.toMatchObject({ code: 'interrupted' });
  await sink.abort();
  expect(ends).toEqual([null]);
  expect(existsSync(path)).toBe(false);
});

test('a full device is noSpace', async () => {
  const fd = openSync('/dev/full', 'w');
  await expect(fdSink(fd).write([Buffer.from('x')])).rejects.toMatchObject({
    code: 'noSpace',
    message: expect.stringMatching(/^cannot write descriptor \d+: no space left on the device$/),
  });
  closeSync(fd);
});

test('a reader that left is brokenPipe', async () => {
  const path = makeFifo(dir);
  const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const fd = openSync(path, 'w');
  closeSync(reader);
  await expect(fdSink(fd).write([Buffer.from('x')])).rejects.toMatchObject({ code: 'brokenPipe' });
  closeSync(fd);
});

test('a slow reader gets every byte, also of a non-blocking pipe', async () => {
  for (const flags of [0, constants.O_NONBLOCK]) {
    const path = makeFifo(dir);
    const reader = spawn('sh', ['-c', `exec < ${path}; sleep 0.2; exec sha256sum`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const output = reader.stdout.toArray();
    const keep = openSync(path, constants.O_RDWR);
    const fd = openSync(path, constants.O_WRONLY | flags);
    // Not before the reader is there: it would miss the end.
    await sleep(150);
    closeSync(keep);
    const bytes = Buffer.from(Array.from({ length: 300_000 }, (_, i) => i * 7));
    await fdSink(fd).write([bytes.subarray(0, 100_001), bytes.subarray(100_001)]);
    closeSync(fd);
    const expected = execFileSync('sha256sum', { input: bytes });
    expect(Buffer.concat(await output).equals(expected)).toBe(true);
  }
});

test('an aborted signal interrupts a write that waits', async () => {
  const path = makeFifo(dir);
  const reader = openSync(path, constants.O_RDWR | constants.O_NONBLOCK);
  const fd = openSync(path, 'w');
  const stop = new AbortController();
  const sink = fdSink(fd, { signal: stop.signal });
  const writing = sink.write([Buffer.alloc(1 << 20)]); // more than a pipe holds
  stop.abort();
  await expect(writing).rejects.toMatchObject({ code: 'interrupted' });
  // Let the thread that still writes come to its end.
  for (let left = 1 << 20; left > 0; ) {
    try {
      left -= readSync(reader, Buffer.alloc(1 << 20));
    } catch {
      await sleep(1);
    }
  }
  closeSync(fd);
  closeSync(reader);
});

test('a memory sink keeps copies', async () => {
  const sink = memorySink();
  const chunk = Buffer.from('abc');
  await sink.write([chunk, Buffer.from('def')]);
  chunk.fill(0);
  expect(sink.bytes().toString()).toBe('abcdef');
});
