import { randomBytes } from 'node:crypto';
import * as fc from 'fast-check';
import { afterAll, describe, expect, test } from 'vitest';
import { blockBytes } from '../../src/format/archive-index.ts';
import type { Manifest } from '../../src/format/manifest.ts';
import { chainDiff } from '../../src/repo/chain-diff.ts';
import { chainFingerprint, proveChain } from '../../src/repo/chain-fingerprint.ts';
import { type Chain, loadChain } from '../../src/repo/chain.ts';
import { liveFrames, livePieces, type Range, StateCursor, stateDigests } from '../../src/repo/overlay.ts';
import { startUnpacker } from '../../src/repo/unpack.ts';
import { History, type Step } from '../kit/archive-history.ts';
import { digestOf, image, type MemoryStore, memoryStore, pointId, putPoint, repositoryIn } from '../kit/archive-kit.ts';

/** Sizes and offsets near the borders of blocks, and anywhere. */
const place = fc.oneof(
  fc
    .tuple(fc.nat(4), fc.constantFrom(0, 0, 1, 100, 4096, blockBytes - 1))
    .map(([block, rest]) => block * blockBytes + rest),
  fc.nat(5 * blockBytes),
);
const length = fc.oneof(fc.constantFrom(1, 512, 4096, blockBytes, 2 * blockBytes), fc.integer({ min: 1, max: 20_000 }));
const step: fc.Arbitrary<Step> = fc.record(
  {
    size: fc.option(place, { nil: null }),
    changes: fc.array(fc.record({ offset: place, length, zero: fc.boolean() }, { noNullPrototype: true }), {
      maxLength: 8,
    }),
  },
  { noNullPrototype: true },
);
const history = fc.array(step, { minLength: 1, maxLength: 6 });

const runs = { numRuns: 40 };

/** One for all chains: a thread takes longer to start than most of them to read. */
const unpacker = startUnpacker(1);
afterAll(() => unpacker.stop());

/** Puts the points of a history into a store; runs `look` with the chain of the newest. */
async function withChain(
  steps: readonly Step[],
  look: (chain: Chain, made: History) => Promise<void>,
  memory: MemoryStore = memoryStore(),
): Promise<void> {
  const made = await History.of(steps, memory);
  const chain = await loadChain(repositoryIn(memory), image, made.newest.point, { unpacker });
  try {
    await look(chain, made);
  } finally {
    await chain.close();
  }
}

const all = async <T>(items: AsyncIterable<T>): Promise<T[]> => {
  const list: T[] = [];
  for await (const item of items) list.push(item);
  return list;
};

/** What the pieces make of an image full of what must not stay. */
async function readBy(chain: Chain, range: Range): Promise<Buffer> {
  const content = Buffer.alloc(Math.max(0, Math.min(range.end, chain.size) - range.start));
  let reached = range.start;
  for (const { offset, end, point, frame, rawOffset } of (await all(livePieces(chain, range))).flat()) {
    expect(offset).toBeGreaterThanOrEqual(reached);
    expect(end).toBeGreaterThan(offset);
    reached = end;
    if (frame === null) continue;
    const raw = await chain.points[point]!.archive.readFrame(frame);
    content.set(raw.subarray(rawOffset, rawOffset + end - offset), offset - range.start);
  }
  expect(reached).toBeLessThanOrEqual(Math.max(range.start, Math.min(range.end, chain.size)));
  return content;
}

describe('a chain reads like the last state of its image', () => {
  test('in order, in any range', async () => {
    await fc.assert(
      fc.asyncProperty(history, place, place, async (steps, a, b) => {
        await withChain(steps, async (chain, made) => {
          const whole = { start: 0, end: Number.MAX_SAFE_INTEGER };
          expect((await readBy(chain, whole)).equals(made.state)).toBe(true);
          const part = { start: Math.min(a, b), end: Math.max(a, b) };
          expect((await readBy(chain, part)).equals(made.state.subarray(part.start, part.end))).toBe(true);
        });
      }),
      runs,
    );
  });

  test('frame by frame: each once, with the same pieces', async () => {
    await fc.assert(
      fc.asyncProperty(history, place, place, async (steps, a, b) => {
        await withChain(steps, async (chain) => {
          for (const range of [undefined, { start: Math.min(a, b), end: Math.max(a, b) }]) {
            const pieces = (await all(livePieces(chain, range))).flat();
            const found = await all(liveFrames(chain, range));
            const frames = found.filter((one) => one.kind === 'frame');
            const names = frames.map(({ point, frame }) => `${point}:${frame.segment}:${frame.offset}`);
            expect(new Set(names).size).toBe(names.length);
            const shown = frames.flatMap(({ point, live }) =>
              live.map(({ offset, length: bytes, rawOffset }) => ({ offset, end: offset + bytes, point, rawOffset })),
            );
            const expected = pieces
              .filter(({ frame }) => frame !== null)
              .map(({ offset, end, point, rawOffset }) => ({ offset, end, point, rawOffset }));
            expect(shown.sort((x, y) => x.offset - y.offset)).toEqual(expected);
            const bytesOf = (extents: { offset: number; end: number }[]): number[] =>
              extents
                .flatMap(({ offset, end }) => [offset, end])
                .filter((x, i, list) => list.indexOf(x) === list.lastIndexOf(x));
            const zeros = found.filter((one) => one.kind === 'zero');
            expect(zeros.map(({ offset, length: bytes }) => [offset, offset + bytes]).flat()).toEqual(
              bytesOf(pieces.filter(({ frame }) => frame === null)),
            );
          }
        });
      }),
      runs,
    );
  });

  test('as digests, all of them or those of some ranges', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.array(fc.tuple(fc.nat(2), fc.nat(3)), { maxLength: 5 }), async (steps, gaps) => {
        await withChain(steps, async (chain, made) => {
          const state = new Map<number, string>();
          for (const { blocks, digests } of await all(stateDigests(chain))) {
            blocks.forEach((block, i) =>
              state.set(block, Buffer.from(digests.subarray(16 * i, 16 * i + 16)).toString('hex')),
            );
          }
          const expected = [...made.digests].map(([block, digest]) => [block, Buffer.from(digest).toString('hex')]);
          expect([...state]).toEqual(expected.sort(([a], [b]) => Number(a) - Number(b)));
          const cursor = new StateCursor(chain);
          let at = 0;
          for (const [gap, count] of gaps) {
            const first = at + gap;
            at = first + count;
            const { blocks, digests } = await cursor.old(first, at);
            const wanted = [...state].filter(([block]) => block >= first && block < at);
            expect([...blocks]).toEqual(wanted.map(([block]) => block));
            expect(Buffer.from(digests).toString('hex')).toBe(wanted.map(([, digest]) => digest).join(''));
          }
        });
      }),
      runs,
    );
  });

  test('with the fingerprint of its manifest', async () => {
    await fc.assert(
      fc.asyncProperty(history, async (steps) => {
        await withChain(steps, async (chain, made) => {
          expect(await chainFingerprint(chain)).toBe(made.newest.fingerprint);
          await proveChain(chain);
        });
      }),
      { numRuns: 10 },
    );
  });

  test('the diff from any of its points makes the newest state of that one', async () => {
    await fc.assert(
      fc.asyncProperty(history, fc.nat(6), fc.constantFrom(1, 100_000, 96 << 20), async (steps, from, budgetBytes) => {
        await withChain(steps, async (chain, made) => {
          const start = made.states[from];
          const id = start === undefined ? null : (chain.points[from]?.id ?? null);
          const diff = chainDiff(chain, id, { budgetBytes });
          expect(diff.header.size).toBe(made.state.length);
          const content = Buffer.alloc(made.state.length);
          if (id !== null) content.set(start!.subarray(0, content.length));
          let reached = 0;
          for await (const record of diff.records) {
            expect(record.offset).toBeGreaterThanOrEqual(reached);
            reached = record.offset + (record.kind === 'write' ? record.data.length : record.length);
            if (record.kind === 'write') content.set(record.data, record.offset);
            else content.fill(0, record.offset, reached);
            expect(reached).toBeLessThanOrEqual(content.length);
            expect(id === null && record.kind === 'zero').toBe(false);
          }
          expect(content.equals(made.state)).toBe(true);
        });
      }),
      runs,
    );
  });
});

describe('the diff of a chain', () => {
  test('zeros what a point in between cut off and the next grew again', async () => {
    const size = 3 * blockBytes;
    const steps: Step[] = [
      { size, changes: [{ offset: 0, length: size, zero: false }] },
      { size: blockBytes + 5, changes: [] },
      { size: 4 * blockBytes, changes: [{ offset: 2 * blockBytes, length: 10, zero: false }] },
    ];
    await withChain(steps, async (chain) => {
      const told: unknown[] = [];
      for await (const record of chainDiff(chain, pointId(0)).records) {
        told.push([record.kind, record.offset, record.kind === 'write' ? record.data.length : record.length]);
      }
      // the block that the cut ends in is told by the point that saw it; nothing is past the size that there was
      expect(told).toEqual([
        ['write', blockBytes, 5],
        ['zero', blockBytes + 5, blockBytes - 5],
        ['write', 2 * blockBytes, 10],
        ['zero', 2 * blockBytes + 10, blockBytes - 10],
      ]);
    });
  });

  test('reads frames that lie across each other a few times, not for each of their records', async () => {
    const [points, writes] = [20, 40];
    const memory = memoryStore();
    let base: Manifest | null = null;
    for (let number = 0; number < points; number++) {
      const blocks = Array.from({ length: writes }, (_, i) => i * points + number);
      const records = blocks.map((block) => {
        const data = Buffer.alloc(512, number + 1);
        data.writeUInt32LE(block, 0);
        return { offset: block * blockBytes, length: 512, data };
      });
      const size = points * writes * blockBytes;
      const touched = new Map(blocks.map((block) => [block, Buffer.alloc(16, 1)]));
      const point = { id: pointId(number), base, size, records, blocks: touched, fingerprint: '0'.repeat(64) };
      base = await putPoint(memory, point, { frameRecords: writes, pageFrames: 1, segmentBytes: 1 << 20 });
    }
    const chain = await loadChain(repositoryIn(memory), image, base!.point, { unpacker });
    // 40 records of 529 bytes in a frame: there is room for two frames, and for 9 records of each point
    let block = 0;
    for await (const record of chainDiff(chain, null, { budgetBytes: 200_000 }).records) {
      if (record.kind !== 'write') throw new Error('a full has no zeros');
      const expected = Buffer.alloc(512, (block % points) + 1);
      expected.writeUInt32LE(block, 0);
      expect(record.offset).toBe(block * blockBytes);
      expect(expected.equals(record.data)).toBe(true);
      block += 1;
    }
    expect(block).toBe(points * writes);
    const reads = memory.reads.filter((key) => key.endsWith('.zst')).length;
    expect(reads).toBeGreaterThan(2 * points);
    expect(reads).toBeLessThan(8 * points);
    await chain.close();
  });
});

describe('the cursor', () => {
  test('reads no page twice, and none that no range meets', async () => {
    const memory = memoryStore();
    const manifest = await wideChain(memory, 30, 40);
    const chain = await loadChain(repositoryIn(memory), image, manifest.point, { unpacker });
    for (const { archive } of chain.points) await archive.index();
    memory.reads.length = 0;
    const cursor = new StateCursor(chain);
    for (let block = 0; block < 40; block += 8) await cursor.old(block * 1000, block * 1000 + 2);
    // a page has 2 frames, a frame 3 blocks: 5 ranges meet one page each, of each point
    expect(memory.reads.length).toBeLessThanOrEqual(30 * 5);
    await expect(cursor.old(0, 1)).rejects.toThrow(RangeError);
    await chain.close();
  });
});

/** `count` points that each write the same `blocks` blocks, far apart. Their indexes are too large to be held. */
async function wideChain(memory: MemoryStore, count: number, blocks: number): Promise<Manifest> {
  let base: Manifest | null = null;
  for (let number = 0; number < count; number++) {
    const records = Array.from({ length: blocks }, (_, i) => ({
      offset: i * 1000 * blockBytes,
      length: 512,
      data: Buffer.alloc(512, number + 1),
    }));
    // digests of blocks that are only looked at make the index large
    const touched = new Map<number, Uint8Array>();
    for (let i = 0; i < blocks; i++) for (let j = 0; j < 100; j++) touched.set(i * 1000 + j, randomBytes(16));
    const size = blocks * 1000 * blockBytes;
    const fingerprint = randomBytes(32).toString('hex');
    base = await putPoint(memory, { id: pointId(number), base, size, records, blocks: touched, fingerprint });
  }
  return base!;
}

describe('a long chain', () => {
  const points = 1000;
  const writes = 64;
  const imageBlocks = 2 ** 24;

  test(`${points} points of ${writes} blocks in 1 TiB: each block by the newest that wrote it`, async () => {
    const memory = memoryStore();
    const newest = new Map<number, { point: number; digest: Buffer }>();
    let base: Manifest | null = null;
    const random = randomFrom(1);
    for (let number = 0; number < points; number++) {
      const blocks = new Set<number>();
      // some are written by many points
      while (blocks.size < writes) blocks.add(Math.floor(random() * (blocks.size % 2 === 0 ? imageBlocks : 500)));
      const sorted = [...blocks].sort((a, b) => a - b);
      const touched = new Map(
        sorted.map((block) => [block, Buffer.from(`${number}.${block}`.padEnd(16).slice(0, 16))]),
      );
      for (const [block, digest] of touched) newest.set(block, { point: number, digest });
      const records = sorted.map((block) => ({
        offset: block * blockBytes + 8,
        length: 100,
        data: Buffer.alloc(100, (number % 255) + 1),
      }));
      const fingerprint = number.toString(16).padStart(64, '0');
      const shape = { frameRecords: 16, pageFrames: 100, segmentBytes: 1 << 20 };
      const size = imageBlocks * blockBytes;
      base = await putPoint(memory, { id: pointId(number), base, size, records, blocks: touched, fingerprint }, shape);
    }

    const startBytes = process.memoryUsage().rss;
    const expected = Array.from({ length: points }, (_, i) => pointId(i));
    const chain = await loadChain(repositoryIn(memory), image, base!.point, { expected });
    let shown = 0;
    for await (const pieces of livePieces(chain)) {
      for (const { offset, end, point } of pieces) {
        const isRight = newest.get((offset - 8) / blockBytes)?.point === point && end - offset === 100;
        if (!isRight) throw new Error(`${offset} to ${end} is of point ${point}`);
      }
      shown += pieces.length;
    }
    expect(shown).toBe(newest.size);
    let blocksSeen = 0;
    for await (const { blocks, digests } of stateDigests(chain)) {
      blocks.forEach((block, i) => {
        if (newest.get(block)?.digest.compare(digests, 16 * i, 16 * i + 16) !== 0) throw new Error(`block ${block}`);
      });
      blocksSeen += blocks.length;
    }
    expect(blocksSeen).toBe(newest.size);
    let written = 0;
    for await (const record of chainDiff(chain, null).records) {
      if (record.kind !== 'write') throw new Error('a full has no zeros');
      written += record.data.length;
    }
    expect(written).toBe(100 * newest.size);
    await chain.close();
    const grownMiB = (process.memoryUsage().rss - startBytes) / 2 ** 20;
    expect(grownMiB).toBeLessThan(400);
  });
});

/** The same numbers in [0, 1) each time (xorshift). */
function randomFrom(seed: number): () => number {
  let state = seed;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

describe('damage', () => {
  const steps: Step[] = [0, 1, 2].map((number) => ({
    size: number === 0 ? 6 * blockBytes : null,
    changes: [0, 1, 2, 3, 4, 5].map((block) => ({
      offset: block * blockBytes + number * 5000,
      length: 4000,
      zero: false,
    })),
  }));

  const readAll = async (memory: MemoryStore): Promise<void> => {
    const chain = await loadChain(repositoryIn(memory), image, pointId(2), { unpacker });
    try {
      for await (const _ of chainDiff(chain, null).records);
      await proveChain(chain);
    } finally {
      await chain.close();
    }
  };

  const damaged = async (change: (memory: MemoryStore, made: History) => Promise<void> | void): Promise<void> => {
    const memory = memoryStore();
    const made = await History.of(steps, memory);
    await readAll(memory);
    await change(memory, made);
    await readAll(memory);
  };

  const key = (number: number, name: string): string => `volumes/vm-1/${pointId(number)}/${name}`;

  const flip = (memory: MemoryStore, name: string, at: number): void => {
    const object = memory.objects.get(name)!;
    object[at < 0 ? object.length + at : at]! ^= 4;
  };

  test('a flipped bit anywhere in a segment but its header frame and end frame is corrupt, with the file and the frame', async () => {
    const name = key(1, '000000.rbdiff.zst');
    const memory = memoryStore();
    await History.of(steps, memory);
    const chain = await loadChain(repositoryIn(memory), image, pointId(2), { unpacker });
    const found = await all(liveFrames(chain));
    const frames = found
      .filter((one) => one.kind === 'frame')
      .filter(({ point, frame }) => point === 1 && frame.segment === 0);
    expect(frames.length).toBeGreaterThan(0);
    for (const { frame } of frames) {
      for (const at of [0, 4, frame.bytes >> 1, frame.bytes - 1]) {
        flip(memory, name, frame.offset + at);
        await expect(chain.points[1]!.archive.readFrame(frame)).rejects.toMatchObject({
          code: 'corrupt',
          message: expect.stringContaining(`the frame ${frame.offset}~${frame.bytes} of memory:${name}`),
        });
        flip(memory, name, frame.offset + at);
      }
      await chain.points[1]!.archive.readFrame(frame);
    }
    await chain.close();
  });

  test('a flipped bit in a page, in the directory, in the trailer', async () => {
    const name = key(1, 'index');
    await expect(damaged((memory) => flip(memory, name, 20))).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`page 0 of memory:${name}`),
    });
    await expect(damaged((memory) => flip(memory, name, -20))).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`the directory of memory:${name}`),
    });
    await expect(damaged((memory) => flip(memory, name, -2))).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`memory:${name}`),
    });
  });

  test('an index that is cut off, a segment that is cut off', async () => {
    for (const name of [key(1, 'index'), key(1, '000000.rbdiff.zst')]) {
      const cut = damaged(({ objects }) => void objects.set(name, objects.get(name)!.subarray(0, -30)));
      await expect(cut).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(name) });
    }
  });

  test('a missing segment, a missing index', async () => {
    for (const name of [key(1, 'index'), key(1, '000000.rbdiff.zst')]) {
      const lost = damaged(({ objects }) => void objects.delete(name));
      await expect(lost).rejects.toMatchObject({ code: 'corrupt', message: expect.stringContaining(name) });
    }
  });

  test('frames in the place of each other', async () => {
    const memory = memoryStore();
    await History.of(steps, memory);
    const chain = await loadChain(repositoryIn(memory), image, pointId(2), { unpacker });
    const frames = (await all(liveFrames(chain))).filter((one) => one.kind === 'frame');
    const [first, second] = frames.filter(({ point }) => point === 1);
    const { archive } = chain.points[first!.point]!;
    const { frame } = first!;
    const other = second!.frame;
    // whole and intact, but another one: hash
    await expect(
      archive.readFrame({ ...frame, segment: other.segment, offset: other.offset, bytes: other.bytes }),
    ).rejects.toThrow(/SHA-256/);
    // hash and size are those of the other one: records
    await expect(archive.readFrame({ ...other, records: frame.records })).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('the index tells'),
    });
    await expect(archive.readFrame({ ...frame, rawBytes: frame.rawBytes + 1 })).rejects.toThrow(/decompressed it has/);
    await expect(archive.readFrame({ ...frame, segment: 99 })).rejects.toMatchObject({ code: 'corrupt' });
    await expect(archive.readFrame({ ...frame, offset: 1 << 30 })).rejects.toMatchObject({ code: 'corrupt' });
    await chain.close();
  });

  test('a point that is missing: the chain says who needs it', async () => {
    const lost = damaged(({ objects }) => void objects.delete(key(0, 'manifest.json')));
    await expect(lost).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(
        `no point ${pointId(0)} .*2 points cannot be read, ${pointId(1)} to ${pointId(2)}`,
      ),
    });
    const none = loadChain(repositoryIn(memoryStore()), image, pointId(7));
    await expect(none).rejects.toMatchObject({ code: 'notFound', message: expect.stringContaining(pointId(7)) });
  });

  test('a point in the place of another one, whole in itself', async () => {
    const swapped = damaged(async (memory) => {
      const other = memoryStore();
      await History.of([{ size: 6 * blockBytes, changes: [{ offset: 0, length: 100, zero: false }] }], other);
      for (const [name, bytes] of other.objects) memory.objects.set(name, bytes);
    });
    await expect(swapped).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringMatching(`${pointId(0)} .*2 points cannot be read, ${pointId(1)} to ${pointId(2)}`),
    });
  });

  test('a manifest of another repository, or of another point', async () => {
    const edited = (from: string, to: string): Promise<void> =>
      damaged(({ objects }) => {
        const name = key(0, 'manifest.json');
        objects.set(name, Buffer.from(objects.get(name)!.toString().replace(from, to)));
      });
    await expect(edited('01234567-89ab', 'ffffffff-89ab')).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining('repository'),
    });
    await expect(edited(`"point": "${pointId(0)}"`, `"point": "${pointId(9)}"`)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(pointId(9)),
    });
  });

  test('an index that is intact, but not what the manifest was made of: the fingerprint tells', async () => {
    const memory = memoryStore();
    const made = await History.of(steps, memory);
    const blocks = new Map([[0, digestOf(repositoryIn(memory).digestKey, made.state, 1)]]);
    const records = [{ offset: 0, length: 10, data: Buffer.alloc(10, 1) }];
    await putPoint(memory, {
      id: pointId(2),
      base: made.manifests[1]!,
      size: made.state.length,
      records,
      blocks,
      fingerprint: made.newest.fingerprint,
    });
    await expect(readAll(memory)).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(pointId(2)),
    });
  });
});
