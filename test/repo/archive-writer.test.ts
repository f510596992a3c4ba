import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as tick } from 'node:timers/promises';
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';
import {
  addSums,
  blockBytes,
  decodeDirectory,
  decodePage,
  decodeTrailer,
  type Frame,
  indexMagic,
  trailerBytes,
} from '../../src/format/archive-index.ts';
import { zeroSum } from '../../src/format/fingerprint.ts';
import { type DiffHeader, openDiff } from '../../src/format/rbd-diff.ts';
import { ArchiveWriter, type ArchiveWriterOptions, type WrittenArchive } from '../../src/repo/archive-writer.ts';
import { Packer, type PackedFrame } from '../../src/repo/packer.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import type { Store } from '../../src/store/port.ts';
import { noise } from '../kit/noise.ts';

const packer = new Packer({ key: noise(1, 32), level: 1, threads: 2 });
afterAll(() => packer.stop());

let directory: string;
let store: Store;
beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rbdelta-archive-'));
  store = await openDirectoryStore(directory);
});
afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const folder = 'pool/image/point/';
const size = 64 << 20;
const header: DiffHeader = { fromSnap: 'monday', toSnap: 'tuesday', size, protected: null };

const writerOf = (options: Partial<ArchiveWriterOptions> = {}, to = store, head = header): ArchiveWriter =>
  new ArchiveWriter(to, folder, head, { compress: (raw) => packer.compress(raw), segmentBytes: 300_000, ...options });

/** Frame `i` is a block of noise at block 2i, and zeros behind it. */
const frameOf = (i: number): Promise<PackedFrame> => {
  const data = new ArrayBuffer(blockBytes);
  new Uint8Array(data).set(noise(100 + i, blockBytes));
  const offset = 2 * i * blockBytes;
  return packer.pack({
    data,
    spans: Float64Array.of(offset, blockBytes),
    changes: Float64Array.of(offset, blockBytes, offset + blockBytes, -blockBytes),
    old: { blocks: new Float64Array(), digests: new Uint8Array() },
    trim: false,
    dropZeros: false,
  });
};
const endOf = (i: number): number => (2 * i + 2) * blockBytes;

const write = async (writer: ArchiveWriter, from: number, end: number): Promise<void> => {
  for (let i = from; i < end; i++) await writer.append(await frameOf(i), endOf(i));
};

const file = (name: string, at = folder): Buffer => readFileSync(join(directory, at, name));
const files = (): string[] => {
  const at = join(directory, folder);
  return existsSync(at) ? readdirSync(at).sort() : [];
};
/** Names and content. */
const folderHash = (): string => {
  const hash = createHash('sha256');
  for (const name of files()) hash.update(`${name}\n`).update(file(name));
  return hash.digest('hex');
};
const unzstd = (input: Uint8Array): Buffer => execFileSync('zstd', ['-d', '-q', '-c'], { input, maxBuffer: 1 << 28 });

/** Checks each hash and place that the index tells; gives the frames. */
const readIndex = ({ index, segments, stream, sum }: WrittenArchive, at = folder): Frame[] => {
  const bytes = file(index.name, at);
  expect(bytes.length).toBe(index.bytes);
  expect(bytes.subarray(0, 8)).toEqual(indexMagic);
  const length = decodeTrailer(bytes.subarray(-trailerBytes));
  expect(length).toBe(index.directoryBytes);
  const directoryBytes = bytes.subarray(-trailerBytes - length, -trailerBytes);
  expect(createHash('sha256').update(directoryBytes).digest('hex')).toBe(index.directorySha256);
  const decoded = decodeDirectory(directoryBytes);
  expect(decoded.reached).toBe(size);
  expect(decoded.sum).toEqual(Buffer.from(sum));
  const { records, dataBytes, zeroBytes, streamBytes } = decoded;
  expect({ records, dataBytes, zeroBytes, bytes: streamBytes }).toEqual(stream);
  const frames = decoded.pages.flatMap((page) => {
    const stored = bytes.subarray(page.position, page.position + page.bytes);
    expect(createHash('sha256').update(stored).digest().subarray(0, 16)).toEqual(page.hash);
    const found = decodePage(unzstd(stored));
    expect(found.length).toBe(page.frames);
    return found;
  });
  const all = [decoded.header!, ...frames, decoded.end!];
  for (const { segment, offset, bytes: length, rawBytes, hash } of all) {
    const stored = file(segments[segment]!.name, at).subarray(offset, offset + length);
    expect(createHash('sha256').update(stored).digest().subarray(0, 16)).toEqual(Buffer.from(hash));
    expect(unzstd(stored).length).toBe(rawBytes);
  }
  segments.forEach(({ name, bytes: stored, frames: count }, segment) => {
    expect(file(name, at).length).toBe(stored);
    expect(all.filter((frame) => frame.segment === segment).length).toBe(count);
  });
  return frames;
};

/** `cat segments | zstd -d` as a diff: what it says. */
const readStream = async ({ segments, stream }: WrittenArchive, at = folder): Promise<string[]> => {
  const raw = unzstd(Buffer.concat(segments.map(({ name }) => file(name, at))));
  expect(raw.length).toBe(stream.bytes);
  const reader = new ByteReader(bytesSource(raw));
  const diff = await openDiff(reader);
  expect(diff!.header).toEqual(header);
  const said: string[] = [];
  for await (const record of diff!.records) {
    if (record.kind === 'zero') said.push(`z ${record.offset} ${record.length}`);
    else said.push(`w ${record.offset} ${createHash('sha256').update(record.data).digest('hex')}`);
  }
  expect(await reader.atEnd()).toBe(true);
  return said;
};

const expected = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => {
    const hash = createHash('sha256')
      .update(noise(100 + i, blockBytes))
      .digest('hex');
    return [`w ${2 * i * blockBytes} ${hash}`, `z ${(2 * i + 1) * blockBytes} ${blockBytes}`];
  }).flat();

test('segments are one zstd file of one diff, and the index finds each frame', async () => {
  const writer = writerOf();
  expect(await writer.resume()).toEqual({ reached: 0, sum: zeroSum(), storedBytes: 0 });
  await write(writer, 0, 23);
  const written = await writer.finish(size);
  expect(written.segments.length).toBe(5);
  expect(written.segments.slice(0, -1).every(({ bytes }) => bytes >= 300_000 && bytes < 400_000)).toBe(true);
  expect(await readStream(written)).toEqual(expected(23));
  const frames = readIndex(written);
  expect(frames.length).toBe(23);
  expect(written.stream).toMatchObject({ records: 46, dataBytes: 23 * blockBytes, zeroBytes: 23 * blockBytes });
  let sum = zeroSum();
  for (let i = 0; i < 23; i++) sum = addSums(sum, (await frameOf(i)).sum);
  expect(written.sum).toEqual(sum);
  expect(written.storedBytes).toBe(
    files()
      .filter((name) => !/\d\.index/.test(name))
      .reduce((all, name) => all + file(name).length, 0),
  );
  expect(files().filter((name) => name.endsWith('.index')).length).toBe(4);
  await writer.removeSidecars();
  expect(files()).toEqual([...written.segments.map(({ name }) => name), 'index']);
});

test('a point without a change has a header and an end', async () => {
  const writer = writerOf();
  await writer.append({ ...(await frameOf(0)), bytes: null }, endOf(0));
  const written = await writer.finish(size);
  expect(written.segments).toMatchObject([{ frames: 2 }]);
  expect(await readStream(written)).toEqual([]);
  expect(readIndex(written)).toEqual([]);
  expect(written.sum).toEqual((await frameOf(0)).sum);
});

test('a frame that fills a segment exactly leaves the end to the next one', async () => {
  const writer = writerOf({ segmentBytes: 1 });
  await write(writer, 0, 3);
  const written = await writer.finish(size);
  expect(written.segments.map(({ frames }) => frames)).toEqual([2, 1, 1, 1]);
  expect(await readStream(written)).toEqual(expected(3));
  readIndex(written);
});

test('frames of another archive are taken as they are', async () => {
  const other = new ArchiveWriter(store, 'pool/image/other/', header, {
    compress: (raw) => packer.compress(raw),
    segmentBytes: 200_000,
  });
  await write(other, 0, 9);
  const first = await other.finish(size);
  const frames = readIndex(first, 'pool/image/other/');
  const counts = { copies: 0 };
  const counted: Store = {
    ...store,
    write: (key, pieces, options) =>
      store.write(
        key,
        (async function* () {
          for await (const piece of pieces) {
            if (!(piece instanceof Uint8Array)) counts.copies += 1;
            yield piece;
          }
        })(),
        options,
      ),
  };
  const writer = writerOf({ segmentBytes: 10 << 20 }, counted);
  for (const [i, frame] of frames.entries()) {
    // one is packed anew
    if (i === 4) {
      await writer.append(await frameOf(4), endOf(4));
      continue;
    }
    const key = `pool/image/other/${first.segments[frame.segment]!.name}`;
    const copy = { key, offset: frame.offset, length: frame.bytes };
    await writer.append({ copy, frame, sum: (await frameOf(i)).sum }, endOf(i));
  }
  const written = await writer.finish(size);
  expect(await readStream(written)).toEqual(expected(9));
  readIndex(written);
  expect(written.sum).toEqual(first.sum);
  expect(written.stream).toEqual(first.stream);
  // neighbours go in one piece
  expect(counts.copies).toBeLessThanOrEqual(first.segments.length + 1);
});

describe('resume', () => {
  /** Writes `count` frames and stops without an end. */
  const interrupted = async (count: number, head = header): Promise<void> => {
    const writer = writerOf({}, store, head);
    await writer.resume();
    await write(writer, 0, count);
    await writer.abort();
  };

  test('goes on behind the last segment that has its index, and gives what it would have given', async () => {
    await interrupted(17);
    const writer = writerOf();
    const { reached, sum, storedBytes } = await writer.resume();
    expect(storedBytes).toBe([0, 1, 2].reduce((all, i) => all + file(`00000${i}.rbdiff.zst`).length, 0));
    expect(reached).toBe(endOf(14));
    let expectedSum = zeroSum();
    for (let i = 0; i <= 14; i++) expectedSum = addSums(expectedSum, (await frameOf(i)).sum);
    expect(Buffer.from(sum)).toEqual(Buffer.from(expectedSum));
    await write(writer, 15, 23);
    const written = await writer.finish(size);
    await writer.removeSidecars();
    expect(await readStream(written)).toEqual(expected(23));
    readIndex(written);
    const resumedHash = folderHash();

    rmSync(join(directory, folder), { recursive: true });
    const fresh = writerOf();
    await fresh.resume();
    await write(fresh, 0, 23);
    expect(await fresh.finish(size)).toEqual(written);
    await fresh.removeSidecars();
    expect(folderHash()).toBe(resumedHash);
  });

  test.each([
    ['an index is missing', ['000001.index'], 1],
    ['a segment is missing', ['000001.rbdiff.zst'], 1],
    ['the first index is missing', ['000000.index'], 0],
  ])('what lies behind a gap is removed, not used: %s', async (_, missing, left) => {
    await interrupted(17);
    await store.remove(missing.map((name) => folder + name));
    const writer = writerOf();
    await writer.resume();
    expect(files().length).toBe(2 * left);
    await write(writer, 5 * left, 12);
    expect(await readStream(await writer.finish(size))).toEqual(expected(12));
  });

  test('a damaged index, or another stream: from the beginning', async () => {
    await interrupted(12);
    const whole = file('000000.index');
    for (const damaged of [whole.subarray(0, -1), whole.subarray(0, 4), Buffer.concat([whole, Buffer.from('x')])]) {
      await store.put(`${folder}000000.index`, damaged);
      const found = await writerOf().resume();
      expect(found.reached).toBe(0);
      await interrupted(12);
    }
    expect((await writerOf({}, store, { ...header, fromSnap: 'sunday' }).resume()).reached).toBe(0);
    // an empty folder is one that is not there
    expect(readdirSync(directory)).toEqual([]);
  });
});

describe('a store that fails', () => {
  const failure = new RbdeltaError('noSpace', 'no space left on the device');

  // 7 segments, the indexes of 6 of them, the index
  test.each([0, 1, 2, 5, 9, 12, 13])('write %i', async (nth) => {
    let call = 0;
    let under = 0;
    const failing: Store = {
      ...store,
      async write(key, pieces, options) {
        const fails = call++ === nth;
        under += 1;
        try {
          if (!fails) return await store.write(key, pieces, options);
          for await (const piece of pieces) {
            // the memory may be used again, and the writer may be far ahead
            void piece;
            await tick();
            throw failure;
          }
          throw failure;
        } finally {
          under -= 1;
        }
      },
    };
    const writer = writerOf({ segmentBytes: 100_000 }, failing);
    const run = async (): Promise<void> => {
      await write(writer, 0, 13);
      await writer.finish(size);
    };
    await expect(run()).rejects.toBe(failure);
    await expect(writer.append(await frameOf(30), endOf(30))).rejects.toBe(failure);
    await writer.abort();
    expect(under).toBe(0);
    // and the next one completes it
    const next = writerOf({ segmentBytes: 100_000 });
    const { reached } = await next.resume();
    await write(next, reached / blockBytes / 2, 13);
    const written = await next.finish(size);
    expect(await readStream(written)).toEqual(expected(13));
    readIndex(written);
  });

  test('abort in the middle of a segment leaves nothing of it', async () => {
    const writer = writerOf({ segmentBytes: 1 << 30 });
    await write(writer, 0, 3);
    await writer.abort();
    await expect(writer.append(await frameOf(3), endOf(3))).rejects.toThrow('interrupted');
    expect(readdirSync(directory)).toEqual([]);
  });

  test('a slow store holds the writer back', async () => {
    let open: () => void = () => {};
    const gate = new Promise<void>((resolve) => {
      open = resolve;
    });
    const slow: Store = {
      ...store,
      async write(key, pieces, options) {
        await gate;
        return store.write(key, pieces, options);
      },
    };
    const writer = writerOf({ segmentBytes: 1 << 30 }, slow);
    const frame = await frameOf(0);
    // the same bytes again and again: what counts is where the writer stops
    let appended = 0;
    const all = (async () => {
      for (let i = 0; i < 300; i++) {
        const at = 2 * i;
        const moved = {
          ...frame,
          records: Float64Array.of(at * blockBytes, blockBytes, (at + 1) * blockBytes, -blockBytes),
        };
        await writer.append({ ...moved, runs: Float64Array.of(at, 1, at + 1, -1) }, endOf(i));
        appended += 1;
      }
    })();
    const before = Date.now();
    while (appended < 100 && Date.now() - before < 20_000) await tick();
    for (let i = 0; i < 50; i++) await tick();
    expect(appended).toBeGreaterThanOrEqual(100);
    expect(appended).toBeLessThan(140);
    open();
    await all;
    expect(appended).toBe(300);
    await writer.abort();
  });
});
