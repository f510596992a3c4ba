// What repo cat writes, applied by the real rbd: each point as it was stored, several as one diff, and all from nothing.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { rbd, rbdeltaOk, rbdeltaProgram, succeed } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget, MiB } from './histories.ts';
import { backUp, bytesOf, dropImage, onCeph } from './repository-kit.ts';

describe.skipIf(!onCeph)('repo cat | rbd import-diff', () => {
  const image = 'repo-cat';
  const targets: string[] = [];
  const points: { id: string; snapshot: string; truth: string }[] = [];
  let writer: RbdWriter;
  let folder: string;
  let where: string;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-interop-'));
    where = join(folder, 'repo');
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
    await forget(writer, { image });
    await writer.create(image, { size: 12 * MiB });
    await rbdeltaOk(['repo', 'init', where]);
    for (let round = 0; round < 4; round++) {
      await writer.write(image, 0, noise(round, 3 * MiB));
      await writer.write(image, (4 + round) * MiB + 777, noise(10 + round, 100_000));
      if (round === 2) await writer.discard(image, 4 * MiB, MiB);
      await writer.close(image);
      const { point, snapshot } = await backUp(`volumes/${image}`, where);
      points.push({ id: point, snapshot, truth: await bytesOf(`volumes/${image}@${snapshot}`) });
    }
  });

  afterAll(async () => {
    for (const target of targets) await dropImage(target);
    await forget(writer, { image });
    await writer.end();
    await rm(folder, { recursive: true });
  });

  /** An empty image, with these streams applied in their order. */
  async function applied(name: string, streams: string[][]): Promise<string> {
    const target = `backups/repo-cat-${name}`;
    targets.push(target);
    await rbd(['create', '--size', '1M', target]);
    const script = '"$0" "$1" repo cat "${@:3}" | rbd import-diff --no-progress - "$2"';
    for (const stream of streams)
      await succeed('bash', ['-o', 'pipefail', '-c', script, process.execPath, rbdeltaProgram, target, ...stream]);
    return target;
  }

  /** Of the snapshots of these points, and of the head. */
  const statesOf = async (target: string, made: typeof points): Promise<string[]> => {
    const states: string[] = [];
    for (const { snapshot } of made) states.push(await bytesOf(`${target}@${snapshot}`));
    return [...states, await bytesOf(target)];
  };
  const truths = (made: typeof points): string[] => [...made, made.at(-1)!].map(({ truth }) => truth);

  test('every point of the chain in turn', async () => {
    const target = await applied(
      'each',
      points.map(({ id }) => [where, id]),
    );
    expect(await statesOf(target, points)).toEqual(truths(points));
  });

  test('the full, then the other points as one diff', async () => {
    const [full, last] = [points[0]!, points[3]!];
    const target = await applied('merged', [
      [where, full.id],
      ['--from', full.id, where, last.id],
    ]);
    expect(await statesOf(target, [full, last])).toEqual(truths([full, last]));
  });

  test('each state from nothing', async () => {
    for (const point of points) {
      const target = await applied(point.id, [['--full', where, point.id]]);
      expect(await statesOf(target, [point])).toEqual(truths([point]));
    }
  });
});
