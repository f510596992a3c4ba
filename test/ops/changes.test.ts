import { Readable } from 'node:stream';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Extent } from '../../src/diff/extent.ts';
import { mergeDiffs } from '../../src/diff/merge.ts';
import type { DiffRecord, DiffStream } from '../../src/format/rbd-diff.ts';
import { changedExtents, diffStream, type PlanOptions, planDiff } from '../../src/ops/changes.ts';
import { ModelImage, type ModelOptions } from '../kit/model-image.ts';

const object = 4096;

/** What applying the diff makes of a content; checks on the way that the stream is as the format wants it. */
const applied = async (
  base: Uint8Array,
  image: ModelImage,
  to: string | null,
  options: Partial<PlanOptions> & Pick<PlanOptions, 'fromSnap'>,
): Promise<Uint8Array> => {
  const opened = image.open(to);
  const plan = await planDiff(opened, options);
  const stream = diffStream(opened, plan, { queueDepth: 3 });
  if (!options.range) {
    expect(stream.header).toMatchObject({ fromSnap: options.fromSnap, toSnap: to, size: image.version(to).size });
  }
  const result = new Uint8Array(image.version(to).size);
  result.set(base.subarray(0, result.length));
  const range = options.range ?? { offset: 0, length: result.length };
  let reached = range.offset;
  let zeroEnd = -1;
  for await (const record of stream.records) {
    const length = record.kind === 'write' ? record.data.length : record.length;
    expect(length).toBeGreaterThan(0);
    expect(record.offset).toBeGreaterThanOrEqual(reached);
    reached = record.offset + length;
    if (record.kind === 'write') {
      result.set(record.data, record.offset);
    } else {
      expect(record.offset).not.toBe(zeroEnd);
      zeroEnd = reached;
      result.fill(0, record.offset, reached);
    }
  }
  expect(reached).toBeLessThanOrEqual(Math.min(range.offset + range.length, result.length));
  return result;
};

/** Where two contents differ first; null if nowhere. (`toEqual` takes seconds for so many bytes.) */
const difference = (found: Uint8Array, expected: Uint8Array): string | null => {
  if (Buffer.from(found).equals(expected)) return null;
  const at = expected.findIndex((byte, i) => byte !== found[i]);
  return `byte ${at} of ${expected.length}: ${found[at]} instead of ${expected[at]} (${found.length} bytes)`;
};

const extents = async (image: ModelImage, to: string | null, options: PlanOptions): Promise<string[]> => {
  const opened = image.open(to);
  const found: string[] = [];
  for await (const { offset, length, kind } of changedExtents(opened, await planDiff(opened, options))) {
    found.push(`${offset}~${length} ${kind}`);
  }
  return found;
};

/** An image with one object a letter: `AB..` is data, data, hole, hole. Letters are the bytes. */
const write = (image: ModelImage, picture: string): void => {
  for (const [no, letter] of picture.split('').entries()) {
    if (letter === ' ') continue;
    if (letter === '.') image.zero(no * object, object);
    else image.write(no * object, new Uint8Array(object).fill(letter.charCodeAt(0)));
  }
};

const imageOf = (picture: string, options: Partial<ModelOptions> = {}): ModelImage => {
  const image = new ModelImage({ size: picture.length * object, ...options });
  write(image, picture.replaceAll('.', ' '));
  return image;
};

const noticesOf = async (image: ModelImage, to: string | null, fromSnap: string | null) => {
  const notices: string[] = [];
  const plan = await planDiff(image.open(to), { fromSnap, onNotice: (text) => notices.push(text) });
  return { method: plan.method, notices };
};

describe('a diff', () => {
  test('of a full: what exists, as data; holes are not in it', async () => {
    const image = imageOf('AB.C');
    image.snapshot('s1');
    expect(await extents(image, 's1', { fromSnap: null })).toEqual([
      '0~4096 data',
      '4096~4096 data',
      '12288~4096 data',
    ]);
    expect(
      difference(await applied(new Uint8Array(), image, 's1', { fromSnap: null }), image.content('s1')),
    ).toBeNull();
    expect(image.calls.changedExtents).toBe(1);
  });

  test('of an increment: exact bytes; only objects that the maps name are asked', async () => {
    const image = imageOf('ABCDEFGHIJKLMNOPQRSTUVWXYZ');
    image.snapshot('s1');
    image.write(object + 100, Uint8Array.of(1, 2, 3));
    image.write(20 * object, Uint8Array.of(7));
    image.zero(25 * object, object);
    image.snapshot('s2');
    const asked: Extent[] = [];
    const opened = image.open('s2');
    const watched = {
      ...opened,
      changedExtents: (from: string | null, range: Extent, emit: Parameters<typeof opened.changedExtents>[2]) => {
        asked.push(range);
        return opened.changedExtents(from, range, emit);
      },
    };
    const plan = await planDiff(watched, { fromSnap: 's1' });
    asked.length = 0; // the plan looks for traces of a rollback
    const found = [];
    for await (const extent of changedExtents(watched, plan)) found.push(extent);
    expect(found).toEqual([
      { offset: object + 100, length: 3, kind: 'data' },
      { offset: 20 * object, length: 1, kind: 'data' },
      { offset: 25 * object, length: object, kind: 'zero' },
    ]);
    expect(asked).toEqual([
      { offset: object, length: object },
      { offset: 20 * object, length: 6 * object },
    ]);
  });

  test('from a snapshot to itself is empty, and asks for nothing', async () => {
    const image = imageOf('AB');
    image.snapshot('s1');
    expect(await extents(image, 's1', { fromSnap: 's1' })).toEqual([]);
    expect(
      difference(await applied(image.content('s1'), image, 's1', { fromSnap: 's1' }), image.content('s1')),
    ).toBeNull();
    expect(image.calls).toMatchObject({ objectMap: 0, changedExtents: 0, read: 0 });
  });

  test('of whole objects reports them one by one, reads no zeros, asks for nothing exact', async () => {
    const image = imageOf('ABCDEF');
    image.snapshot('s1');
    image.write(0, Uint8Array.of(1));
    image.write(object, Uint8Array.of(1));
    write(image, '    ..');
    const expected = ['0~4096 data', '4096~4096 data', '16384~4096 zero', '20480~4096 zero'];
    expect(await extents(image, null, { fromSnap: 's1', wholeObject: true })).toEqual(expected);
    expect(image.calls.changedExtents).toBe(2); // of the plan, which looks for traces of a rollback in two objects
    const changed = await applied(image.content('s1'), image, null, { fromSnap: 's1', wholeObject: true });
    expect(difference(changed, image.content(null))).toBeNull();
    image.features = 1;
    expect(await extents(image, null, { fromSnap: 's1', wholeObject: true })).toEqual(expected);
  });

  test('finds zeros among the data, in blocks of 4 KiB, and tells those that touch in one record', async () => {
    const image = new ModelImage({ size: 64 << 10, order: 14 });
    image.write(0, new Uint8Array(64 << 10));
    image.write(10_000, Uint8Array.of(1));
    image.snapshot('s1');
    const opened = image.open('s1');
    const records = [];
    for await (const record of diffStream(opened, await planDiff(opened, { fromSnap: null })).records) {
      records.push(record.kind === 'write' ? [record.kind, record.offset, record.data.length] : Object.values(record));
    }
    expect(records).toEqual([
      ['zero', 0, 8192],
      ['write', 8192, 4096],
      ['zero', 12288, (64 << 10) - 12288],
    ]);
  });

  test('keeps what a shrink cut off, though a snapshot in between is smaller (rbd loses it)', async () => {
    const image = imageOf('ABCD');
    image.snapshot('s1');
    image.resize(1.5 * object);
    image.snapshot('s2');
    image.resize(4 * object);
    image.write(3 * object, new Uint8Array(512).fill(1));
    expect(await extents(image, null, { fromSnap: 's1', wholeObject: true })).toEqual([
      '4096~4096 data',
      '8192~4096 zero',
      '12288~4096 data',
    ]);
    expect(
      difference(await applied(image.content('s1'), image, null, { fromSnap: 's1' }), image.content(null)),
    ).toBeNull();
  });

  test('does not believe maps when that of a snapshot in between is lost (rbd does)', async () => {
    const image = imageOf('ABCD');
    image.snapshot('s1');
    image.write(0, Uint8Array.of(1));
    image.snapshot('s2');
    image.snapshot('s3');
    image.snapshots[1]!.mapObject = 'missing';
    expect(await noticesOf(image, 's3', 's1')).toEqual({
      method: 'listing',
      notices: [
        'the object map of snapshot "s2" is missing: every object is asked for its changes instead, which takes longer',
      ],
    });
    expect(await extents(image, 's3', { fromSnap: 's1' })).toEqual(['0~1 data']);
    expect(
      difference(await applied(image.content('s1'), image, 's3', { fromSnap: 's1' }), image.content('s3')),
    ).toBeNull();
  });

  test('notices that a rollback put back what maps call clean (rbd loses it)', async () => {
    const image = imageOf('ABCD');
    image.snapshot('s0');
    image.snapshot('s1');
    write(image, 'X');
    image.snapshot('s2');
    image.rollback('s1');
    image.snapshot('s3');
    const { method, notices } = await noticesOf(image, 's3', 's2');
    expect([method, notices]).toEqual(['listing', [expect.stringContaining('rolled back to before snapshot "s2"')]]);
    expect(await extents(image, 's3', { fromSnap: 's2' })).toEqual(['0~4096 data']);
    const whole = await applied(image.content('s2'), image, 's3', { fromSnap: 's2', wholeObject: true });
    expect(difference(whole, image.content('s3'))).toBeNull();
    // where the start is not passed by, the maps are right
    expect((await noticesOf(image, 's3', 's1')).method).toBe('maps');
  });

  test('notices a rollback although the map of the start is itself a copy that a rollback made', async () => {
    const image = imageOf('A...');
    image.snapshot('p');
    write(image, ' B');
    image.snapshot('r');
    write(image, 'C');
    image.snapshot('m1');
    image.snapshot('m2');
    image.rollback('r');
    image.snapshot('from');
    image.rollback('m2');
    image.snapshot('end');
    expect((await noticesOf(image, 'end', 'from')).method).toBe('listing');
    expect(await extents(image, 'end', { fromSnap: 'from' })).toEqual(['0~4096 data']);
  });

  test('lists exactly where a map that would tell of a rollback is lost', async () => {
    const image = imageOf('A...');
    image.snapshot('p');
    image.snapshot('r');
    write(image, 'B');
    image.snapshot('m');
    image.snapshot('from');
    image.rollback('r');
    image.snapshot('end');
    image.version('m').mapObject = 'missing';
    const { method, notices } = await noticesOf(image, 'end', 'from');
    expect([method, notices]).toEqual(['listing', [expect.stringContaining('cannot be told')]]);
    expect(await extents(image, 'end', { fromSnap: 'from' })).toEqual(['0~4096 data']);
  });

  test.each<[string, string, (image: ModelImage) => void]>([
    ['the image has none', 'image has no object map', (image) => (image.features = 1)],
    ['no fast-diff', 'image does not have the feature fast-diff', (image) => (image.features = 0xd)],
    ['flag at the start', 'the fast-diff of snapshot "s1" is flagged invalid', (i) => (i.snapshots[0]!.flags = 2)],
    ['flag between', 'the object map of snapshot "s2" is flagged invalid', (i) => (i.snapshots[1]!.flags = 3)],
    ['flag of the head', 'the object map of the head is flagged invalid', (image) => (image.head.flags = 1)],
    ['missing', 'the object map of the head is missing', (image) => (image.head.mapObject = 'missing')],
    ['damaged', 'at snapshot "s1", the object map is damaged', (i) => (i.snapshots[0]!.mapObject = Buffer.alloc(9))],
    [
      'too short',
      'the object map of snapshot "s2" covers only 0 of 4 objects',
      (image) => (image.snapshots[1]!.mapObject = Buffer.from('0e000000010108000000000000000000000000000000', 'hex')),
    ],
  ])('says why it does not believe maps, and is right all the same: %s', async (_, reason, damage) => {
    const image = imageOf('AB..');
    image.snapshot('s1');
    write(image, ' .C ');
    image.snapshot('s2');
    damage(image);
    const { method, notices } = await noticesOf(image, null, 's1');
    expect(method).toBe('listing');
    expect(notices).toEqual([expect.stringContaining(reason)]);
    expect(
      difference(await applied(image.content('s1'), image, null, { fromSnap: 's1' }), image.content(null)),
    ).toBeNull();
  });

  test('of a full believes a map whose changes are flagged invalid: only what exists counts', async () => {
    const image = imageOf('AB..');
    image.head.flags = 2;
    expect((await noticesOf(image, null, null)).method).toBe('maps');
  });

  test('starts at user snapshots only, and tells which there are', async () => {
    const image = imageOf('AB');
    image.snapshot('a');
    image.snapshot('g', 'group');
    image.snapshot('b');
    const plan = (fromSnap: string, to: string | null) => planDiff(image.open(to), { fromSnap });
    const hint = 'its snapshots: a, b';
    await expect(plan('x', null)).rejects.toMatchObject({ code: 'notFound', hint });
    await expect(plan('g', null)).rejects.toMatchObject({ code: 'notFound' });
    await expect(plan('b', 'a')).rejects.toMatchObject({
      code: 'invalid',
      message: expect.stringMatching(/^snapshot "b" \(id \d+\) of volumes\/image is newer than "a" \(id \d+\)/),
    });
    expect((await plan('a', 'b')).method).toBe('maps');
  });

  test('of ranges put together is that of the whole; one that starts past the end is refused', async () => {
    const image = imageOf('ABCDEFGH');
    image.snapshot('s1');
    write(image, '.X  Y..Z');
    image.write(5 * object + 17, Uint8Array.of(1));
    const border = 5 * object + 100;
    const left = await applied(image.content('s1'), image, null, {
      fromSnap: 's1',
      range: { offset: 0, length: border },
    });
    const rest = { offset: border, length: 100 * object };
    expect(
      difference(await applied(left, image, null, { fromSnap: 's1', range: rest }), image.content(null)),
    ).toBeNull();
    image.snapshot('s2');
    const part = async (range?: Extent): Promise<DiffStream> => {
      const opened = image.open('s2');
      const stream = diffStream(opened, await planDiff(opened, { fromSnap: 's1', ...(range && { range }) }));
      const records: DiffRecord[] = [];
      for await (const record of stream.records) {
        records.push(record.kind === 'write' ? { ...record, data: Buffer.from(record.data) } : record);
      }
      return { header: stream.header, records: Readable.from(records) };
    };
    const middle = { offset: 2 * object, length: border - 2 * object };
    const parts = [await part({ offset: 0, length: 2 * object }), await part(middle), await part(rest)];
    expect(parts.map(({ header }) => [header.fromSnap, header.size, header.toSnap])).toEqual([
      ['s1', 8 * object, null],
      ['s1', 8 * object, null],
      ['s1', 8 * object, 's2'],
    ]);
    expect(parts.map(({ header }) => header.part)).toEqual([
      { offset: 0, end: 2 * object },
      { offset: 2 * object, end: border },
      { offset: border, end: 8 * object },
    ]);
    const headers = parts.map(({ header }) => header);
    const joined = (...picked: number[]) => {
      const streams = picked.map((i) => ({ header: headers[i]!, records: Readable.from([]) }));
      return () => mergeDiffs(streams);
    };
    const gap = expect.objectContaining({ code: 'invalid', message: expect.stringContaining('the part from byte') });
    for (const picked of [[0, 2], [0, 1], [1, 2], [0, 1, 1, 2], [2, 1, 0], [0, 0, 1, 2], [0], [1], [2]])
      expect(joined(...picked)).toThrow(gap);
    const merged = mergeDiffs(parts);
    const whole = await part();
    expect(merged.header).toEqual(whole.header);
    const bytes = async (stream: DiffStream): Promise<Uint8Array> => {
      const content = image.content('s1');
      for await (const record of stream.records) {
        if (record.kind === 'write') content.set(record.data, record.offset);
        else content.fill(0, record.offset, record.offset + record.length);
      }
      return content;
    };
    expect(difference(await bytes(merged), await bytes(whole))).toBeNull();
    const past = planDiff(image.open(null), { fromSnap: 's1', range: { offset: 8 * object, length: 1 } });
    await expect(past).rejects.toMatchObject({ code: 'invalid' });
  });

  test('fails before its end when a snapshot goes away while it is read', async () => {
    for (const victim of ['s1', 's2']) {
      const image = imageOf('ABCD');
      image.snapshot('s1');
      write(image, 'WXYZ');
      image.snapshot('s2');
      image.before = (call) => {
        if (call === 'read') image.removeSnapshot(victim);
      };
      const read = applied(image.content('s1'), image, 's2', { fromSnap: 's1' });
      await expect(read).rejects.toMatchObject({ code: 'notFound', message: expect.stringContaining(`"${victim}"`) });
    }
  });

  test('of a snapshot made again under its name fails, too: the id is another one', async () => {
    const image = imageOf('AB');
    image.snapshot('s1');
    image.before = (call) => {
      if (call !== 'read') return;
      image.removeSnapshot('s1');
      image.snapshot('s1');
    };
    await expect(applied(new Uint8Array(), image, 's1', { fromSnap: null })).rejects.toMatchObject({
      code: 'notFound',
    });
  });

  test('is planned anew when a snapshot is made while the maps are loaded', async () => {
    const image = imageOf('ABCD');
    image.snapshot('s1');
    image.write(0, Uint8Array.of(1));
    image.before = (call) => {
      if (call === 'objectMap' && image.calls.objectMap === 2) image.snapshot('s2');
    };
    expect(await extents(image, null, { fromSnap: 's1' })).toEqual(['0~1 data']);
    image.before = (call) => {
      if (call === 'objectMap' && image.snapshots.length > 1) image.removeSnapshot('s2');
    };
    expect(await extents(image, null, { fromSnap: 's1' })).toEqual(['0~1 data']);
    expect((await noticesOf(image, null, 's1')).method).toBe('maps');
  });

  test('gives up maps when snapshots keep coming', async () => {
    const image = imageOf('AB');
    image.snapshot('s1');
    image.before = (call) => {
      if (call === 'objectMap') image.snapshot(`n${image.calls.objectMap}`);
    };
    const { method, notices } = await noticesOf(image, null, 's1');
    expect([method, notices.length]).toEqual(['listing', 1]);
  });

  test('stops when it is told to', async () => {
    const image = imageOf('ABCD');
    const abort = new AbortController();
    const opened = image.open(null);
    const plan = await planDiff(opened, { fromSnap: null, signal: abort.signal });
    abort.abort(new Error('enough'));
    const records = diffStream(opened, plan).records[Symbol.asyncIterator]();
    await expect(records.next()).rejects.toThrow('enough');
  });

  test('fails when a read fails, at its turn, and leaves no read behind', async () => {
    const image = imageOf('ABCDEFGHIJ', { order: 12 });
    image.before = (call) => {
      if (call === 'changedExtents') throw new Error('osd down');
    };
    image.features = 1;
    await expect(applied(new Uint8Array(), image, null, { fromSnap: null })).rejects.toThrow('osd down');
    image.features = 0x3d;
    let running = 0;
    const opened = image.open(null);
    const slow = {
      ...opened,
      read: async (offset: number) => {
        running += 1;
        await new Promise((resolve) => setImmediate(resolve));
        running -= 1;
        if (offset === 0) throw new Error('osd down');
      },
    };
    const stream = diffStream(slow, await planDiff(slow, { fromSnap: null }));
    await expect(stream.records[Symbol.asyncIterator]().next()).rejects.toThrow('osd down');
    expect(running).toBe(0);
  });

  test('tells how far it is, rising to the end', async () => {
    const image = imageOf('AB..CD..');
    const opened = image.open(null);
    const told: number[] = [];
    const stream = diffStream(opened, await planDiff(opened, { fromSnap: null }), {
      onProgress: ({ doneBytes, totalBytes }) => {
        expect(totalBytes).toBe(8 * object);
        told.push(doneBytes);
      },
    });
    for await (const record of stream.records) expect(record).toBeDefined();
    expect(told.at(0)).toBe(0);
    expect(told.at(-1)).toBe(8 * object);
    expect(told).toEqual([...told].sort((a, b) => a - b));
  });
});

describe('a diff of a clone', () => {
  const parentOf = (picture: string): ModelImage => {
    const parent = imageOf(picture);
    parent.snapshot('base');
    return parent;
  };

  test('of a full has what the parent shows, and only that', async () => {
    const parent = parentOf('AB..C.DE');
    const image = new ModelImage({ size: 9 * object, parent: { image: parent, snap: 'base' } });
    image.write(3 * object, Uint8Array.of(1));
    image.zero(0, object);
    expect(
      difference(await applied(new Uint8Array(), image, null, { fromSnap: null }), image.content(null)),
    ).toBeNull();
    const whole = await extents(image, null, { fromSnap: null, wholeObject: true });
    expect(whole).toEqual([0, 1, 3, 4, 6, 7].map((no) => `${no * object}~${object} data`));
    expect(parent.calls.close).toBe(parent.calls.info > 0 ? 2 : 0);
  });

  test('reads where an object is gone: the parent may show again', async () => {
    const image = new ModelImage({ size: 4 * object, parent: { image: parentOf('ABCD'), snap: 'base' } });
    image.snapshot('s1');
    write(image, 'W.  ');
    image.snapshot('s2');
    image.rollback('s1');
    expect(
      difference(await applied(image.content('s2'), image, null, { fromSnap: 's2' }), image.content(null)),
    ).toBeNull();
  });

  test('knows that a discarded object hides the parent', async () => {
    const image = new ModelImage({ size: 4 * object, parent: { image: parentOf('ABCD'), snap: 'base' } });
    image.snapshot('s1');
    write(image, ' .  ');
    expect(await extents(image, null, { fromSnap: 's1' })).toEqual(['4096~4096 zero']);
    expect(
      difference(await applied(image.content('s1'), image, null, { fromSnap: 's1' }), image.content(null)),
    ).toBeNull();
  });

  test('knows that a shrink took the parent away for good, though no map says so', async () => {
    const image = new ModelImage({ size: 4 * object, parent: { image: parentOf('ABCD'), snap: 'base' } });
    image.snapshot('s1');
    image.resize(1.5 * object);
    image.resize(4 * object);
    image.write(3 * object, Uint8Array.of(1));
    expect(
      difference(await applied(image.content('s1'), image, null, { fromSnap: 's1' }), image.content(null)),
    ).toBeNull();
    image.features = 1;
    expect(
      difference(await applied(image.content('s1'), image, null, { fromSnap: 's1' }), image.content(null)),
    ).toBeNull();
  });
});

describe('any history', () => {
  type Action =
    | { do: 'write' | 'zero'; at: number; length: number; fill: number }
    | { do: 'resize'; size: number }
    | { do: 'snapshot' | 'remove' | 'rollback'; which: number };

  const action: fc.Arbitrary<Action> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record(
        {
          do: fc.constantFrom('write' as const, 'zero' as const),
          at: fc.nat(40_000),
          length: fc.oneof(fc.integer({ min: 1, max: 6000 }), fc.constantFrom(4096, 8192, 16384)),
          fill: fc.nat(3),
        },
        { noNullPrototype: true },
      ),
    },
    {
      weight: 1,
      arbitrary: fc.record({ do: fc.constant('resize' as const), size: fc.nat(40_000) }, { noNullPrototype: true }),
    },
    {
      weight: 3,
      arbitrary: fc.record(
        {
          do: fc.constantFrom('snapshot' as const, 'snapshot' as const, 'remove' as const, 'rollback' as const),
          which: fc.nat(9),
        },
        { noNullPrototype: true },
      ),
    },
  );

  const imageSize = fc.oneof(fc.integer({ min: 10_000, max: 40_000 }), fc.nat(40_000));

  const shape = fc.constantFrom<Partial<ModelOptions>>(
    {},
    { order: 13 },
    { order: 13, stripeUnit: 4096, stripeCount: 3 },
    { order: 12, stripeUnit: 1024, stripeCount: 2 },
  );

  const perform = (image: ModelImage, actions: readonly Action[]): void => {
    let names = 0;
    for (const one of actions) {
      const users = image.snapshots.filter(({ namespace }) => namespace === 'user');
      switch (one.do) {
        case 'write':
        case 'zero': {
          const length = Math.min(one.length, image.head.size - one.at);
          if (length <= 0) break;
          // aligned half of the time: whole objects go
          const at = one.length % 4096 === 0 ? one.at - (one.at % 4096) : one.at;
          if (one.do === 'zero') image.zero(at, length);
          else image.write(at, new Uint8Array(length).fill(one.fill));
          break;
        }
        case 'resize':
          image.resize(one.size);
          break;
        case 'snapshot':
          image.snapshot(`s${names++}`, one.which === 9 ? 'group' : 'user');
          break;
        case 'remove':
        case 'rollback': {
          const name = users[one.which % Math.max(1, users.length)]?.name;
          if (name === undefined) break;
          if (one.do === 'remove') image.removeSnapshot(name);
          else image.rollback(name);
          break;
        }
      }
    }
  };

  /** Every pair of versions, with maps and without, exact and of whole objects, at once and in two ranges. */
  const mistakes = async (image: ModelImage, border: number): Promise<string[]> => {
    const found: string[] = [];
    const names = image.snapshots.filter(({ namespace }) => namespace === 'user').map(({ name }) => name);
    const versions: (string | null)[] = [...names, null];
    for (const [i, to] of versions.entries()) {
      for (const fromSnap of [null, ...names.slice(0, i + 1)]) {
        const base = fromSnap === null ? new Uint8Array() : image.content(fromSnap);
        const expected = image.content(to);
        const check = (how: string, result: Uint8Array) => {
          const what = difference(result, expected);
          if (what !== null) found.push(`${fromSnap} to ${to}, ${how}, features ${image.features}: ${what}`);
        };
        for (const features of [0x3d, 0x1]) {
          image.features = features;
          check('exact', await applied(base, image, to, { fromSnap }));
          check('whole objects', await applied(base, image, to, { fromSnap, wholeObject: true }));
          if (border >= expected.length) continue;
          const left = await applied(base, image, to, { fromSnap, range: { offset: 0, length: border } });
          const range = { offset: border, length: 100_000 };
          check('in two ranges', await applied(left, image, to, { fromSnap, range }));
        }
      }
    }
    return found;
  };

  test('the diff between any two of its versions, applied to the first, gives the second', async () => {
    await fc.assert(
      fc.asyncProperty(
        shape,
        imageSize,
        fc.array(action, { maxLength: 25, size: 'max' }),
        fc.nat(40_000),
        async (...given) => {
          const [options, size, actions, border] = given;
          const image = new ModelImage({ size, ...options });
          perform(image, actions);
          expect(await mistakes(image, border)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });

  test('of a clone, too', async () => {
    await fc.assert(
      fc.asyncProperty(
        shape,
        fc.array(action, { maxLength: 10, size: 'max' }),
        imageSize,
        fc.array(action, { maxLength: 20, size: 'max' }),
        fc.nat(40_000),
        async (options, before, size, actions, border) => {
          const parent = new ModelImage({ size: 30_000 });
          perform(parent, before);
          parent.snapshot('base');
          const image = new ModelImage({ size, ...options, parent: { image: parent, snap: 'base' } });
          perform(image, actions);
          expect(await mistakes(image, border)).toEqual([]);
        },
      ),
      { numRuns: 60 },
    );
  });
});
