import { execFileSync } from 'node:child_process';
import { createHash, createHmac } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { autoDecompress } from '../../src/bytes/zstd.ts';
import { ExtentList } from '../../src/diff/extent.ts';
import { blockBytes } from '../../src/format/archive-index.ts';
import { type DiffRecord, openDiff } from '../../src/format/rbd-diff.ts';
import { blockSpans } from '../../src/repo/block-spans.ts';
import { Packer, type PackedFrame, type PackTask } from '../../src/repo/packer.ts';
import { noise } from '../kit/noise.ts';

const key = noise(1, 32);
const packer = new Packer({ key, threads: 2 });
afterAll(() => packer.stop());

const digestOf = (block: Buffer): Buffer => {
  const whole = Buffer.alloc(blockBytes);
  block.copy(whole);
  return createHmac('sha256', key).update(whole).digest().subarray(0, 16);
};

/** The blocks of an image that are not zero, with their digests. */
const stateOf = (image: Buffer): Map<number, Buffer> => {
  const state = new Map<number, Buffer>();
  for (let block = 0; block * blockBytes < image.length; block++) {
    const bytes = image.subarray(block * blockBytes, (block + 1) * blockBytes);
    if (bytes.some((byte) => byte !== 0)) state.set(block, digestOf(bytes));
  }
  return state;
};

/** The fingerprint, in the words of the spec. */
const fingerprintOf = (state: Map<number, Buffer>): bigint => {
  let sum = 0n;
  for (const [block, digest] of state) {
    const number = Buffer.alloc(8);
    number.writeBigUInt64LE(BigInt(block));
    const element = createHmac('sha256', key).update('state').update(number).update(digest).digest();
    sum += BigInt(`0x${Buffer.from(element).reverse().toString('hex')}`);
  }
  return sum % 2n ** 256n;
};

const numberOf = (sum: Uint8Array): bigint => BigInt(`0x${Buffer.from(sum).reverse().toString('hex')}`);

const pairs = (values: Float64Array): [number, number][] =>
  Array.from({ length: values.length / 2 }, (_, i) => [values[2 * i]!, values[2 * i + 1]!]);

const oldOf = (state: Map<number, Buffer>, blocks: Iterable<number>): PackTask['old'] => {
  const known = [...blocks].filter((block) => state.has(block));
  return { blocks: Float64Array.from(known), digests: Buffer.concat(known.map((block) => state.get(block)!)) };
};

/** The whole image in one task. */
const taskOf = (image: Buffer, changes: [number, number][], options: Partial<PackTask> = {}): PackTask => {
  const data = new ArrayBuffer(image.length);
  new Uint8Array(data).set(image);
  return {
    data,
    spans: Float64Array.of(0, image.length),
    changes: Float64Array.from(changes.flat()),
    old: { blocks: new Float64Array(), digests: new Uint8Array() },
    trim: false,
    dropZeros: false,
    ...options,
  };
};

const recordsIn = async ({ bytes }: PackedFrame): Promise<DiffRecord[]> => {
  if (bytes === null) return [];
  const head = await autoDecompress(bytesSource(bytes));
  const parts: Buffer[] = [Buffer.from('rbd diff v1\n')];
  for (;;) {
    const into = Buffer.alloc(8 << 20);
    const count = await head.read(into);
    if (count === 0) break;
    parts.push(into.subarray(0, count));
  }
  await head.close();
  parts.push(Buffer.from('e'));
  const reader = new ByteReader(bytesSource(Buffer.concat(parts)));
  const diff = await openDiff(reader, { allocate: (length) => Buffer.alloc(length) });
  const records: DiffRecord[] = [];
  for await (const record of diff!.records) records.push(record);
  return records;
};

const apply = (image: Buffer, records: DiffRecord[]): Buffer => {
  const result = Buffer.from(image);
  for (const record of records) {
    if (record.kind === 'zero') result.fill(0, record.offset, record.offset + record.length);
    else Buffer.from(record.data).copy(result, record.offset);
  }
  return result;
};

const empty = { blocks: new Float64Array(), digests: new Uint8Array() };

test('what is written, what is zero, and what each block is', async () => {
  const image = Buffer.concat([noise(2, 6000), Buffer.alloc(2192), noise(3, 4096), Buffer.alloc(blockBytes)]);
  const frame = await packer.pack(taskOf(image, [[100, image.length - 100]]));
  const recordLength = 8192 - 100;
  expect(pairs(frame.records)).toEqual([
    [100, recordLength + 4096],
    [12288, -(image.length - 12288)],
  ]);
  expect(pairs(frame.runs)).toEqual([
    [0, 1],
    [1, -1],
  ]);
  expect(Buffer.from(frame.digests)).toEqual(digestOf(image.subarray(0, blockBytes)));
  expect([frame.dataBytes, frame.zeroBytes]).toEqual([recordLength + 4096, image.length - 12288]);
  expect(frame.rawBytes).toBe(2 * 17 + frame.dataBytes);
  expect(Buffer.from(frame.hash)).toEqual(createHash('sha256').update(frame.bytes!).digest().subarray(0, 16));
  expect(frame.data.byteLength).toBe(image.length);
});

test('a frame is whole for zstd: with its size and its checksum', async () => {
  const image = noise(4, 4 << 20);
  const frame = await packer.pack(taskOf(image, [[0, image.length]]));
  const raw = execFileSync('zstd', ['-d', '-q', '-c'], { input: frame.bytes!, maxBuffer: 8 << 20 });
  expect(raw.subarray(17).equals(image)).toBe(true);
  expect(raw.length).toBe(frame.rawBytes);
  // RFC 8878: the descriptor behind the magic number has a bit for the checksum, and says how long the size is
  expect(frame.bytes![4]! & 0x04).toBe(0x04);
  expect(frame.bytes![4]! >> 5).toBeGreaterThan(0);
});

/** Images of a few blocks, which differ in a few places. */
const world = fc.record(
  {
    blocks: fc.array(fc.constantFrom('zero', 'data', 'sparse'), { minLength: 1, maxLength: 6 }),
    tail: fc.constantFrom(0, 512, 5000),
    writes: fc.array(
      fc.record({
        at: fc.nat(6 * blockBytes),
        length: fc.constantFrom(1, 512, 4096, 30_000, 70_000),
        zero: fc.boolean(),
      }),
      { maxLength: 6 },
    ),
    rewrites: fc.array(fc.record({ at: fc.nat(6 * blockBytes), length: fc.constantFrom(100, 65536, 140_000) }), {
      maxLength: 3,
    }),
    seed: fc.nat(),
  },
  { noNullPrototype: true },
);

type World = typeof world extends fc.Arbitrary<infer T> ? T : never;

const build = ({ blocks, tail, writes, rewrites, seed }: World) => {
  const before = Buffer.alloc(blocks.length * blockBytes + tail);
  blocks.forEach((kind, i) => {
    if (kind === 'data') noise(seed + i, blockBytes).copy(before, i * blockBytes);
    if (kind === 'sparse') noise(seed + i, 300).copy(before, i * blockBytes + 20_000);
  });
  const after = Buffer.from(before);
  const changed = new Set<number>();
  const mark = (at: number, end: number): void => {
    for (let i = Math.floor(at / 512); i < Math.ceil(end / 512); i++) changed.add(i);
  };
  writes.forEach(({ at, length, zero }, i) => {
    const end = Math.min(at + length, after.length);
    if (at >= end) return;
    if (zero) after.fill(0, at, end);
    else noise(seed + 100 + i, end - at).copy(after, at);
    mark(at, end);
  });
  // told as changed, and not changed
  for (const { at, length } of rewrites) if (at < after.length) mark(at, Math.min(at + length, after.length));
  const changes: [number, number][] = [];
  for (const sector of [...changed].sort((a, b) => a - b)) {
    const last = changes.at(-1);
    const end = Math.min((sector + 1) * 512, after.length);
    if (last && last[0] + last[1] === sector * 512) last[1] = end - last[0];
    else changes.push([sector * 512, end - sector * 512]);
  }
  return { before, after, changes };
};

test.each([
  { trim: false, dropZeros: false },
  { trim: false, dropZeros: true },
  { trim: true, dropZeros: false },
])('the records make the new image of the old one, and the sum its fingerprint: %o', async (options) => {
  await fc.assert(
    fc.asyncProperty(world, async (made) => {
      const { before, after, changes } = build(made);
      const [old, now] = [stateOf(before), stateOf(after)];
      const all = Array.from({ length: Math.ceil(after.length / blockBytes) }, (_, i) => i);
      const frame = await packer.pack(taskOf(after, changes, { ...options, old: oldOf(old, all) }));

      const records = await recordsIn(frame);
      expect(apply(before, records).equals(after)).toBe(true);
      expect(pairs(frame.records)).toEqual(
        records.map((record) => [record.offset, record.kind === 'zero' ? -record.length : record.data.length]),
      );
      expect((fingerprintOf(old) + numberOf(frame.sum)) % 2n ** 256n).toBe(fingerprintOf(now));

      // runs rise, tell the truth, and tell of every block that a record touches
      const told = new Map<number, Buffer | null>();
      let digest = 0;
      for (const [first, count] of pairs(frame.runs)) {
        expect(first).toBeGreaterThan(Math.max(-1, ...told.keys()));
        for (let block = first; block < first + Math.abs(count); block++) {
          told.set(block, count < 0 ? null : Buffer.from(frame.digests.subarray(digest, (digest += 16))));
        }
      }
      expect(digest).toBe(frame.digests.length);
      for (const [block, value] of told) expect(value).toEqual(now.get(block) ?? null);
      for (const [offset, length] of pairs(frame.records)) {
        const end = offset + Math.abs(length);
        for (let b = Math.floor(offset / blockBytes); b * blockBytes < end; b++) expect(told.has(b)).toBe(true);
      }
      const bytes = pairs(frame.records).reduce((sum, [, length]) => sum + Math.abs(length), 0);
      const named = changes.reduce((sum, [, length]) => sum + length, 0);
      expect(options.trim || options.dropZeros || bytes === named).toBe(true);
      const same = all.filter((block) => Buffer.compare(old.get(block) ?? key, now.get(block) ?? key) === 0);
      expect(options.trim && same.some((block) => told.has(block))).toBe(false);
    }),
    { numRuns: 25 },
  );
});

test('what the planner makes of changed extents becomes the new image, in pieces', async () => {
  const extents = fc.array(
    fc.record(
      {
        gap: fc.oneof(fc.constant(0), fc.nat(5000), fc.nat(300_000)),
        length: fc.oneof(fc.integer({ min: 1, max: 9000 }), fc.integer({ min: 1, max: 3_000_000 })),
        kind: fc.constantFrom('data', 'zero', 'same'),
      },
      { noNullPrototype: true },
    ),
    { maxLength: 12 },
  );
  const content = noise(20, 12 << 20);
  await fc.assert(
    fc.asyncProperty(
      extents,
      fc.integer({ min: 1, max: 10 << 20 }),
      fc.nat(200_000),
      fc.boolean(),
      async (list, size, cut, trim) => {
        const base = Buffer.alloc(size + cut);
        for (let at = 0; at < base.length; at += 500_000) content.copy(base, at, at, at + 250_000);
        const image = Buffer.from(base.subarray(0, size));
        const changed = new ExtentList();
        let at = 0;
        for (const { gap, length, kind } of list) {
          const offset = at + gap;
          at = offset + length;
          changed.push(offset, length, kind === 'zero' ? 'zero' : 'data');
          if (kind === 'zero') image.fill(0, Math.min(offset, size), Math.min(at, size));
          else if (kind === 'data') content.copy(image, Math.min(offset, size), 7, 7 + length);
        }
        const [old, now] = [stateOf(base), stateOf(image)];
        const made = Buffer.from(base.subarray(0, size));
        let sum = fingerprintOf(old);
        const extra = [Math.floor(size / blockBytes)];
        for await (const { spans, changes, bytes, start, end } of blockSpans([{ extents: changed }], { size, extra })) {
          const data = new Uint8Array(bytes);
          let filled = 0;
          for (const [offset, length] of pairs(spans)) {
            data.set(image.subarray(offset, offset + length), filled);
            filled += length;
          }
          const touched = [...pairs(spans), ...pairs(changes)].flatMap(([offset, length]) => {
            const first = Math.floor(offset / blockBytes);
            return Array.from(
              { length: Math.ceil((offset + Math.abs(length)) / blockBytes) - first },
              (_, i) => first + i,
            );
          });
          const blocks = [...new Set(touched)].sort((a, b) => a - b);
          const task = { data: data.buffer, spans, changes, old: oldOf(old, blocks), trim, dropZeros: false };
          const frame = await packer.pack(task);
          const records = await recordsIn(frame);
          expect(records.every((record) => record.offset >= start && record.offset < end)).toBe(true);
          apply(made, records).copy(made);
          sum += numberOf(frame.sum);
        }
        const gone = [...old.keys()].filter((block) => block >= Math.ceil(size / blockBytes));
        const none = new Float64Array();
        const rest = { data: new ArrayBuffer(0), spans: none, changes: none, trim, dropZeros: false };
        sum += numberOf((await packer.pack({ ...rest, old: oldOf(old, gone) })).sum);
        expect(made.equals(image)).toBe(true);
        expect(sum % 2n ** 256n).toBe(fingerprintOf(now));
      },
    ),
    { numRuns: 15 },
  );
});

test('zeros outside the spans: as they are, or only where something was', async () => {
  const block = noise(5, blockBytes);
  const digest = digestOf(block);
  const zeros = { spans: new Float64Array(), changes: Float64Array.of(0, -5 * blockBytes, 10 * blockBytes, -70_000) };
  const old = { blocks: Float64Array.of(1, 2, 4, 11), digests: Buffer.concat([digest, digest, digest, digest]) };
  const run = (options: Partial<PackTask>) =>
    packer.pack({ ...taskOf(Buffer.alloc(0), []), ...zeros, old, ...options });

  const told = await run({});
  expect(pairs(told.records)).toEqual([
    [0, -5 * blockBytes],
    [10 * blockBytes, -70_000],
  ]);
  expect(pairs(told.runs)).toEqual([
    [0, -5],
    [10, -2],
  ]);
  const trimmed = await run({ trim: true });
  expect(pairs(trimmed.records)).toEqual([
    [blockBytes, -2 * blockBytes],
    [4 * blockBytes, -blockBytes],
    [11 * blockBytes, -(70_000 - blockBytes)],
  ]);
  expect(pairs(trimmed.runs)).toEqual([
    [1, -2],
    [4, -1],
    [11, -1],
  ]);
  expect(trimmed.sum).toEqual(told.sum);
  expect((await run({ trim: true, old: empty })).bytes).toBe(null);
  expect((await run({ dropZeros: true, old: empty })).bytes).toBe(null);
});

test('zeros beside and between spans are one record, in order', async () => {
  const image = Buffer.concat([noise(6, 1000), Buffer.alloc(blockBytes - 1000), noise(7, blockBytes)]);
  const task = taskOf(image, []);
  const frame = await packer.pack({
    ...task,
    spans: Float64Array.of(0, blockBytes, 3 * blockBytes, blockBytes),
    changes: Float64Array.of(4096, -(blockBytes - 4096), blockBytes, -2 * blockBytes, 3 * blockBytes, 8192),
  });
  expect(pairs(frame.records)).toEqual([
    [4096, -(3 * blockBytes - 4096)],
    [3 * blockBytes, 8192],
  ]);
  expect(pairs(frame.runs)).toEqual([
    [0, 1],
    [1, -2],
    [3, 1],
  ]);
});

test('blocks that are gone only leave the sum', async () => {
  const state = stateOf(noise(8, 3 * blockBytes));
  const frame = await packer.pack({
    ...taskOf(Buffer.alloc(0), []),
    spans: new Float64Array(),
    old: oldOf(state, [0, 2]),
  });
  expect(frame.bytes).toBe(null);
  const left = new Map([[1, state.get(1)!]]);
  expect((fingerprintOf(state) + numberOf(frame.sum)) % 2n ** 256n).toBe(fingerprintOf(left));
});

test('a block that nobody named is told whole if it is another one: where a shrunk image ends', async () => {
  const before = noise(9, 2 * blockBytes);
  const after = before.subarray(0, blockBytes + 5000);
  const old = oldOf(stateOf(before), [0, 1]);
  const frame = await packer.pack(taskOf(after, [], { old }));
  expect(pairs(frame.records)).toEqual([[blockBytes, 5000]]);
  expect(pairs(frame.runs)).toEqual([[1, 1]]);
  const same = await packer.pack(taskOf(before, [], { old }));
  expect([same.bytes, numberOf(same.sum)]).toEqual([null, 0n]);
});

test('data that no change names where there were zeros is not lost', async () => {
  const image = noise(10, blockBytes);
  const frame = await packer.pack(taskOf(image, [[0, 512]], { dropZeros: true }));
  expect(pairs(frame.records)).toEqual([[0, blockBytes]]);
});

test('frames come in the order of the tasks, and the data comes back', async () => {
  const lengths = [4 << 20, blockBytes, 4 << 20, blockBytes, 2 * blockBytes];
  const tasks = lengths.map((length, i) => taskOf(noise(i, length), [[0, length]]));
  const frames: PackedFrame[] = [];
  for await (const frame of packer.frames(tasks)) frames.push(frame);
  expect(frames.map((frame) => frame.dataBytes)).toEqual(lengths);
  expect(frames.map((frame) => frame.data.byteLength)).toEqual(lengths);
  expect(tasks.every(({ data }) => data.byteLength === 0)).toBe(true);
});

test('a change that no span has is a bug, not a wrong frame', async () => {
  const own = new Packer({ key, threads: 1 });
  const image = noise(11, blockBytes);
  await expect(own.pack(taskOf(image, [[blockBytes, 512]]))).rejects.toThrow('outside the spans');
  await own.stop();
});

test('pages and edges are compressed by the same threads', async () => {
  const raw = Buffer.from('rbd diff v1\n');
  const { bytes, hash, rawBytes } = await packer.compress(raw);
  expect(execFileSync('zstd', ['-d', '-q', '-c'], { input: bytes })).toEqual(raw);
  expect([Buffer.from(hash), rawBytes]).toEqual([createHash('sha256').update(bytes).digest().subarray(0, 16), 12]);
});
