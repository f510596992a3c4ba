import { describe, expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { memorySink, type ByteSink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import { openDiff } from '../../src/format/rbd-diff.ts';
import { exportDiff } from '../../src/ops/export-diff.ts';
import { ModelImage } from '../kit/model-image.ts';

const world = (): ModelImage => {
  const image = new ModelImage({ size: 10_000 });
  image.write(0, new Uint8Array(5000).fill(7));
  image.snapshot('a');
  image.write(100, Uint8Array.of(1, 2));
  image.zero(4096, 904);
  image.snapshot('b');
  return image;
};

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1');
const u64 = (value: number): Buffer => {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
};

describe('export-diff', () => {
  test('writes the stream that rbd would, less what did not change', async () => {
    const sink = memorySink();
    const result = await exportDiff(world().open('b'), async () => sink, { fromSnap: 'a' });
    const expected = Buffer.concat([
      bytes('rbd diff v1\nf\x01\0\0\0at\x01\0\0\0bs'),
      u64(10_000),
      bytes('w'),
      u64(100),
      u64(2),
      bytes('\x01\x02'),
      bytes('z'),
      u64(4096),
      u64(904),
      bytes('e'),
    ]);
    expect(sink.bytes().toString('hex')).toBe(expected.toString('hex'));
    expect(result).toEqual({ method: 'maps', records: 2, dataBytes: 2, zeroBytes: 904, streamBytes: expected.length });
  });

  test('says in v2 whether the end snapshot is protected', async () => {
    const sink = memorySink();
    await exportDiff(world().open('b'), async () => sink, { fromSnap: null, version: 2 });
    const stream = await openDiff(new ByteReader(bytesSource(sink.bytes())));
    expect(stream?.header).toEqual({ fromSnap: null, toSnap: 'b', size: 10_000, protected: false });
    const head = memorySink();
    await exportDiff(world().open(null), async () => head, { fromSnap: null, version: 2 });
    expect((await openDiff(new ByteReader(bytesSource(head.bytes()))))?.header.protected).toBeNull();
  });

  test('opens no sink for a request that cannot be met', async () => {
    let opened = 0;
    const openSink = async () => {
      opened += 1;
      return memorySink();
    };
    const request = exportDiff(world().open('a'), openSink, { fromSnap: 'b' });
    await expect(request).rejects.toMatchObject({ code: 'invalid' });
    expect(opened).toBe(0);
  });

  test('asks for room for the longest stream there can be', async () => {
    const image = new ModelImage({ size: 100 * 4096 });
    for (let block = 0; block < 100; block += 2) image.write(block * 4096, new Uint8Array(4096).fill(1));
    let room = 0;
    const sink = memorySink();
    const openSink = async (maxBytes: number) => {
      room = maxBytes;
      return sink;
    };
    const { streamBytes } = await exportDiff(image.open(null), openSink, { fromSnap: null, version: 2 });
    expect(room).toBeGreaterThan(streamBytes);
    expect(room).toBeLessThan(image.head.size * 1.05);
  });

  test('aborts the sink whatever fails, and never finishes it', async () => {
    const calls = ['info', 'objectMap', 'changedExtents', 'read', 'write', 'finish'] as const;
    for (const victim of calls) {
      const image = world();
      const happened: string[] = [];
      const fail = (call: string) => {
        happened.push(call);
        if (call === victim) throw new Error(`${call} fails`);
      };
      const sink: ByteSink = {
        write: async () => fail('write'),
        finish: async () => fail('finish'),
        abort: async () => fail('abort'),
      };
      // the header may be read before and after
      const opened = image.open('b');
      const failing = {
        ...opened,
        info: () => (happened.includes('read') ? Promise.reject(new Error('info fails')) : opened.info()),
      };
      image.before = (call) => {
        if (call !== 'info') fail(call);
      };
      const read = exportDiff(victim === 'info' ? failing : opened, async () => sink, { fromSnap: 'a' });
      await expect(read).rejects.toThrow(`${victim} fails`);
      expect(happened.filter((call) => call === 'abort')).toHaveLength(victim === 'objectMap' ? 0 : 1);
      expect(happened.includes('finish')).toBe(victim === 'finish');
    }
  });

  test('is aborted by its signal', async () => {
    const abort = new AbortController();
    const happened: string[] = [];
    const sink: ByteSink = {
      write: async () => abort.abort(new Error('enough')),
      finish: async () => void happened.push('finish'),
      abort: async () => void happened.push('abort'),
    };
    const options = { fromSnap: 'a', signal: abort.signal };
    await expect(exportDiff(world().open('b'), async () => sink, options)).rejects.toThrow('enough');
    expect(happened).toEqual(['abort']);
  });
});
