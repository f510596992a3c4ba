// What is measured of repositories, in a directory and on real S3 (radosgw on the same machine).

import { randomFillSync } from 'node:crypto';
import { open, readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { openStore } from '../../src/store/open.ts';
import type { Store } from '../../src/store/port.ts';
import { rbd, rbdelta, rbdeltaOk, run, succeed } from '../kit/command.ts';
import { faultyProxy } from '../kit/http-faults.ts';
import { emptyStore, manyPoints, putAll } from '../kit/many-points.ts';
import { numbers } from '../kit/noise.ts';
import { inTurns, type Series, type Stage, type Way } from './measure.ts';
import { type Bench, bytes, carry, faster, ours, quiet, type Row, theirs, type Verdict } from './rows.ts';

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;
const TiB = 1024 * GiB;

/** Where repositories are: a directory, and S3 if there is one. */
const placesOf = (bench: Bench, name: string): { store: string; where: string }[] => [
  { store: 'directory', where: join(bench.folder, name) },
  ...(bench.bucket === null ? [] : [{ store: 's3', where: `s3://${bench.bucket}/${name}` }]),
];

async function withStore<T>(where: string, use: (store: Store) => Promise<T>): Promise<T> {
  const store = await openStore(where, { create: true });
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** A new repository, whatever was there. */
async function freshRepository(where: string): Promise<void> {
  await withStore(where, emptyStore);
  await rbdeltaOk(['repo', 'init', where]);
}

const limit = (what: string, found: number, target: number, shown: (value: number) => string): Verdict => ({
  what,
  ours: shown(found),
  theirs: `<= ${shown(target)}`,
  found: found / target,
  target: 1,
});
const secondsText = (value: number): string => `${value.toFixed(2)} s`;

/** What `--json` of a backup has printed. */
async function madePoint(report: string): Promise<{ point: string; snapshot: string; stored_bytes: number }> {
  const [made] = JSON.parse(await readFile(report, 'utf8'));
  return made;
}

const words = 'the of and to in is that for it as was with be by on not he his but at are this have from or had an they'
  .split(' ')
  .map((word) => `${word} `);

/** Half random, half text, in turns of 64 KiB. */
async function halfCompressibleFile(path: string, size: number): Promise<void> {
  const next = numbers(11);
  const text = Buffer.alloc(16 * MiB);
  for (let at = 0; at < text.length; ) {
    at += text.write(words[Math.floor(next() * words.length)] ?? '', at, 'latin1');
  }
  const file = await open(path, 'w');
  const piece = Buffer.alloc(128 * KiB);
  for (let at = 0; at < size; at += piece.length) {
    randomFillSync(piece, 0, 64 * KiB);
    text.copy(piece, 64 * KiB, (at / 2) % (text.length - 64 * KiB));
    await file.write(piece);
  }
  await file.close();
}

/** volumes/PREFIX-half with a snapshot; made once, for all rows that use it. */
async function halfImage(bench: Bench): Promise<{ image: string; size: number }> {
  const size = bench.small ? GiB / 8 : 2 * GiB;
  const image = `volumes/${bench.prefix}-half`;
  if ((await run('rbd', ['info', image])).status !== 0) {
    const raw = join(bench.folder, 'half.raw');
    await halfCompressibleFile(raw, size);
    await rbd(['import', quiet, raw, image]);
    await rm(raw);
    await rbd(['snap', 'create', quiet, `${image}@s0`]);
  }
  return { image, size };
}

/** A full each time, of a repository that is empty but for its name. */
function fullBackup(where: string, image: string, into: string): Way {
  return {
    name: `rbdelta backup, ${where.startsWith('s3://') ? 's3' : 'directory'}`,
    stages: [ours('backup', quiet, '--json', image, where)],
    into,
    before: () => freshRepository(where),
  };
}

const fullToDirectory: Row = {
  name: 'backup-directory',
  title: 'full backup of 2 GiB, half compressible, to a directory',
  peakTargetMiB: 300,
  async run(bench) {
    const { image } = await halfImage(bench);
    const [where, report, file] = ['full', 'full.json', 'full.zst'].map((name) => join(bench.folder, name)) as [
      string,
      string,
      string,
    ];
    const zstd = { command: ['zstd', '-q', '-3', '-T0'] };
    const [mine, other] = (await inTurns(
      bench.folder,
      [
        fullBackup(where, image, report),
        {
          name: 'rbd export-diff | zstd',
          stages: [theirs('export-diff', quiet, `${image}@s0`, '-'), zstd],
          into: file,
        },
      ],
      bench.runs,
    )) as [Series, Series];
    const stored = (await madePoint(report)).stored_bytes;
    const theirBytes = (await stat(file)).size;
    await rm(where, { recursive: true });
    await rm(file);
    return {
      series: [mine, other],
      verdicts: [
        faster('time, rbd export-diff | zstd -3 -T0 >', mine, other, 0.9),
        {
          what: 'stored bytes',
          ours: bytes(stored),
          theirs: bytes(theirBytes),
          found: stored / theirBytes,
          target: 1,
        },
      ],
    };
  },
};

/** A PUT of what comes in a pipe, as scripts do it. */
const s3cmd = (to: string): Stage => {
  const host = new URL(process.env['AWS_ENDPOINT_URL'] ?? '').host;
  const place = [`--host=${host}`, `--host-bucket=${host}`, '--no-ssl', '--config=/dev/null', '--no-progress'];
  return { command: ['s3cmd', ...place, 'put', '-', to] };
};

const fullToS3: Row = {
  name: 'backup-s3',
  title: 'the same to radosgw',
  peakTargetMiB: 300,
  needs: ['s3'],
  async run(bench) {
    const { image } = await halfImage(bench);
    const where = `s3://${bench.bucket}/full`;
    const [theirKey, resticKey] = ['s3cmd', 'restic'].map((name) => `s3://${bench.bucket}/${name}`) as [string, string];
    const restic = `s3:${process.env['AWS_ENDPOINT_URL']}/${bench.bucket}/restic`;
    process.env['RESTIC_PASSWORD'] = 'bench';
    const spec = `${image}@s0`;
    const report = join(bench.folder, 'full.json');
    const ways: Way[] = [
      fullBackup(where, image, report),
      {
        name: 'rbd export-diff | zstd | s3cmd',
        stages: [
          theirs('export-diff', quiet, spec, '-'),
          { command: ['zstd', '-q', '-3', '-T0'] },
          s3cmd(`${theirKey}/full.zst`),
        ],
        after: () => withStore(theirKey, emptyStore),
      },
    ];
    const tools = ['s3cmd', 'restic'].filter((tool) => bench.tools.has(tool));
    if (tools.includes('restic')) {
      ways.push({
        name: 'rbd export | restic',
        stages: [
          theirs('export', quiet, spec, '-'),
          { command: ['restic', '-q', '--no-cache', '-r', restic, 'backup', '--stdin', '--stdin-filename', 'half'] },
        ],
        runs: 2,
        before: async () => {
          await withStore(resticKey, emptyStore);
          await succeed('restic', ['-q', '--no-cache', '-r', restic, 'init']);
        },
        after: () => withStore(resticKey, emptyStore),
      });
    }
    const series = await inTurns(
      bench.folder,
      tools.includes('s3cmd') ? ways : ways.filter((_, i) => i !== 1),
      bench.runs,
    );
    await withStore(where, emptyStore);
    const [mine, ...others] = series as [Series, ...Series[]];
    return { series, verdicts: others.map((other) => faster(`time, ${other.name}`, mine, other, 0.6)) };
  },
};

const increment: Row = {
  name: 'backup-increment',
  title: 'increment of 1 TiB, 1 GiB allocated, 64 random writes of 4 KiB, to both',
  peakTargetMiB: 300,
  async run(bench) {
    const name = `${bench.prefix}-large`;
    const [size, allocated] = bench.small ? [TiB / 16, GiB / 16] : [TiB, GiB];
    await bench.writer.create(name, { size, order: 22 });
    for (let at = 0; at < allocated; at += 4 * MiB) await bench.writer.fill(name, at, 4 * MiB, 0x41);
    await bench.writer.close(name);
    const next = numbers(12);
    const results: { verdicts: Verdict[]; series: Series[] } = { verdicts: [], series: [] };
    for (const { store, where } of placesOf(bench, 'large')) {
      await freshRepository(where);
      await rbdeltaOk(['backup', quiet, `volumes/${name}`, where]);
      const report = join(bench.folder, 'large.json');
      const [series] = (await inTurns(
        bench.folder,
        [
          {
            name: `rbdelta backup, ${store}`,
            stages: [ours('backup', quiet, '--json', `volumes/${name}`, where)],
            into: report,
            before: async () => {
              for (let writes = 0; writes < 64; writes++) {
                const offset = Math.floor(next() * (size / (4 * KiB))) * 4 * KiB;
                await bench.writer.fill(name, offset, 4 * KiB, 0x42 + (writes % 100));
              }
              await bench.writer.close(name);
            },
          },
        ],
        bench.runs,
      )) as [Series];
      results.series.push(series);
      results.verdicts.push(
        limit(`time, ${store}`, series.seconds, 2, secondsText),
        limit(`stored bytes, ${store}`, (await madePoint(report)).stored_bytes, MiB, bytes),
      );
      await withStore(where, emptyStore);
    }
    return results;
  },
};

const restoring: Row = {
  name: 'restore',
  title: 'restore of a full and 30 increments to Ceph: 256 MiB, each 32 MiB in random 64 KiB',
  peakTargetMiB: 300,
  async run(bench) {
    const name = `${bench.prefix}-chain`;
    const size = bench.small ? 64 * MiB : 256 * MiB;
    const where = join(bench.folder, 'chain');
    await freshRepository(where);
    await bench.writer.create(name, { size, order: 22 });
    for (let at = 0; at < size; at += MiB) await bench.writer.fill(name, at, MiB, 1 + ((at / MiB) % 200));
    const next = numbers(13);
    const diffs: string[] = [];
    const report = join(bench.folder, 'chain.json');
    for (let i = 0; i <= 30; i++) {
      for (let writes = 0; i > 0 && writes < size / (512 * KiB); writes++) {
        const offset = Math.floor(next() * (size / (64 * KiB))) * 64 * KiB;
        await bench.writer.fill(name, offset, 64 * KiB, 1 + ((i * 7 + writes) % 250));
      }
      await bench.writer.close(name);
      const [made] = JSON.parse((await rbdeltaOk(['backup', quiet, '--json', `volumes/${name}`, where])).toString());
      const diff = join(bench.folder, `chain-${i}.diff`);
      await rbdeltaOk(['repo', 'cat', quiet, where, made.point, diff]);
      diffs.push(diff);
    }
    const target = `backups/${bench.prefix}-restored`;
    const drop = async (): Promise<void> => {
      await run('rbd', ['snap', 'purge', quiet, target]);
      await run('rbd', ['rm', quiet, target]);
    };
    const imports = diffs.map((diff) => `rbd import-diff ${quiet} ${diff} ${target}`).join('; ');
    const series = (await inTurns(
      bench.folder,
      [
        {
          name: 'rbdelta restore',
          stages: [ours('restore', quiet, where, `volumes/${name}@latest`, target)],
          before: drop,
          after: drop,
        },
        {
          name: 'rbd import-diff, 31 times',
          stages: [{ command: ['bash', '-ec', imports] }],
          runs: 2,
          before: async () => {
            await drop();
            await rbd(['create', '--size', `${size / MiB}M`, target]);
          },
          after: drop,
        },
      ],
      bench.runs,
    )) as [Series, Series];
    for (const path of [...diffs, report]) await rm(path, { force: true });
    await rm(where, { recursive: true });
    return { series, verdicts: [faster('time, 31 times rbd import-diff', ...series, 0.3)] };
  },
};

const listing: Row = {
  name: 'list',
  title: 'repo list of 10,000 points (10 images) on S3',
  peakTargetMiB: 300,
  needs: ['s3'],
  async run(bench) {
    const [images, points] = bench.small ? [10, 100] : [10, 1000];
    const where = `s3://${bench.bucket}/many`;
    const objects = await manyPoints(images, points);
    await withStore(where, (store) => putAll(store, objects));
    const [series] = (await inTurns(
      bench.folder,
      [{ name: 'rbdelta repo list', stages: [ours('repo', 'list', where)], into: join(bench.folder, 'list') }],
      bench.runs,
    )) as [Series];
    const lines = (await readFile(join(bench.folder, 'list'), 'utf8')).split('\n').length - 2;
    if (lines !== images * points) throw new Error(`${lines} points were listed`);
    await using proxy = await faultyProxy(process.env['AWS_ENDPOINT_URL'] ?? '');
    await rbdeltaOk(['repo', 'list', where], { env: { AWS_ENDPOINT_URL: proxy.url } });
    const requests = proxy.requests.length;
    await withStore(where, emptyStore);
    return {
      series: [series],
      verdicts: [
        limit('time', series.seconds, 2, secondsText),
        // of each image its catalog and its folders, a thousand in a page
        limit('requests', requests, 5 + images * (1 + Math.ceil((points + 1) / 1000)), String),
      ],
    };
  },
};

const pruning: Row = {
  name: 'prune',
  title: 'prune of 1,000 of 2,000 points',
  peakTargetMiB: 300,
  async run(bench) {
    const points = bench.small ? 200 : 2000;
    const objects = await manyPoints(1, points);
    const results: { verdicts: Verdict[]; series: Series[] } = { verdicts: [], series: [] };
    const { image } = await halfImage(bench);
    for (const { store, where } of placesOf(bench, 'pruned')) {
      const full = join(bench.folder, 'one.json');
      const backup = `${where}-one`;
      const args = ['repo', 'prune', quiet, '--keep-last', String(points / 2), where];
      const fill = (): Promise<void> =>
        withStore(where, async (target) => {
          await emptyStore(target);
          await putAll(target, objects);
        });
      const [newest, series, other] = (await inTurns(
        bench.folder,
        [
          {
            name: `rbdelta restore of the ${points}th, ${store}`,
            stages: [ours('restore', quiet, where, 'vm-0@latest', '-'), carry()],
            before: fill,
          },
          { name: `rbdelta repo prune, ${store}`, stages: [ours(...args)] },
          { ...fullBackup(backup, image, full), name: `a full backup of 2 GiB, ${store}` },
        ],
        Math.min(2, bench.runs),
      )) as [Series, Series, Series];
      const check = await rbdelta(['repo', 'check', quiet, where]);
      if (check.status !== 0) throw new Error(`the check after prune: ${check.stdout.toString()}`);
      results.series.push(newest, series);
      results.verdicts.push(faster(`time, a full backup of 2 GiB, ${store}`, series, other, 0.2));
      if (store === 's3') {
        await fill();
        await using proxy = await faultyProxy(process.env['AWS_ENDPOINT_URL'] ?? '');
        await rbdeltaOk(args, { env: { AWS_ENDPOINT_URL: proxy.url } });
        const removals = proxy.requests.filter((line) => line.startsWith('DELETE') || line.includes('?delete'));
        // three objects and a manifest of each, a thousand at once, and a few of its own
        results.verdicts.push(limit('requests that remove', removals.length, 8 + (3 * points) / 2000, String));
      }
      await withStore(where, emptyStore);
      await withStore(backup, emptyStore);
    }
    return results;
  },
};

export const repositoryRows: Row[] = [fullToDirectory, fullToS3, increment, restoring, listing, pruning];
