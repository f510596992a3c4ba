// rbdelta beside rbd, row by row of the table of promises: `npm run bench -- [--only NAME] [--runs N] [--small] [--json FILE]`
// On the cluster of CEPH_CONF, and the S3 of AWS_ENDPOINT_URL; without one, on a cluster of one node with a radosgw that are
// started for it.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { openStore } from '../../src/store/open.ts';
import { rbd, run, succeed } from '../kit/command.ts';
import { emptyStore } from '../kit/many-points.ts';
import { RbdWriter } from '../kit/rbd-writer.ts';
import type { Series } from './measure.ts';
import { repositoryRows } from './repository-rows.ts';
import { type Bench, rows as streamRows, type Verdict } from './rows.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', multiple: true, default: [] },
    runs: { type: 'string', default: '5' },
    small: { type: 'boolean', default: false },
    json: { type: 'string' },
  },
});
const rows = [...streamRows, ...repositoryRows];
const usualPeakMiB = 200;

const folder = await mkdtemp(join(tmpdir(), 'rbdelta-bench-'));
const ownCluster = process.env['CEPH_CONF'] === undefined;
const cluster = join(folder, 'ceph');
let writer: RbdWriter | null = null;
const prefix = `bench-${process.pid}`;
let bucket: string | null = null;

/** What is left of us, also after an interrupt. */
async function clean(): Promise<void> {
  if (ownCluster) await run('test/kit/ceph-down.sh', [cluster]);
  else {
    await removeBucket();
    for (const pool of ['volumes', 'backups']) {
      const names = (await rbd(['ls', pool])).toString().split('\n');
      for (const name of names.filter((image) => image.startsWith(`${prefix}-`))) {
        await run('rbd', ['snap', 'purge', '--no-progress', `${pool}/${name}`]);
        await run('rbd', ['rm', '--no-progress', `${pool}/${name}`]);
      }
    }
  }
  await rm(folder, { recursive: true, force: true });
}
/** A bucket in S3, if there is one; a radosgw is started beside a cluster of our own. */
async function makeBucket(): Promise<void> {
  if (ownCluster) {
    const { status, stdout } = await run('test/kit/rgw-up.sh', [cluster]);
    if (status !== 0) return;
    for (const [, name = '', value = ''] of stdout.toString().matchAll(/(AWS_\w+)=(\S+)/g)) process.env[name] = value;
  }
  if (process.env['AWS_ENDPOINT_URL'] === undefined) return;
  const { CreateBucketCommand, S3Client } = await import('@aws-sdk/client-s3');
  const client = new S3Client({ forcePathStyle: true });
  await client.send(new CreateBucketCommand({ Bucket: prefix }));
  client.destroy();
  bucket = prefix;
}

async function removeBucket(): Promise<void> {
  if (bucket === null) return;
  const { DeleteBucketCommand, S3Client } = await import('@aws-sdk/client-s3');
  const store = await openStore(`s3://${bucket}/`, {});
  await emptyStore(store);
  await store.close();
  const client = new S3Client({ forcePathStyle: true });
  await client.send(new DeleteBucketCommand({ Bucket: bucket }));
  client.destroy();
}

/** What is compared with, installed where that can be. */
async function findTools(): Promise<Set<string>> {
  await run('test/kit/setup.sh', ['bench']);
  const found = new Set<string>();
  for (const tool of ['s3cmd', 'restic']) if ((await run('which', [tool])).status === 0) found.add(tool);
  return found;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => void clean().finally(() => process.exit(130)));
}

const pad = (text: string, width: number): string => text.padEnd(width);
const shown = (number: number): string => (number < 0.1 ? number.toFixed(4) : number.toFixed(2));
const tell = (verdict: Verdict): string =>
  [
    `  ${pad(verdict.what, 38)}`,
    pad(verdict.ours, 11),
    pad(verdict.theirs, 11),
    pad(shown(verdict.found), 8),
    pad(`<= ${shown(verdict.target)}`, 11),
    verdict.found <= verdict.target ? 'PASS' : 'MISS',
  ].join(' ');

let missed = 0;
try {
  await succeed('npm', ['run', '--silent', 'build']);
  if (ownCluster) {
    await succeed('test/kit/ceph-up.sh', [cluster]);
    process.env['CEPH_CONF'] = join(cluster, 'ceph.conf');
  }
  await makeBucket();
  const tools = await findTools();
  writer = new RbdWriter(process.env['CEPH_CONF'] ?? '', 'volumes');
  const bench: Bench = { folder, writer, prefix, runs: Number(values.runs), small: values.small, bucket, tools };
  const version = (await rbd(['--version'])).toString().split(' ')[2];
  const peaks: { row: string; series: Series; limitMiB: number }[] = [];
  const results = [];
  console.log(`rbd ${version}, node ${process.version}, ${cpus().length} cores, median of ${bench.runs} runs in turns`);
  for (const tool of ['s3cmd', 'restic']) if (!tools.has(tool)) console.log(`skipped: ${tool}, which is not installed`);
  if (bench.small) console.log('--small: a quick look, at a size for which the targets were not set');
  console.log(`  ${pad('beside', 38)} ${pad('rbdelta', 11)} ${pad('rbd', 11)} ${pad('ratio', 8)} ${pad('target', 11)}`);
  for (const row of rows) {
    if (values.only.length > 0 && !values.only.some((name) => row.name.includes(name))) continue;
    console.log(`${row.title} [${row.name}]`);
    if (row.needs?.includes('s3') && bucket === null) {
      console.log('  skipped: there is no S3 server (AWS_ENDPOINT_URL, or radosgw installed)');
      continue;
    }
    const { verdicts, series } = await row.run(bench);
    for (const verdict of verdicts) console.log(tell(verdict));
    missed += verdicts.filter(({ found, target }) => found > target).length;
    peaks.push(
      ...series
        .filter(({ name }) => name.startsWith('rbdelta'))
        .map((one) => ({ row: row.name, series: one, limitMiB: row.peakTargetMiB ?? usualPeakMiB })),
    );
    results.push({ row: row.name, title: row.title, verdicts, series });
  }
  if (!bench.small && (values.only.length === 0 || values.only.includes('local'))) {
    console.log('the local pool beside the file system [local]');
    const { status, stdout, stderr } = await run('npx', ['tsx', 'test/bench/local-rows.ts'], {
      // as the command has it: src/cli/start.ts
      env: { UV_THREADPOOL_SIZE: '32' },
    });
    console.log(`${stdout.toString()}${status === 0 ? '' : stderr}`.trimEnd());
    if (status !== 0) missed++;
  }
  console.log('peak memory of our commands above');
  for (const { row, series, limitMiB } of peaks) {
    const found = series.peakMiB / limitMiB;
    const [mine, limit] = [`${series.peakMiB.toFixed(0)} MiB`, `${limitMiB} MiB`];
    console.log(tell({ what: `${row}: ${series.name}`, ours: mine, theirs: limit, found, target: 1 }));
    if (found > 1) missed++;
  }
  console.log(`${missed === 0 ? 'every target is reached' : `${missed} missed`}`);
  if (values.json !== undefined) {
    const about = { rbd: version, node: process.version, cores: cpus().length, runs: bench.runs, small: bench.small };
    await writeFile(values.json, `${JSON.stringify({ ...about, usualPeakMiB, results }, null, 2)}\n`);
  }
} finally {
  await writer?.end();
  await clean();
}
process.exitCode = missed > 0 && !values.small ? 1 : 0;
