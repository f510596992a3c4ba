// {our export, rbd's} x {our import, rbd's} x {full, incremental} x every kind of image, on a real Ceph: equal bytes.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { digestOf, rbd, rbdeltaOk, run } from '../kit/command.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import { forget, histories } from './histories.ts';

type Side = 'rbdelta' | 'rbd';
const sides: Side[] = ['rbdelta', 'rbd'];

const on = process.env['RBDELTA_TEST_CEPH'] === '1';

/** Runs a command of rbd's or ours, which must succeed. */
const command = (side: Side, args: string[]): Promise<Buffer> => (side === 'rbd' ? rbd(args) : rbdeltaOk(args));

/** What the real rbd reads of an image or snapshot. */
const bytesOf = (spec: string): Promise<string> => digestOf('rbd', ['export', '--no-progress', spec, '-']);

describe.skipIf(!on).each(histories.map((history) => [history.name, history] as const))('%s', (_, history) => {
  let writer: RbdWriter;
  let folder: string;
  const source = `volumes/${history.image}`;
  const truth = { s1: '', s2: '' };
  const targets: string[] = [];
  const stream = (exporter: Side, which: string): string => join(folder, `${exporter}-${which}.diff`);

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'rbdelta-interop-'));
    writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
    await forget(writer, history);
    await history.make(writer, history.image);
    await writer.close(history.image);
    truth.s1 = await bytesOf(`${source}@s1`);
    truth.s2 = await bytesOf(`${source}@s2`);
    for (const exporter of sides) {
      await command(exporter, ['export-diff', '--no-progress', `${source}@s1`, stream(exporter, 'full-s1')]);
      await command(exporter, ['export-diff', '--no-progress', `${source}@s2`, stream(exporter, 'full-s2')]);
      const since = ['--from-snap', 's1', `${source}@s2`, stream(exporter, 'since-s1')];
      await command(exporter, ['export-diff', '--no-progress', ...since]);
    }
  });

  afterAll(async () => {
    for (const target of targets) {
      await run('rbd', ['snap', 'purge', '--no-progress', target]);
      await run('rbd', ['rm', '--no-progress', target]);
    }
    await forget(writer, history);
    await writer.end();
    await rm(folder, { recursive: true });
  });

  /** An empty image in pool backups, of the usual layout. */
  const target = async (exporter: Side, importer: Side, mode: string): Promise<string> => {
    const name = `backups/it-${history.image.replaceAll('/', '-')}-${exporter}-${importer}-${mode}`;
    targets.push(name);
    await rbd(['create', '--size', '1M', '--object-size', '1M', name]);
    return name;
  };

  describe.each(sides)('exported by %s', (exporter) => {
    describe.each(sides)('imported by %s', (importer) => {
      test('full: head and snapshot equal the source', async () => {
        const copy = await target(exporter, importer, 'full');
        await command(importer, ['import-diff', '--no-progress', stream(exporter, 'full-s2'), copy]);
        expect({ head: await bytesOf(copy), s2: await bytesOf(`${copy}@s2`) }).toEqual({
          head: truth.s2,
          s2: truth.s2,
        });
      });

      test('incremental: head and both snapshots equal the source', async () => {
        const copy = await target(exporter, importer, 'incremental');
        await command(importer, ['import-diff', '--no-progress', stream(exporter, 'full-s1'), copy]);
        await command(importer, ['import-diff', '--no-progress', stream(exporter, 'since-s1'), copy]);
        const found = { head: await bytesOf(copy), s1: await bytesOf(`${copy}@s1`), s2: await bytesOf(`${copy}@s2`) };
        expect(found).toEqual({ head: truth.s2, ...truth });
      });
    });
  });
});
