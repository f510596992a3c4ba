// Where the object maps of Ceph lead `rbd export-diff --whole-object` astray: it loses data, and rbdelta must not.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, rbd, rbdelta, rbdeltaOk, succeed } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget } from './histories.ts';

const MiB = 1 << 20;
const KiB = 1024;

const bytesOf = (spec: string): Promise<string> => digestOf('rbd', ['export', '--no-progress', spec, '-']);

describe.skipIf(process.env['RBDELTA_TEST_CEPH'] !== '1')('object maps that mislead', () => {
  let writer: RbdWriter;
  let folder: string;
  const made: string[] = [];

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-interop-'));
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
  });

  afterAll(async () => {
    for (const image of made) await forget(writer, { image });
    await writer.end();
    await rm(folder, { recursive: true });
  });

  const create = async (image: string, size: number): Promise<void> => {
    await forget(writer, { image });
    made.push(image);
    await writer.create(image, { size });
  };

  /** The base as of `from`, then the diff from there to `to` as `program` tells it: what the copy has then. */
  const replay = async (program: 'rbd' | 'rbdelta', image: string, options: string[] = []): Promise<string> => {
    const copy = `volumes/${image}-by-${program}${options.join('')}`;
    const name = copy.slice('volumes/'.length);
    await create(name, MiB);
    const [base, diff] = [join(folder, `${name}.base`), join(folder, `${name}.diff`)];
    await rbd(['export-diff', '--no-progress', `volumes/${image}@s1`, base]);
    await rbd(['import-diff', '--no-progress', base, copy]);
    const args = ['export-diff', '--no-progress', ...options, '--from-snap', 's1', `volumes/${image}@s2`, diff];
    await (program === 'rbd' ? rbd(args) : rbdeltaOk(args));
    await rbd(['import-diff', '--no-progress', diff, copy]);
    return bytesOf(copy);
  };

  test('shrunk, snapshot, grown again: rbd loses a hole, rbdelta does not', async () => {
    const image = 'it-sticky';
    await create(image, 4 * MiB);
    await writer.write(image, 0, noise(1, 4 * MiB));
    await writer.createSnapshot(image, 's1');
    await writer.resize(image, 1.5 * MiB);
    await writer.createSnapshot(image, 'small');
    await writer.resize(image, 4 * MiB);
    await writer.write(image, 3 * MiB, noise(2, 512));
    await writer.createSnapshot(image, 's2');
    await writer.close(image);
    const truth = await bytesOf(`volumes/${image}@s2`);

    expect(await replay('rbd', image)).toBe(truth); // listing every object, it is right
    expect(await replay('rbd', image, ['--whole-object'])).not.toBe(truth); // as fast as we are, it is wrong
    expect(await replay('rbdelta', image)).toBe(truth);
    expect(await replay('rbdelta', image, ['--whole-object'])).toBe(truth);
  });

  test('the map of an intermediate snapshot is lost: rbd sees no change, rbdelta sees it and says why it is slower', async () => {
    const image = 'it-lost-map';
    await create(image, 4 * MiB);
    await writer.write(image, 0, noise(3, 2 * MiB));
    await writer.createSnapshot(image, 's1');
    await writer.write(image, 0, noise(4, 4 * KiB));
    await writer.createSnapshot(image, 'middle');
    await writer.createSnapshot(image, 's2');
    const id = await writer.id(image);
    const middle = (await writer.snapshots(image)).find((snapshot) => snapshot.name === 'middle')?.id ?? 0;
    await writer.close(image);
    await succeed('rados', ['-p', 'volumes', 'rm', `rbd_object_map.${id}.${middle.toString(16).padStart(16, '0')}`]);
    const truth = await bytesOf(`volumes/${image}@s2`);

    expect(await replay('rbd', image, ['--whole-object'])).not.toBe(truth);
    expect(await replay('rbdelta', image)).toBe(truth);
    expect(await replay('rbdelta', image, ['--whole-object'])).toBe(truth);
    const { stderr } = await rbdelta(['diff', '--from-snap', 's1', `volumes/${image}@s2`]);
    expect(stderr).toContain('middle');
  });

  test('rolled back to before the start: rbd sees no change, rbdelta sees it and says why it is slower', async () => {
    const image = 'it-rolled-back';
    await create(image, 4 * MiB);
    await writer.write(image, 0, noise(7, 2 * MiB));
    await writer.createSnapshot(image, 'before');
    await writer.createSnapshot(image, 'old');
    await writer.write(image, 0, noise(8, 4 * KiB));
    await writer.createSnapshot(image, 's1');
    await writer.rollback(image, 'old');
    await writer.createSnapshot(image, 's2');
    await writer.close(image);
    const truth = await bytesOf(`volumes/${image}@s2`);

    expect(await replay('rbd', image)).toBe(truth);
    expect(await replay('rbd', image, ['--whole-object'])).not.toBe(truth);
    expect(await replay('rbdelta', image)).toBe(truth);
    expect(await replay('rbdelta', image, ['--whole-object'])).toBe(truth);
    const { stderr } = await rbdelta(['diff', '--from-snap', 's1', `volumes/${image}@s2`]);
    expect(stderr).toContain('rolled back');
  });

  test('a damaged map is not believed', async () => {
    const image = 'it-damaged-map';
    await create(image, 4 * MiB);
    await writer.write(image, 0, noise(5, 4 * MiB));
    await writer.createSnapshot(image, 's1');
    await writer.write(image, 2 * MiB + 8 * KiB, noise(6, 4 * KiB));
    await writer.createSnapshot(image, 's2');
    const id = await writer.id(image);
    const end = (await writer.snapshots(image)).find((snapshot) => snapshot.name === 's2')?.id ?? 0;
    await writer.close(image);
    const name = `rbd_object_map.${id}.${end.toString(16).padStart(16, '0')}`;
    const map = await succeed('rados', ['-p', 'volumes', 'get', name, '-']);
    map[18] = 0xff; // the states of the first four objects: all "not changed"
    await succeed('rados', ['-p', 'volumes', 'put', name, '-'], { stdin: map });
    const truth = await bytesOf(`volumes/${image}@s2`);
    expect(await replay('rbdelta', image)).toBe(truth);
  });
});
