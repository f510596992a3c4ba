import { spawnSync } from 'node:child_process';
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ByteReader } from '../../src/bytes/reader.ts';
import { chunkSource } from '../../src/bytes/source.ts';
import { RbdeltaError } from '../../src/error.ts';
import { openFileToWrite } from '../../src/image/file.ts';
import { type ImportDiffOptions, importDiff } from '../../src/ops/import-diff.ts';
import {
  contentOf,
  e,
  f,
  failureOf,
  makeWorld,
  p,
  readerOf,
  runImport,
  s,
  snapshotsOf,
  stateOf,
  t,
  textOf,
  v1,
  v2,
  w,
  type World,
  z,
} from './import-world.ts';

let world: World;
beforeEach(async () => {
  world = await makeWorld();
});
afterEach(() => world.close());

/** An image of 20 bytes that has the snapshot `a`, and is at it. */
const atA = async (content = 'aaaaaaaaaaaaaaaaaaaa') => {
  const image = await world.image('target', content.length, content);
  await image.createSnapshot('a');
  return image;
};

describe('what an import does', () => {
  it('a full, then an increment: bytes, sizes and snapshots are those of the source', async () => {
    const image = await world.image('target', 5);
    const full = await runImport(world, 'target', image, v1(t('a'), s(10), w(0, 'AAAA'), z(4, 2), w(6, 'BB'), e));
    expect(await textOf(image)).toBe('AAAA..BB..');
    expect(full.diffs).toMatchObject([
      { fromSnap: null, toSnap: 'a', size: 10, skipped: false, writtenBytes: 6, zeroedBytes: 2, records: 3 },
    ]);
    await runImport(world, 'target', image, v1(f('a'), t('b'), s(8), w(1, 'xy'), z(6, 1), e));
    expect(await textOf(image)).toBe('AxyA...B');
    expect(await snapshotsOf(image)).toEqual(['a', 'b']);
    const b = await world.openAt('target')('b');
    expect(await textOf(b)).toBe('AxyA...B');
    await b.close();
  });

  it('a diff that ends at the head makes no snapshot', async () => {
    const image = await atA();
    await runImport(world, 'target', image, v1(f('a'), s(20), w(3, 'x'), e));
    expect(await snapshotsOf(image)).toEqual(['a']);
    expect(await textOf(image)).toBe('aaaxaaaaaaaaaaaaaaaa');
  });

  it('zeros at the start, in the middle, at the end, of no round length, are zeros', async () => {
    const size = 3 * 4096 + 123;
    const image = await world.image('target', size, Buffer.alloc(size, 'x'));
    await image.createSnapshot('a');
    await runImport(
      world,
      'target',
      image,
      v1(
        f('a'),
        s(size),
        z(0, 7),
        w(10, Buffer.concat([Buffer.alloc(4096), Buffer.from('y')])),
        z(8195, 13),
        z(size - 5, 5),
        e,
      ),
    );
    const expected = Buffer.alloc(size, 'x').fill(0, 0, 7).fill(0, 10, 4106).fill('y', 4106, 4107);
    expected.fill(0, 8195, 8208).fill(0, size - 5);
    expect((await contentOf(image)).equals(expected)).toBe(true);
  });

  it('runs of zero blocks in a payload, counted from its start, become holes; with 0 all is written', async () => {
    const payload = Buffer.concat([
      Buffer.alloc(8),
      Buffer.from('data'),
      Buffer.alloc(4),
      Buffer.from('more'),
      Buffer.alloc(3),
    ]);
    const seen = async (name: string, sparseBytes: number) => {
      const image = await world.image(name, 100, 'z'.repeat(100));
      await image.createSnapshot('a');
      const calls: string[] = [];
      const watched = {
        ...image,
        write: (offset: number, data: Uint8Array) => {
          calls.push(`w${offset}~${data.length}`);
          return image.write(offset, data);
        },
        writeZeroes: (offset: number, length: number) => {
          calls.push(`z${offset}~${length}`);
          return image.writeZeroes(offset, length);
        },
      };
      await runImport(world, name, watched, v1(f('a'), s(100), w(5, payload), e), { sparseBytes });
      expect((await contentOf(image)).subarray(5, 28).equals(payload)).toBe(true);
      return calls.sort();
    };
    expect(await seen('four', 4)).toEqual(['w13~4', 'w21~4', 'z17~4', 'z25~3', 'z5~8']);
    expect(await seen('none', 0)).toEqual(['w5~23']);
  });

  it('v1 and v2 with a protection record make a protected snapshot', async () => {
    for (const [name, stream] of [
      ['one', v1(t('a'), p(true), s(4), w(0, 'data'), e)],
      ['two', v2(t('a'), p(true), s(4), w(0, 'data'), e)],
    ] as const) {
      const image = await world.image(name, 4);
      await runImport(world, name, image, stream);
      expect((await image.info()).snapshots).toMatchObject([{ name: 'a', protection: 'protected' }]);
      await image.unprotectSnapshot('a');
    }
  });

  it('a snapshot name may have any bytes', async () => {
    const image = await world.image('target', 4);
    const name = Buffer.from([0x61, 0x40, 0x2f, 0xff, 0xfe, 0x0a, 0xc3, 0x28, 0x20]);
    await runImport(world, 'target', image, v1(t(name), s(4), w(0, 'data'), e));
    await runImport(world, 'target', image, v1(f(name), t('b'), s(4), w(0, 'D'), e));
    expect((await snapshotsOf(image)).length).toBe(2);
    expect(await textOf(image)).toBe('Data');
  });

  it('records of old striped exporters, unsorted within a period, are applied', async () => {
    const image = await world.image('target', 16);
    await runImport(world, 'target', image, v1(t('a'), s(16), w(8, 'cc'), w(0, 'aa'), z(12, 2), w(4, 'bb'), e));
    expect(await textOf(image)).toBe('aa..bb..cc......');
  });

  it('whatever the records, the image has the bytes that a plain array would have', async () => {
    const record = fc.record({ offset: fc.nat(9000), length: fc.integer({ min: 1, max: 6000 }), fill: fc.nat(2) });
    const size = 16000;
    let number = 0;
    await fc.assert(
      fc.asyncProperty(fc.array(record, { maxLength: 6 }), fc.nat(20000), async (records, newSize) => {
        number += 1;
        const name = `target-${number}`;
        const before = Buffer.alloc(size, 'x').fill(0, 3000, 8000);
        const image = await world.image(name, size, before);
        await image.createSnapshot('a');
        const expected = Buffer.alloc(newSize);
        before.copy(expected);
        const stream: Buffer[] = [];
        let end = 0;
        for (const { offset, length, fill } of records.toSorted((a, b) => a.offset - b.offset)) {
          const start = Math.max(end, offset);
          const stop = Math.min(newSize, start + length);
          if (stop <= start) continue;
          end = stop;
          stream.push(fill === 2 ? z(start, stop - start) : w(start, Buffer.alloc(stop - start, fill)));
          expected.fill(fill === 2 ? 0 : fill, start, stop);
        }
        await runImport(world, name, image, v1(f('a'), s(newSize), ...stream, e));
        expect((await contentOf(image)).equals(expected)).toBe(true);
      }),
      { numRuns: 25 },
    );
  });
});

describe('what is refused before the first write', () => {
  it('an end snapshot that exists is status 17 and changes nothing; with skip-existing it is no failure', async () => {
    const image = await world.image('target', 4);
    const stream = v1(t('a'), s(4), w(0, 'data'), e);
    await runImport(world, 'target', image, stream);
    const before = await stateOf(image);
    const failure = await failureOf(runImport(world, 'target', image, stream));
    expect(failure.code).toBe('exists');
    expect(failure.message).toContain('nothing was changed');
    const notices: string[] = [];
    const again = await runImport(world, 'target', image, stream, {
      skipExisting: true,
      onNotice: (text) => notices.push(text),
    });
    expect(again.diffs).toMatchObject([{ skipped: true, writtenBytes: 0, records: 1 }]);
    expect(notices).toEqual(['the end snapshot "a" exists already in the image: the diff is skipped']);
    expect(await stateOf(image)).toBe(before);
  });

  it('a diff that is skipped is still read to its end: a damaged one is refused', async () => {
    const image = await atA();
    const cut = v1(t('a'), s(20), w(0, 'data'));
    expect(await failureOf(runImport(world, 'target', image, cut, { skipExisting: true }))).toMatchObject({
      code: 'corrupt',
    });
  });

  it('an end snapshot of another size is another snapshot, and never skipped', async () => {
    const image = await atA();
    const failure = await failureOf(runImport(world, 'target', image, v1(t('a'), s(21), e), { skipExisting: true }));
    expect(failure.code).toBe('exists');
    expect(failure.message).toContain('has 20 bytes where the diff says 21');
  });

  it('a base that does not exist is status 22, and the hint names the snapshots there are', async () => {
    const image = await atA();
    const failure = await failureOf(runImport(world, 'target', image, v1(f('b'), t('c'), s(20), e)));
    expect(failure.code).toBe('invalid');
    expect(failure.hint).toContain('"a"');
    const forced = await failureOf(runImport(world, 'target', image, v1(f('b'), t('c'), s(20), e), { force: true }));
    expect(forced.code).toBe('invalid');
  });

  it('a HEAD that was written since the base is refused, and the first difference is named', async () => {
    const image = await atA();
    await image.write(13, Buffer.from('x'));
    const before = await stateOf(image);
    const failure = await failureOf(runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(0, 'b'), e)));
    expect(failure.code).toBe('diverged');
    expect(failure.message).toContain('byte 13 was changed since "a"');
    expect(failure.hint).toContain('--rollback');
    expect(failure.hint).toContain('--force');
    expect(await stateOf(image)).toBe(before);
  });

  it('a HEAD that was resized since the base is refused', async () => {
    const image = await atA();
    await image.resize(30);
    const failure = await failureOf(runImport(world, 'target', image, v1(f('a'), s(20), e)));
    expect(failure).toMatchObject({ code: 'diverged' });
    expect(failure.message).toContain('it has 30 bytes, 20 at "a"');
  });

  it('a HEAD whose bytes were written again as they were is the base', async () => {
    const image = await atA();
    await image.write(4, Buffer.from('aaaa'));
    await runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(0, 'b'), e));
    expect(await textOf(image)).toBe('baaaaaaaaaaaaaaaaaaa');
  });

  it('rollback puts a HEAD that was written and resized back to its base first', async () => {
    const image = await atA();
    await image.resize(40);
    await image.write(4, Buffer.from('xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx'));
    const { diffs } = await runImport(world, 'target', image, v1(f('a'), t('b'), s(22), w(0, 'b'), e), {
      rollback: true,
    });
    expect(diffs).toMatchObject([{ plan: { rollback: true } }]);
    expect(await textOf(image)).toBe('baaaaaaaaaaaaaaaaaaa..');
  });

  it('force applies to whatever HEAD is, overlapping records in their order, as rbd does', async () => {
    const image = await atA();
    await image.write(13, Buffer.from('x'));
    await runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(4, 'bbbb'), w(2, 'ccc'), z(5, 1), e), {
      force: true,
    });
    expect(await textOf(image)).toBe('aaccc.bbaaaaaxaaaaaa');
  });

  it('rollback with force puts HEAD back first, and applies the records as they are given', async () => {
    const image = await atA();
    await image.write(13, Buffer.from('x'));
    await image.resize(40);
    const stream = v1(f('a'), t('b'), s(20), w(4, 'bbbb'), w(2, 'ccc'), z(5, 1), e);
    const before = { rollback: true, force: true };
    const failure = await failureOf(runImport(world, 'target', image, stream.subarray(0, -1), before));
    expect(failure.message).toContain('the image is at its start snapshot "a" again');
    expect(await textOf(image)).toBe('aaaaaaaaaaaaaaaaaaaa');
    await image.write(13, Buffer.from('x'));
    const { diffs } = await runImport(world, 'target', image, stream, before);
    expect(diffs).toMatchObject([{ plan: { rollback: true, asGiven: true } }]);
    expect(await textOf(image)).toBe('aaccc.bbaaaaaaaaaaaa');
  });

  it('a full onto an image that holds data is refused; overwrite also clears what the stream leaves out', async () => {
    const size = 5 * 4096;
    const image = await world.image('target', size, Buffer.alloc(size, 'x'));
    const stream = v1(t('a'), s(size - 100), w(4096, 'data'), w(10_000, 'more'), e);
    const before = await stateOf(image);
    const failure = await failureOf(runImport(world, 'target', image, stream));
    expect(failure.code).toBe('diverged');
    expect(failure.message).toContain('byte 0 is not zero');
    expect(failure.hint).toContain('--overwrite');
    expect(await stateOf(image)).toBe(before);
    await runImport(world, 'target', image, stream, { overwrite: true });
    const expected = Buffer.alloc(size - 100);
    expected.write('data', 4096);
    expected.write('more', 10_000);
    expect((await contentOf(image)).equals(expected)).toBe(true);
  });

  it('overwrite of records in any order clears exactly what none covers', async () => {
    const image = await world.image('target', 16, 'xxxxxxxxxxxxxxxx');
    await runImport(world, 'target', image, v1(t('a'), s(20), w(8, 'cc'), w(0, 'aa'), e), { overwrite: true });
    expect(await textOf(image)).toBe('aa......cc..........');
  });

  it('a full onto an image that has only ever been written zeros is fine', async () => {
    const image = await world.image('target', 16, Buffer.alloc(16));
    await runImport(world, 'target', image, v1(t('a'), s(16), w(8, 'cc'), e));
    expect(await textOf(image)).toBe('........cc......');
  });

  it('a diff that does not say the size is refused; with force it is applied at the size there is', async () => {
    const image = await atA();
    expect(await failureOf(runImport(world, 'target', image, v1(f('a'), w(0, 'b'), e)))).toMatchObject({
      code: 'corrupt',
    });
    expect(
      await failureOf(runImport(world, 'target', image, v1(f('a'), w(19, 'bb'), e), { force: true })),
    ).toMatchObject({ code: 'corrupt' });
    await image.rollback('a');
    await runImport(world, 'target', image, v1(f('a'), w(0, 'b'), e), { force: true });
    expect(await textOf(image)).toBe('baaaaaaaaaaaaaaaaaaa');
  });

  it('an input that is empty, or no diff at all, is refused and changes nothing', async () => {
    const image = await atA();
    const before = await stateOf(image);
    expect(await failureOf(runImport(world, 'target', image, Buffer.alloc(0)))).toMatchObject({ code: 'corrupt' });
    expect(await failureOf(runImport(world, 'target', image, Buffer.alloc(4096)))).toMatchObject({ code: 'invalid' });
    expect(await stateOf(image)).toBe(before);
  });
});

describe('a stream that is damaged', () => {
  const good = [f('a'), t('b'), s(30), w(0, 'bbbb'), z(6, 4), w(22, 'cccccc'), e];

  it('every proper prefix is refused, and the image is at its base', async () => {
    const image = await atA();
    const before = await stateOf(image);
    const whole = v1(...good);
    for (let length = 0; length < whole.length; length += 1) {
      const failure = await failureOf(runImport(world, 'target', image, whole.subarray(0, length)));
      expect(failure.code, `cut at ${length}`).toBe('corrupt');
      expect(await stateOf(image), `cut at ${length}`).toBe(before);
    }
    await runImport(world, 'target', image, whole);
    expect(await textOf(image)).toBe('bbbbaa....aaaaaaaaaa..cccccc..');
  });

  it.each([
    ['an unknown tag', [f('a'), t('b'), s(20), w(0, 'b'), Buffer.from('q'), e]],
    ['a record past the end', [f('a'), t('b'), s(20), w(0, 'b'), w(18, 'bbb'), e]],
    ['overlapping records', [f('a'), t('b'), s(20), w(0, 'bbbb'), w(3, 'bb'), e]],
    ['an overlap of records in descending order', [f('a'), t('b'), s(20), w(5, 'bbbb'), z(0, 6), e]],
    ['metadata after the first record', [f('a'), t('b'), s(20), w(0, 'b'), s(5), e]],
    ['a length that nothing could hold', [f('a'), t('b'), s(20), w(0, 'b'), w(8, 'b').fill(0xff, 9, 15), e]],
    ['bytes after the end record', [f('a'), t('b'), s(20), w(0, 'b'), e, Buffer.from('x')]],
    [
      'bytes that begin like a banner after the end record',
      [f('a'), t('b'), s(20), w(0, 'b'), e, Buffer.from('rbd d')],
    ],
    [
      'a banner of another version after the end record',
      [f('a'), t('b'), s(20), w(0, 'b'), e, Buffer.from('rbd diff v3\n')],
    ],
  ])('%s: refused as corrupt, the image is at its base, nothing is left', async (_, records) => {
    const image = await atA();
    const before = await stateOf(image);
    const failure = await failureOf(runImport(world, 'target', image, v1(...records)));
    expect(failure.code).toBe('corrupt');
    expect(await stateOf(image)).toBe(before);
    await runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(0, 'b'), e));
  });

  it('whatever bytes of a stream are changed, it is applied or refused in one sentence, and then nothing is changed', async () => {
    const image = await atA();
    const before = await stateOf(image);
    const whole = v1(...good);
    const change = fc.record({ at: fc.nat(whole.length - 1), byte: fc.nat(255), drop: fc.nat(3) });
    const codes = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(change, { minLength: 1, maxLength: 3 }), async (changes) => {
        let bytes = Buffer.from(whole);
        for (const { at, byte, drop } of changes) {
          bytes[at % bytes.length] = byte;
          if (drop === 0) bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
        }
        const failure = await runImport(world, 'target', image, bytes).then(
          () => null,
          (error: unknown) => error,
        );
        if (failure === null) {
          await image.rollback('a');
          for (const name of await snapshotsOf(image)) if (name !== 'a') await image.removeSnapshot(name);
        } else codes.add(failure instanceof RbdeltaError ? failure.code : 'a bug');
        expect(await stateOf(image)).toBe(before);
      }),
      { numRuns: 100 },
    );
    const known = ['corrupt', 'invalid', 'exists', 'tooLarge', 'unsupported', 'noSpace'];
    expect([...codes].filter((code) => !known.includes(code))).toEqual([]);
  });

  it('with two sizes the last one counts, and nothing is cut in between', async () => {
    const image = await atA();
    await runImport(world, 'target', image, v1(f('a'), s(2), s(20), w(0, 'b'), e));
    expect(await textOf(image)).toBe('baaaaaaaaaaaaaaaaaaa');
  });

  it('a source that dies inside a record, or just before the end record, leaves the image as it was', async () => {
    const image = await atA();
    const before = await stateOf(image);
    const whole = v1(...good);
    for (const cut of [whole.length - 1, whole.length - 4]) {
      async function* dying() {
        yield whole.subarray(0, cut);
        throw new Error('the producer died');
      }
      const reader = new ByteReader(chunkSource(dying()));
      await expect(importDiff(image, (snap) => world.openAt('target')(snap), reader)).rejects.toThrow(
        /died.*start snapshot "a" again/,
      );
      expect(await stateOf(image)).toBe(before);
    }
  });

  it('a full that breaks off leaves the image empty, at its old size', async () => {
    const image = await world.image('target', 7);
    const failure = await failureOf(runImport(world, 'target', image, v1(t('a'), s(10), w(0, 'AAAA'))));
    expect(failure.message).toContain('the image is empty again');
    expect(await textOf(image)).toBe('.......');
  });

  it('an overwrite that breaks off cannot be undone, and says so', async () => {
    const image = await world.image('target', 8, 'xxxxxxxx');
    const failure = await failureOf(
      runImport(world, 'target', image, v1(t('a'), s(8), w(0, 'AA')), { overwrite: true }),
    );
    expect(failure.code).toBe('corrupt');
    expect(failure.message).toContain('mixture');
    expect(failure.hint).toContain('--overwrite');
    await runImport(world, 'target', image, v1(t('a'), s(8), w(0, 'AA'), e), { overwrite: true });
    expect(await textOf(image)).toBe('AA......');
  });

  it('a forced import that breaks off says how to get back', async () => {
    const image = await atA();
    await image.write(13, Buffer.from('x'));
    const failure = await failureOf(
      runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(0, 'bb')), { force: true }),
    );
    expect(failure.message).toContain('"a" with a part of the diff applied');
    expect(failure.hint).toContain('--rollback');
    await runImport(world, 'target', image, v1(f('a'), t('b'), s(20), w(0, 'bb'), e), { rollback: true });
    expect(await textOf(image)).toBe('bbaaaaaaaaaaaaaaaaaa');
  });
});

describe('a chain on one input', () => {
  const first = v1(t('a'), s(4), w(0, 'AAAA'), e);
  const second = v1(f('a'), t('b'), s(6), w(4, 'BB'), e);
  const third = v2(f('b'), t('c'), s(6), z(0, 1), e);

  it('each diff is applied in turn, v1 and v2', async () => {
    const image = await world.image('target', 4);
    const { diffs } = await runImport(world, 'target', image, Buffer.concat([first, second, third]));
    expect(diffs.map(({ toSnap }) => toSnap)).toEqual(['a', 'b', 'c']);
    expect(await textOf(image)).toBe('.AAABB');
    expect(await snapshotsOf(image)).toEqual(['a', 'b', 'c']);
  });

  it('what is there already is skipped, and the chain goes on from there', async () => {
    const image = await world.image('target', 4);
    await runImport(world, 'target', image, Buffer.concat([first, second]));
    const chain = Buffer.concat([first, second, third]);
    expect(await failureOf(runImport(world, 'target', image, chain))).toMatchObject({ code: 'exists' });
    const { diffs } = await runImport(world, 'target', image, chain, { skipExisting: true });
    expect(diffs.map(({ skipped }) => skipped)).toEqual([true, true, false]);
    expect(await textOf(image)).toBe('.AAABB');
  });

  it('a failure in a later diff leaves the ones before it applied, and says which', async () => {
    const image = await world.image('target', 4);
    const failure = await failureOf(
      runImport(world, 'target', image, Buffer.concat([first, second, third.subarray(0, -1)])),
    );
    expect(failure.code).toBe('corrupt');
    expect(failure.message).toContain('the image is at its start snapshot "b" again');
    expect(failure.message).toContain('the 2 diffs before it in the chain stay applied and the image has "b"');
    expect(await snapshotsOf(image)).toEqual(['a', 'b']);
    expect(await textOf(image)).toBe('AAAABB');
  });

  it('a diff that does not follow from the one before it is refused', async () => {
    const image = await world.image('target', 4);
    const failure = await failureOf(runImport(world, 'target', image, Buffer.concat([first, first])));
    expect(failure.code).toBe('exists');
    expect(await textOf(image)).toBe('AAAA');
    const wrong = v1(t('z'), s(4), w(0, 'ZZZZ'), e);
    expect(await failureOf(runImport(world, 'target', image, Buffer.concat([second, wrong])))).toMatchObject({
      code: 'diverged',
    });
    expect(await snapshotsOf(image)).toEqual(['a', 'b']);
  });
});

describe('a dry run', () => {
  it('checks everything, says what would be done, and writes nothing', async () => {
    const image = await world.image('target', 4);
    const before = await stateOf(image);
    const chain = Buffer.concat([v1(t('a'), s(4), w(0, 'AAAA'), e), v1(f('a'), t('b'), p(true), s(6), z(0, 2), e)]);
    const { diffs } = await runImport(world, 'target', image, chain, { dryRun: true });
    expect(diffs).toMatchObject([
      { toSnap: 'a', records: 1, writtenBytes: 4, plan: { oldSize: 4, size: 4, undo: 'empty', createSnapshot: true } },
      { toSnap: 'b', records: 1, zeroedBytes: 2, plan: { oldSize: 4, size: 6, undo: 'rollback', protect: true } },
    ]);
    expect(await stateOf(image)).toBe(before);
    expect(await failureOf(runImport(world, 'target', image, chain.subarray(0, -1), { dryRun: true }))).toMatchObject({
      code: 'corrupt',
    });
  });

  it('finds a chain that does not fit together', async () => {
    const image = await world.image('target', 4);
    const chain = Buffer.concat([v1(t('a'), s(4), w(0, 'AAAA'), e), v1(t('b'), s(6), w(0, 'B'), e)]);
    expect(await failureOf(runImport(world, 'target', image, chain, { dryRun: true }))).toMatchObject({
      code: 'diverged',
    });
  });
});

describe('a file as the target', () => {
  let dir: string;
  beforeEach(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rbdelta-import-file-'));
  });
  afterEach(() => rm(dir, { recursive: true }));

  const noSnapshots = (snap: string): Promise<never> => Promise.reject(new Error(`a file has no snapshot ${snap}`));
  const into = async (path: string, stream: Buffer, options: ImportDiffOptions = {}) => {
    const image = await openFileToWrite(path);
    try {
      return await importDiff(image, noSnapshots, readerOf(stream), options);
    } finally {
      await image.close();
    }
  };

  it('a full makes a file as long as the image, sparse, without a snapshot, and has nothing to say', async () => {
    const path = join(dir, 'image');
    const notices: string[] = [];
    const size = 8 << 20;
    const stream = v1(t('a'), s(size), w(5, 'data'), z(100, 5 << 20), e);
    await into(path, stream, { onNotice: (text) => notices.push(text) });
    const expected = Buffer.alloc(size);
    expected.write('data', 5);
    expect((await readFile(path)).equals(expected)).toBe(true);
    expect((await stat(path)).blocks * 512).toBeLessThan(1 << 20);
    expect(notices).toEqual([]);
  });

  const chain = [
    v1(t('a'), s(4), w(0, 'AAAA'), e),
    v1(f('a'), t('b'), s(6), w(3, 'BB'), e),
    v2(f('b'), t('c'), s(6), z(0, 1), e),
  ];

  it('a chain on one input: each diff that starts where the one before it ended needs no force', async () => {
    const path = join(dir, 'image');
    const whole = Buffer.concat(chain);
    const { diffs } = await into(path, whole, { dryRun: true });
    expect(diffs.map(({ plan }) => plan.size)).toEqual([4, 6, 6]);
    expect(await readFile(path, 'latin1')).toBe('');
    await into(path, whole);
    expect(await readFile(path, 'latin1')).toBe('\0AABB\0');
    await into(path, whole, { overwrite: true });
    expect(await readFile(path, 'latin1')).toBe('\0AABB\0');
  });

  it('a diff that does not follow the one before it is refused; what is applied stays', async () => {
    const path = join(dir, 'image');
    const [full, toB] = chain as [Buffer, Buffer];
    const other = v1(f('a'), t('x'), s(4), w(0, 'X'), e);
    for (const dryRun of [true, false]) {
      const failure = await failureOf(into(path, Buffer.concat([full, toB, other]), { dryRun, name: 'file:image' }));
      expect(failure).toMatchObject({ code: 'diverged' });
      expect(failure.message).toMatch(
        /^"file:image" is not at the start snapshot "a": the diff before it in the chain ends at "b"/,
      );
      expect(failure.hint).toContain('--force');
      expect(await readFile(path, 'latin1')).toBe(dryRun ? '' : 'AAABB\0');
    }
    // An end without a name is no snapshot that a diff could start from.
    const nameless = v1(s(4), w(0, 'AAAA'), e);
    const failure = await failureOf(into(path, Buffer.concat([nameless, toB]), { overwrite: true }));
    expect(failure).toMatchObject({ code: 'unsupported' });
  });

  it('a later diff of a chain that fails: what is applied, and how to go on', async () => {
    const path = join(dir, 'image');
    const [full, toB, toC] = chain as [Buffer, Buffer, Buffer];
    const name = 'file:image';
    const cut = await failureOf(into(path, Buffer.concat([full, toB, toC.subarray(0, -1)]), { name }));
    expect(cut.message).toMatch(
      /; "file:image" holds "b" with a part of the diff applied; the first 2 diffs of the stream stay applied to "file:image", up to "b"$/,
    );
    expect(cut.hint).toBe(
      'it was cut off: make it again, or fetch it again; then import all of it again with --overwrite',
    );
    await into(path, Buffer.concat(chain), { overwrite: true });
    expect(await readFile(path, 'latin1')).toBe('\0AABB\0');
    const wrong = await failureOf(into(path, Buffer.concat([full, toC]), { name, overwrite: true }));
    expect(wrong.message).toMatch(
      /ends at "a"; the first diff of the stream stays applied to "file:image", up to "a"$/,
    );
    expect(await readFile(path, 'latin1')).toBe('AAAA');
  });

  it('what was made for the import is the business of the caller until a diff is applied', async () => {
    const path = join(dir, 'image');
    const [full, toB] = chain as [Buffer, Buffer];
    let applied = 0;
    const options: ImportDiffOptions = { name: 'file:image', isNew: true, onApplied: () => (applied += 1) };
    for (const force of [false, true]) {
      const first = await failureOf(into(path, full.subarray(0, -1), { ...options, force }));
      expect(first.message).toMatch(/; "file:image" is removed again$/);
    }
    expect((await failureOf(into(path, Buffer.from('rbd'), options))).message).toMatch(/; nothing was changed$/);
    await into(path, full, { ...options, dryRun: true, overwrite: true });
    expect(applied).toBe(0);
    await failureOf(into(path, Buffer.concat([full, toB.subarray(0, -1)]), { ...options, overwrite: true }));
    expect(applied).toBe(1);
  });

  it('an increment needs force, since there is no base to compare with', async () => {
    const path = join(dir, 'image');
    await writeFile(path, 'aaaa');
    const stream = v1(f('a'), t('b'), s(6), w(2, 'bb'), e);
    expect(await failureOf(into(path, stream))).toMatchObject({ code: 'unsupported' });
    expect(await readFile(path, 'utf8')).toBe('aaaa');
    await into(path, stream, { force: true });
    expect(await readFile(path, 'latin1')).toBe('aabb\0\0');
  });

  it('a full onto a file that holds data needs overwrite, which clears the rest', async () => {
    const path = join(dir, 'image');
    await writeFile(path, 'aaaaaaaa');
    const stream = v1(t('b'), s(6), w(2, 'bb'), e);
    expect(await failureOf(into(path, stream))).toMatchObject({ code: 'diverged' });
    await into(path, stream, { overwrite: true });
    expect(await readFile(path, 'latin1')).toBe('\0\0bb\0\0');
  });

  it('a file system that is full: refused, and the space is free again', async (test) => {
    if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=2m', 'none', dir]).status !== 0) return test.skip();
    try {
      const path = join(dir, 'image');
      const stream = v1(t('b'), s(4 << 20), w(0, Buffer.alloc(4 << 20, 'x')), e);
      expect(await failureOf(into(path, stream))).toMatchObject({ code: 'noSpace' });
      expect(await readFile(path)).toEqual(Buffer.alloc(0));
    } finally {
      spawnSync('umount', [dir]);
    }
  });

  it('a full that breaks off leaves the file as empty as it was', async () => {
    const path = join(dir, 'image');
    await writeFile(path, Buffer.alloc(4));
    expect(await failureOf(into(path, v1(t('b'), s(6), w(2, 'bb'))))).toMatchObject({ code: 'corrupt' });
    expect(await readFile(path, 'latin1')).toBe('\0\0\0\0');
  });
});
