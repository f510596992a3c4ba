// rbdelta beside the real rbd: through pipes, in whole exports, in merged diffs; on Ceph.

import { mkdtemp, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, pipe, rbd, rbdeltaOk, rbdeltaProgram, run, start, succeed } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget, histories, MiB } from './histories.ts';

const ours = [process.execPath, rbdeltaProgram];
const bytesOf = (spec: string): Promise<string> => digestOf('rbd', ['export', '--no-progress', spec, '-']);

describe.skipIf(process.env['RBDELTA_TEST_CEPH'] !== '1')('beside rbd', () => {
  let writer: RbdWriter;
  let folder: string;
  const image = 'it-beside';
  const source = `volumes/${image}`;
  const made = [image];
  const truth = { s1: '', mid: '', s2: '', head: '' };

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-interop-'));
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
    await forget(writer, { image });
    await histories.find((history) => history.name === 'shrunk')?.make(writer, image);
    await writer.close(image);
    await rbd(['image-meta', 'set', source, 'conf_rbd_cache', 'false']);
    await rbd(['image-meta', 'set', source, 'owner', 'the tests']);
    await rbd(['snap', 'protect', `${source}@mid`]);
    for (const snap of ['s1', 'mid', 's2'] as const) truth[snap] = await bytesOf(`${source}@${snap}`);
    truth.head = await bytesOf(source);
  });

  afterAll(async () => {
    for (const name of made) await forget(writer, { image: name });
    await writer.end();
    await rm(folder, { recursive: true });
  });

  const target = async (name: string, create = true): Promise<string> => {
    await forget(writer, { image: name });
    made.push(name);
    if (create) await writer.create(name, { size: MiB });
    return `volumes/${name}`;
  };

  test('rbd applies the parts of a diff in turn, and merges none', async () => {
    const copy = await target('it-parts');
    const parts = ['--length 300K', '--offset 300K --length 300K', '--offset 600K'].map((range, i) => ({
      range: range.split(' '),
      path: join(folder, `part-${i}`),
    }));
    for (const { range, path } of parts) {
      await rbdeltaOk(['export-diff', ...range, `${source}@s1`, path]);
      await rbd(['import-diff', '--no-progress', path, copy]);
    }
    expect(await bytesOf(`${copy}@s1`)).toBe(truth.s1);
    const merged = await run('rbd', ['merge-diff', parts[0]!.path, parts[1]!.path, join(folder, 'parts')]);
    expect(merged.status).toBe(95);
  });

  test.each([
    ['rbdelta', 'rbd'],
    ['rbd', 'rbdelta'],
    ['rbdelta', 'rbdelta'],
  ])('a pipe from %s to %s carries a full and two increments', async (from, to) => {
    const copy = await target(`it-pipe-${from}-${to}`);
    const program = (name: string): string[] => (name === 'rbd' ? ['rbd'] : ours);
    for (const since of [['s1'], ['mid', '--from-snap', 's1'], ['s2', '--from-snap', 'mid']] as const) {
      const [end, ...options] = since;
      const { statuses, stderr } = await pipe(
        [...program(from), 'export-diff', '--no-progress', ...options, `${source}@${end}`, '-'],
        [...program(to), 'import-diff', '--no-progress', '-', copy],
      );
      expect({ statuses, stderr }).toMatchObject({ statuses: [0, 0] });
    }
    const found = {
      s1: await bytesOf(`${copy}@s1`),
      mid: await bytesOf(`${copy}@mid`),
      s2: await bytesOf(`${copy}@s2`),
    };
    expect(found).toEqual({ s1: truth.s1, mid: truth.mid, s2: truth.s2 });
  });

  test.each([
    ['rbdelta', 'rbd'],
    ['rbd', 'rbdelta'],
  ])('a whole export of %s, format 2, is imported by %s: snapshots, metadata and bytes', async (from, to) => {
    const copy = await target(`it-whole-${from}-${to}`, false);
    const file = join(folder, `${from}-${to}.image`);
    const program = (name: string): string[] => (name === 'rbd' ? ['rbd'] : ours);
    const call = ([name, ...args]: string[]): Promise<Buffer> => succeed(name ?? '', args);
    await call([...program(from), 'export', '--no-progress', '--export-format', '2', source, file]);
    await call([...program(to), 'import', '--no-progress', '--export-format', '2', file, copy]);
    const found = {
      s1: await bytesOf(`${copy}@s1`),
      mid: await bytesOf(`${copy}@mid`),
      s2: await bytesOf(`${copy}@s2`),
      head: await bytesOf(copy),
    };
    expect(found).toEqual(truth);
    expect((await rbd(['image-meta', 'get', copy, 'owner'])).toString().trim()).toBe('the tests');
    const info = JSON.parse((await rbd(['info', '--format', 'json', `${copy}@mid`])).toString());
    expect(info).toMatchObject({ protected: 'true', object_size: MiB });
  });

  test('whole exports are those of rbd: format 1 to the byte, format 2 up to how the diffs are cut into records', async () => {
    const files: Record<string, Buffer> = {};
    for (const format of ['1', '2']) {
      const args = ['export', '--no-progress', '--export-format', format, source];
      await rbd([...args, join(folder, `rbd.${format}`)]);
      await rbdeltaOk([...args, join(folder, `rbdelta.${format}`)]);
      for (const side of ['rbd', 'rbdelta'])
        files[`${side}.${format}`] = await readFile(join(folder, `${side}.${format}`));
    }
    const { 'rbd.1': theirRaw, 'rbdelta.1': ourRaw, 'rbd.2': theirs, 'rbdelta.2': ours } = files;
    expect(ourRaw?.equals(theirRaw ?? Buffer.alloc(0))).toBe(true);
    const front = (theirs?.indexOf('rbd image diffs v2\n') ?? 0) + 27;
    expect(ours?.subarray(0, front)).toEqual(theirs?.subarray(0, front));
  });

  test('a merged diff of ours, and one of rbd, lead to the same bytes', async () => {
    const diffs = ['full', 'mid', 's2'].map((name) => join(folder, `merge-${name}.diff`));
    const [full = '', mid = '', s2 = ''] = diffs;
    await rbd(['export-diff', '--no-progress', `${source}@s1`, full]);
    await rbd(['export-diff', '--no-progress', '--from-snap', 's1', `${source}@mid`, mid]);
    await rbd(['export-diff', '--no-progress', '--from-snap', 'mid', `${source}@s2`, s2]);
    const merged = join(folder, 'merged.diff');
    await rbdeltaOk(['merge-diff', '--no-progress', ...diffs, merged]);
    const copy = await target('it-merged');
    await rbd(['import-diff', '--no-progress', merged, copy]);
    expect(await bytesOf(`${copy}@s2`)).toBe(truth.s2);
  });

  test('compressed on the way out, recognised on the way in, and plain zstd in between', async () => {
    const file = join(folder, 'full.zst');
    const args = ['export-diff', '--no-progress', '--compress', 'zstd:3', `${source}@s2`, file];
    await rbdeltaOk(args);
    const copy = await target('it-zstd');
    await rbdeltaOk(['import-diff', '--no-progress', file, copy]);
    expect(await bytesOf(`${copy}@s2`)).toBe(truth.s2);
    const other = await target('it-zstd-rbd');
    const { statuses, stderr } = await pipe(['zstd', '-dc', file], ['rbd', 'import-diff', '--no-progress', '-', other]);
    expect({ statuses, stderr }).toMatchObject({ statuses: [0, 0] });
    expect(await bytesOf(`${other}@s2`)).toBe(truth.s2);
  });

  test('a snapshot that is removed while it is read makes a failed export, not one with zeros', async () => {
    const name = 'it-vanishing';
    await target(name, false);
    await writer.create(name, { size: 16 * MiB });
    await writer.write(name, 0, noise(9, 16 * MiB));
    await writer.createSnapshot(name, 's1');
    await writer.write(name, 0, noise(10, 16 * MiB)); // so that the snapshot has objects of its own to lose
    await writer.close(name);
    const file = join(folder, 'vanishing.diff');
    const args = ['export-diff', '--no-progress', '--max-rate', '4M', `volumes/${name}@s1`, file];
    const exporting = start(process.execPath, [rbdeltaProgram, ...args]);
    const sizeOf = (): Promise<number> =>
      stat(file).then(
        (found) => found.size,
        () => 0,
      );
    while ((await sizeOf()) === 0 && exporting.child.exitCode === null) await sleep(20); // four seconds are left then
    await rbd(['snap', 'rm', '--no-progress', `volumes/${name}@s1`]);
    const { status, stderr } = await exporting.result;
    expect(status).not.toBe(0);
    expect(stderr).toContain('removed');
    await expect(readFile(file)).rejects.toMatchObject({ code: 'ENOENT' });
  });
});
