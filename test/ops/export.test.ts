import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ByteSink, memorySink } from '../../src/bytes/sink.ts';
import { RbdeltaError } from '../../src/error.ts';
import { openFileImage } from '../../src/image/file.ts';
import { exportImage, exportRaw, exportRawToFile } from '../../src/ops/export.ts';
import { contentOf, failureOf, makeWorld, type World } from './import-world.ts';

let world: World;
let dir: string;
beforeEach(async () => {
  world = await makeWorld();
  dir = await mkdtemp(join(tmpdir(), 'rbdelta-export-'));
});
afterEach(async () => {
  await world.close();
  await rm(dir, { recursive: true });
});

const size = 3 * 4096 + 77;
const holey = async () => {
  const image = await world.image('source', size);
  await image.write(4096, Buffer.from('data'));
  await image.write(8000, Buffer.alloc(100, 'x'));
  return image;
};

/** Keeps what it gets, and what became of it; fails at the n-th write. */
const watchedSink = (failAt = -1): ByteSink & { bytes(): Buffer; end(): string } => {
  const inner = memorySink();
  let end = 'open';
  let writes = 0;
  return {
    async write(chunks) {
      writes += 1;
      if (writes - 1 === failAt) throw new RbdeltaError('noSpace', 'the sink is full');
      await inner.write(chunks);
    },
    async finish() {
      end = 'finished';
    },
    async abort() {
      end = 'aborted';
    },
    bytes: () => inner.bytes(),
    end: () => end,
  };
};

describe('format 1', () => {
  it('into a sink, every byte comes, holes as zeros', async () => {
    const image = await holey();
    const sink = watchedSink();
    const seen: number[] = [];
    await exportRaw(image, sink, { onProgress: (done, total) => seen.push(done, total) });
    expect(sink.bytes().equals(await contentOf(image))).toBe(true);
    expect(sink.end()).toBe('finished');
    expect(seen.slice(-2)).toEqual([size, size]);
  });

  it('an image of holes only, and one of no bytes', async () => {
    for (const [name, bytes] of [
      ['holes', 3 << 20],
      ['none', 0],
    ] as const) {
      const image = await world.image(name, bytes);
      const sink = watchedSink();
      await exportRaw(image, sink);
      expect(sink.bytes().equals(Buffer.alloc(bytes))).toBe(true);
    }
  });

  it('a snapshot is exported as it was', async () => {
    const image = await holey();
    await image.createSnapshot('a');
    const before = await contentOf(image);
    await image.write(0, Buffer.from('later'));
    const at = await world.openAt('source')('a');
    const sink = watchedSink();
    await exportRaw(at, sink);
    await at.close();
    expect(sink.bytes().equals(before)).toBe(true);
  });

  it('into a file, holes stay holes and the length is the image', async () => {
    const image = await world.image('source', 16 << 20, 'start', { order: 22 });
    const path = join(dir, 'raw');
    await exportRawToFile(image, path);
    expect((await readFile(path)).equals(await contentOf(image))).toBe(true);
    expect((await stat(path)).blocks * 512).toBeLessThan(8 << 20);
  });

  it('a file that exists is refused, and left alone', async () => {
    const path = join(dir, 'raw');
    await writeFile(path, 'mine');
    expect(await failureOf(exportRawToFile(await holey(), path))).toMatchObject({ code: 'exists' });
    expect(await readFile(path, 'utf8')).toBe('mine');
  });

  it('a failure leaves no file, and aborts a sink', async () => {
    const image = await holey();
    const broken = { ...image, read: async () => Promise.reject(new RbdeltaError('io', 'the disk is gone')) };
    const path = join(dir, 'raw');
    expect(await failureOf(exportRawToFile(broken, path))).toMatchObject({ code: 'io' });
    await expect(stat(path)).rejects.toThrow(/ENOENT/);
    const full = watchedSink(0);
    expect(await failureOf(exportRaw(image, full))).toMatchObject({ code: 'noSpace' });
    expect(full.end()).toBe('aborted');
  });

  it('an interruption ends it', async () => {
    const abort = new AbortController();
    abort.abort();
    const sink = watchedSink();
    expect(await failureOf(exportRaw(await holey(), sink, { signal: abort.signal }))).toMatchObject({
      code: 'interrupted',
    });
    expect(sink.end()).toBe('aborted');
  });

  it('a raw file is a source as well', async () => {
    const path = join(dir, 'source');
    const bytes = Buffer.alloc(5 << 20, 'x').fill(0, 1 << 20, 4 << 20);
    await writeFile(path, bytes);
    const image = await openFileImage(path);
    const sink = watchedSink();
    await exportRaw(image, sink);
    await image.close();
    expect(sink.bytes().equals(bytes)).toBe(true);
  });
});

describe('format 2', () => {
  it('aborts the sink on failure, closes what it opened', async () => {
    await holey();
    const sink = watchedSink(1);
    let open = 0;
    const openAt = async (snap: string | null) => {
      const image = await world.openAt('source')(snap);
      open += 1;
      return {
        ...image,
        close: async () => {
          open -= 1;
          await image.close();
        },
      };
    };
    expect(await failureOf(exportImage(openAt, new Map(), sink))).toMatchObject({ code: 'noSpace' });
    expect(sink.end()).toBe('aborted');
    expect(open).toBe(0);
  });

  it('snapshots that have no name of their own are left out, with a notice', async () => {
    const image = await holey();
    await image.createSnapshot('a');
    const openAt = async (snap: string | null) => {
      const opened = await world.openAt('source')(snap);
      return {
        ...opened,
        info: async () => {
          const info = await opened.info();
          const [first] = info.snapshots;
          const group = first && { ...first, id: first.id + 1, name: '.group.1', namespace: 'group' as const };
          return { ...info, snapshots: group ? [...info.snapshots, group] : [] };
        },
      };
    };
    const notices: string[] = [];
    const sink = watchedSink();
    await exportImage(openAt, new Map(), sink, { onNotice: (text) => notices.push(text) });
    expect(notices).toContain('the snapshot ".group.1" (group) has no name of its own: it is left out');
  });
});
