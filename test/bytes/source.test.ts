import { spawn } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { bytesSource, type ByteSource, chunkSource, fdSource, fileSource } from '../../src/bytes/source.ts';
import { makeFifo } from '../kit/fifo.ts';

const dir = mkdtempSync(join(tmpdir(), 'source-'));
afterAll(() => rmSync(dir, { recursive: true }));

async function readAll(source: ByteSource, atATime: number): Promise<string> {
  let text = '';
  for (;;) {
    const into = Buffer.alloc(atATime);
    const count = await source.read(into);
    if (count === 0) return text;
    text += into.toString('latin1', 0, count);
  }
}

test('a file is read to its end, and the end stays the end', async () => {
  const path = join(dir, 'a');
  writeFileSync(path, 'abcdefghij');
  const source = await fileSource(path);
  expect(await readAll(source, 4)).toBe('abcdefghij');
  expect(await source.read(Buffer.alloc(1))).toBe(0);
  await source.close();
  await source.close();
});

test('a file that is missing is notFound, a directory isDirectory', async () => {
  await expect(fileSource(join(dir, 'missing'))).rejects.toMatchObject({
    code: 'notFound',
    message: `cannot open "${join(dir, 'missing')}": no such file or directory`,
  });
  const source = await fileSource(dir);
  await expect(source.read(Buffer.alloc(1))).rejects.toMatchObject({ code: 'isDirectory' });
  await source.close();
});

test('chunks of any size come through reads of any size', async () => {
  const chunks = ['', 'abc', '', 'd', 'efghij', ''].map((text) => Buffer.from(text));
  for (const atATime of [1, 2, 100]) {
    expect(await readAll(chunkSource(chunks), atATime)).toBe('abcdefghij');
    expect(await readAll(bytesSource(Buffer.from('abcdefghij')), atATime)).toBe('abcdefghij');
  }
});

test('closing a source of chunks ends its generator', async () => {
  let closed = 0;
  async function* chunks(): AsyncGenerator<Uint8Array> {
    try {
      yield Buffer.from('abc');
      yield Buffer.from('def');
    } finally {
      closed += 1;
    }
  }
  const source = chunkSource(chunks());
  await source.read(Buffer.alloc(2));
  await source.close();
  await source.close();
  expect(closed).toBe(1);
  expect(await source.read(Buffer.alloc(2))).toBe(0);
});

test('a pipe is read as its bytes come; one that somebody made non-blocking as well', async () => {
  for (const flags of [0, constants.O_NONBLOCK]) {
    const path = makeFifo(dir);
    // The writer holds its end open for a while without writing: that is EAGAIN for the non-blocking.
    const writer = spawn('sh', ['-c', `exec > ${path}; sleep 0.2; printf abc; sleep 0.2; printf defghij`]);
    const done = new Promise((resolve) => writer.once('exit', resolve));
    // Read and write, so that opening does not wait for the writer; then it is read-only again.
    const keep = openSync(path, constants.O_RDWR);
    const fd = openSync(path, constants.O_RDONLY | flags);
    const source = fdSource(fd, { closes: true });
    const first = Buffer.alloc(10);
    expect(first.toString('latin1', 0, await source.read(first))).toBe('abc');
    closeSync(keep);
    expect(await readAll(source, 3)).toBe('defghij');
    await source.close();
    await done;
  }
});

test('an aborted signal interrupts a read that waits', async () => {
  const path = makeFifo(dir);
  const keep = openSync(path, constants.O_RDWR);
  const stop = new AbortController();
  const source = fdSource(openSync(path, constants.O_RDONLY), { closes: true, signal: stop.signal });
  const reading = source.read(Buffer.alloc(10));
  stop.abort();
  await expect(reading).rejects.toMatchObject({ code: 'interrupted' });
  await expect(source.read(Buffer.alloc(10))).rejects.toMatchObject({ code: 'interrupted' });
  await source.close();
  closeSync(keep); // the reading thread sees the end, and the descriptor is closed
});
