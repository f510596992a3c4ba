import { describe, expect, test } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { memorySink } from '../../src/bytes/sink.ts';
import { bytesSource } from '../../src/bytes/source.ts';
import type { DiffRecord } from '../../src/format/rbd-diff.ts';
import { openDiff } from '../../src/format/rbd-diff.ts';
import { exportDiff } from '../../src/ops/export-diff.ts';
import { mergeDiff } from '../../src/ops/merge-diff.ts';
import { ModelImage } from '../kit/model-image.ts';

/** An image with a snapshot for each picture of objects: letters are written, `.` is cut out, ` ` stays. */
const history = (...pictures: string[]): ModelImage => {
  const image = new ModelImage({ size: 0 });
  for (const [i, picture] of pictures.entries()) {
    image.resize(picture.length * 4096);
    for (const [no, letter] of picture.split('').entries()) {
      if (letter === '.') image.zero(no * 4096, 4096);
      else if (letter !== ' ') image.write(no * 4096, new Uint8Array(4096).fill(letter.charCodeAt(0)));
    }
    image.snapshot(`s${i}`);
  }
  return image;
};

const diffOf = async (image: ModelImage, from: string | null, to: string, version: 1 | 2 = 1): Promise<Buffer> => {
  const sink = memorySink();
  await exportDiff(image.open(to), async () => sink, { fromSnap: from, version });
  return sink.bytes();
};

const inputsOf = (...streams: Buffer[]) => {
  const closed: number[] = [];
  const inputs = streams.map((bytes, i) => ({
    name: `${i}.diff`,
    open: async () => {
      const source = bytesSource(bytes);
      return { read: source.read.bind(source), close: async () => void closed.push(i) };
    },
  }));
  return { inputs, closed };
};

const told = async (bytes: Buffer): Promise<string> => {
  const stream = await openDiff(new ByteReader(bytesSource(bytes)));
  if (stream === null) throw new Error('empty');
  const picture = Array.from({ length: (stream.header.size ?? 0) / 4096 }, () => ' ');
  for await (const record of stream.records as AsyncIterable<DiffRecord>) {
    const length = record.kind === 'write' ? record.data.length : record.length;
    const letter = record.kind === 'write' ? String.fromCharCode(record.data[0] ?? 0) : '.';
    picture.fill(letter, record.offset / 4096, (record.offset + length) / 4096);
  }
  return `${stream.header.fromSnap}>${stream.header.toSnap} ${picture.join('')}`;
};

describe('merge-diff', () => {
  test('makes one of many, and closes all', async () => {
    const image = history('ABCD', ' X. ', 'Z', '    Q', ' . ');
    const streams = [];
    for (let i = 0; i < 5; i++) streams.push(await diffOf(image, i === 0 ? null : `s${i - 1}`, `s${i}`));
    const { inputs, closed } = inputsOf(...streams);
    const sink = memorySink();
    const progress: number[] = [];
    const onProgress = ({ doneBytes }: { doneBytes: number }) => void progress.push(doneBytes);
    const result = await mergeDiff(inputs, async () => sink, { onProgress });
    expect(await told(sink.bytes())).toBe('null>s4 Z..');
    expect(result).toMatchObject({ records: 2, dataBytes: 4096, zeroBytes: 8192, streamBytes: sink.bytes().length });
    expect(closed).toEqual([0, 1, 2, 3, 4]);
    expect(progress.at(-1)).toBe(3 * 4096);
  });

  test('takes v1 and v2 in any mixture, and writes what it is asked for', async () => {
    const image = history('AB', ' X');
    const first = await diffOf(image, null, 's0', 2);
    const { inputs } = inputsOf(first, await diffOf(image, 's0', 's1'));
    const sink = memorySink();
    await mergeDiff(inputs, async () => sink, { version: 2 });
    expect(sink.bytes().subarray(0, 12).toString()).toBe('rbd diff v2\n');
    expect(await told(sink.bytes())).toBe('null>s1 AX');
  });

  test('version 1 says nothing of protection, which rbd would refuse; version 2 does', async () => {
    const protect = Buffer.concat([Buffer.from('p'), Buffer.from('010000000000000001', 'hex')]);
    const size = Buffer.concat([Buffer.from('s'), Buffer.from('08000000000000000010000000000000', 'hex')]);
    const stream = Buffer.concat([Buffer.from('rbd diff v2\n'), protect, size, Buffer.from('e')]);
    for (const [version, expected] of [
      [1, null],
      [2, true],
    ] as const) {
      const sink = memorySink();
      await mergeDiff(inputsOf(stream).inputs, async () => sink, { version });
      const merged = await openDiff(new ByteReader(bytesSource(sink.bytes())));
      expect(merged?.header).toMatchObject({ size: 4096, protected: expected });
    }
  });

  test('opens no sink when the inputs do not follow each other, and closes them', async () => {
    const image = history('AB', ' X', 'Y ');
    const { inputs, closed } = inputsOf(await diffOf(image, null, 's0'), await diffOf(image, 's1', 's2'));
    let opened = 0;
    const openSink = async () => {
      opened += 1;
      return memorySink();
    };
    await expect(mergeDiff(inputs, openSink)).rejects.toMatchObject({
      code: 'invalid',
      message: '"0.diff" ends at snapshot "s0", but "1.diff" starts at snapshot "s1"',
    });
    const empty = inputsOf(Buffer.alloc(0)).inputs;
    await expect(mergeDiff(empty, openSink)).rejects.toMatchObject({ code: 'corrupt' });
    expect([opened, closed]).toEqual([0, [0, 1]]);
  });

  test('leaves nothing behind for any input that is cut off, or that goes on', async () => {
    const image = history('AB', ' X');
    const [first, second] = [await diffOf(image, null, 's0'), await diffOf(image, 's0', 's1')];
    const attempt = async (...streams: Buffer[]) => {
      const sink = memorySink();
      let [aborted, finished] = [0, 0];
      const watched = {
        write: (chunks: readonly Uint8Array[]) => sink.write(chunks),
        finish: async () => void (finished += 1),
        abort: async () => void (aborted += 1),
      };
      const error: unknown = await mergeDiff(inputsOf(...streams).inputs, async () => watched).catch((e: unknown) => e);
      return { error, aborted, finished };
    };
    for (let length = first.length - 1; length > 36; length -= 97) {
      const { error, aborted, finished } = await attempt(first.subarray(0, length), second);
      expect(error).toMatchObject({ code: 'corrupt' });
      expect([aborted, finished]).toEqual([1, 0]);
    }
    const goesOn = await attempt(Buffer.concat([first, second]), second);
    expect(goesOn).toMatchObject({ error: { code: 'invalid' }, aborted: 1, finished: 0 });
  });

  test('says which input is damaged, once', async () => {
    const image = history('AB', ' X', 'Y ');
    const streams = [
      await diffOf(image, null, 's0'),
      await diffOf(image, 's0', 's1'),
      await diffOf(image, 's1', 's2'),
    ] as const;
    const merge = (...inputs: Buffer[]) => mergeDiff(inputsOf(...inputs).inputs, async () => memorySink());
    const cut = merge(streams[0], streams[1].subarray(0, 100), streams[2]);
    await expect(cut).rejects.toMatchObject({
      message: expect.stringMatching(/^"1\.diff": the stream ends at byte 100 /),
    });
    const none = merge(streams[0], streams[1], Buffer.alloc(5000));
    await expect(none).rejects.toMatchObject({
      code: 'invalid',
      message: '"2.diff": the input is not an rbd diff stream: it starts with zeros, as a raw image may',
    });
    await expect(merge(streams[0], Buffer.alloc(0))).rejects.toMatchObject({
      message: '"1.diff": it is empty, and should be an rbd diff',
    });
  });

  test('an input of several diffs is said to be one, not to end at the wrong snapshot', async () => {
    const image = history('AB', ' X', 'Y ', ' Z');
    const full = await diffOf(image, null, 's0');
    const chain = Buffer.concat([full, await diffOf(image, 's0', 's1'), await diffOf(image, 's1', 's2')]);
    const last = await diffOf(image, 's2', 's3');
    const goesOn = {
      code: 'invalid',
      message: `"0.diff": another diff follows at byte ${full.length}: a merge takes one diff of each input`,
      hint: expect.stringContaining('import-diff'),
    };
    await expect(mergeDiff(inputsOf(chain, last).inputs, async () => memorySink())).rejects.toMatchObject(goesOn);
    await expect(mergeDiff(inputsOf(chain).inputs, async () => memorySink())).rejects.toMatchObject(goesOn);
    const rubbish = Buffer.concat([full, Buffer.from('rubbish')]);
    await expect(mergeDiff(inputsOf(rubbish).inputs, async () => memorySink())).rejects.toMatchObject({
      code: 'corrupt',
      message: expect.stringContaining(`"0.diff": what follows at byte ${full.length} is not an rbd diff stream`),
    });
  });

  test('a stream of an old exporter of striped images is refused, with what to do', async () => {
    const record = (offset: number) => {
      const bytes = Buffer.alloc(17, 'z');
      bytes.writeBigUInt64LE(BigInt(offset), 1);
      bytes.writeBigUInt64LE(4096n, 9);
      return bytes;
    };
    const size = Buffer.from('730000010000000000', 'hex');
    const falling = Buffer.concat([Buffer.from('rbd diff v1\n'), size, record(8192), record(0), Buffer.from('e')]);
    await expect(mergeDiff(inputsOf(falling).inputs, async () => memorySink())).rejects.toMatchObject({
      code: 'unsupported',
      message: '"0.diff" is not in rising order: 0~4096 comes after 12288',
      hint: expect.stringContaining('import-diff'),
    });
  });
});
