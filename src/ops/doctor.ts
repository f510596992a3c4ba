// doctor: what works on this machine, what does not, and what to do about it.

import { access, constants, readFile, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errnoOf } from '../bytes/errno.ts';
import { memorySink } from '../bytes/sink.ts';
import { bytesSource } from '../bytes/source.ts';
import { printable } from '../bytes/text.ts';
import { type ErrorCode, RbdeltaError } from '../error.ts';
import { feature, flag } from '../format/rbd-features.ts';
import type { CephCluster, CephOptions } from '../image/ceph/index.ts';
import { openFileImage } from '../image/file.ts';
import type { Cluster, ImageInfo } from '../image/port.ts';
import { formatSpec } from '../image/spec.ts';

/** What is to be looked at; the caller has read the command line and the environment. */
export interface DoctorQuestion {
  /** Which cluster is meant; `because` completes "this is so because ...". */
  cluster: { because: string } & ({ kind: 'local'; dir: string } | { kind: 'ceph'; options: CephOptions });
  /** An image to look at as well. `pool` null: the default one. */
  image: { pool: string | null; namespace: string; image: string; snap: string | null } | null;
  /** A raw file or device to look at as well (`file:PATH`). */
  file?: string | null;
  /** What is set for S3; null is unset. No secrets: `credentials` says where they come from. */
  s3: { endpoint: string | null; region: string | null; credentials: string | null };
  signal?: AbortSignal;
}

export interface Finding {
  area: 'rbdelta' | 'cluster' | 'libraries' | 'keyring' | 'caps' | 'pools' | 'image' | 'zstd' | 's3';
  /** `note`: works, but there is something to know. */
  state: 'ok' | 'note' | 'problem';
  text: string;
  hint: string | null;
  /** Of a problem. */
  code: ErrorCode | null;
}

type Report = (finding: Partial<Finding> & Pick<Finding, 'area' | 'text'>) => void;

/** Never fails: what does not work is a finding. In the order of looking. */
export async function doctor(question: DoctorQuestion): Promise<Finding[]> {
  const findings: Finding[] = [];
  const report: Report = (finding) => findings.push({ state: 'ok', hint: null, code: null, ...finding });
  report({ area: 'rbdelta', text: `Node ${process.versions.node} on ${process.platform} ${process.arch}` });
  if (question.cluster.kind === 'ceph') await lookAtCeph(question, question.cluster.options, report);
  else await lookAtLocalPool(question, question.cluster.dir, report);
  const { file } = question;
  if (file != null) await attempt('image', report, () => lookAtFile(file, report));
  await attempt('zstd', report, () => lookAtZstd(report));
  lookAtS3(question.s3, report);
  return findings;
}

/** Runs a step; its failure becomes a finding. Resolves to whether it went well. */
async function attempt(
  area: Finding['area'] | ((error: RbdeltaError | null) => Finding['area']),
  report: Report,
  step: () => Promise<void>,
): Promise<boolean> {
  try {
    await step();
    return true;
  } catch (error) {
    const known = error instanceof RbdeltaError ? error : null;
    const text = known?.message ?? String(error);
    const where = typeof area === 'string' ? area : area(known);
    report({ area: where, state: 'problem', text, hint: known?.hint ?? null, code: known?.code ?? 'bug' });
    return false;
  }
}

async function lookAtCeph(question: DoctorQuestion, options: CephOptions, report: Report): Promise<void> {
  const { because } = question.cluster;
  report({ area: 'cluster', text: `Ceph, because ${because}` });
  const { cephVersions, confSearch, connectCeph } = await import('../image/ceph/index.ts');
  const installed = await attempt('libraries', report, async () => {
    const { librados, librbd } = await cephVersions();
    report({ area: 'libraries', text: `librados ${librados}, librbd ${librbd}, through koffi` });
  });
  if (!installed) return;
  if (options.conf === undefined) {
    report({
      area: 'cluster',
      state: 'note',
      text: `no ceph.conf was found; searched: ${confSearch(options).join(', ')}`,
    });
  } else if (!(await attempt('cluster', report, () => readable(options.conf ?? '', report)))) return;
  let cluster: CephCluster | undefined;
  const connected = await attempt(areaOfFailure, report, async () => {
    cluster = await connectCeph(options);
  });
  if (!connected || cluster === undefined) return;
  const opened: CephCluster = cluster;
  await attempt('cluster', report, async () => {
    const facts = await opened.facts();
    report({ area: 'cluster', text: `reached ${facts.fsid} at ${facts.monHost}` });
    report({ area: 'keyring', text: `logged in as ${facts.entity}; keyrings are looked for in ${facts.keyring}` });
    lookAtCaps(facts.entity, facts.caps, report);
  });
  await lookInside(question, opened, opened.defaultPool, report);
  await opened.close();
}

/** No key, or one that is refused, is not the fault of the cluster. */
const areaOfFailure = (error: RbdeltaError | null): Finding['area'] =>
  error?.code === 'permission' || (error?.code === 'unavailable' && /\bkey(ring)?\b/u.test(error.message))
    ? 'keyring'
    : 'cluster';

async function readable(conf: string, report: Report): Promise<void> {
  try {
    await readFile(conf);
  } catch (cause) {
    throw new RbdeltaError('notFound', `${conf} cannot be read`, {
      hint: 'name another with --conf, or -m HOST and --keyring FILE without one',
      cause,
    });
  }
  report({ area: 'cluster', text: `configured by ${conf}` });
}

/** Whether a user without these can back up cannot be told for sure: pools and namespaces may narrow them. */
function lookAtCaps(entity: string, caps: Record<string, string> | null, report: Report): void {
  if (caps === null) {
    report({ area: 'caps', text: `what ${entity} may do is not for it to ask; it may connect` });
    return;
  }
  const text = Object.entries(caps)
    .map(([service, what]) => `${service} '${what}'`)
    .join(', ');
  if (/profile rbd|allow (\*|rwx)/u.test(caps['osd'] ?? '')) {
    report({ area: 'caps', text });
  } else {
    const hint = `ceph auth caps ${entity} mon 'profile rbd' osd 'profile rbd'`;
    report({ area: 'caps', state: 'note', text: `${text || 'none'}: not the rbd profile`, hint });
  }
}

async function lookAtLocalPool(question: DoctorQuestion, dir: string, report: Report): Promise<void> {
  report({ area: 'cluster', text: `the local pool in ${dir}, because ${question.cluster.because}` });
  const there = await access(dir).then(
    () => true,
    () => false,
  );
  if (!there) {
    const possible = await attempt('cluster', report, () => expectToMake(dir));
    const text = `${dir} does not exist yet`;
    if (possible) report({ area: 'cluster', state: 'note', text, hint: 'rbdelta pool create NAME makes it' });
    return;
  }
  await attempt('cluster', report, async () => {
    await access(dir, constants.R_OK | constants.W_OK).catch((cause: unknown) => {
      throw new RbdeltaError('permission', `${dir} may not be written`, { cause });
    });
    const { openLocalPool } = await import('../image/local/index.ts');
    const cluster = await openLocalPool(dir);
    await lookInside(question, cluster, 'rbd', report);
    await cluster.close();
  });
}

/** Fails where a directory cannot be made: the nearest one above it that is there must allow that. */
async function expectToMake(dir: string): Promise<void> {
  const exists = (path: string): Promise<boolean> =>
    access(path).then(
      () => true,
      (error: unknown) => errnoOf(error) !== 'ENOENT',
    );
  let above = dirname(dir);
  while (!(await exists(above))) above = dirname(above);
  const refuse = (why: string, cause?: unknown): RbdeltaError =>
    new RbdeltaError('permission', `${dir} does not exist and cannot be made: ${why}`, {
      hint: 'name another directory with --cluster-dir or RBDELTA_DIR',
      cause,
    });
  // Root may write everywhere, but not where no file system keeps anything.
  if (/^\/(proc|sys)(\/|$)/u.test(above)) throw refuse(`${above} is the kernel's`);
  await access(above, constants.W_OK | constants.X_OK).catch((cause: unknown) => {
    const isFile = errnoOf(cause) === 'ENOTDIR';
    throw refuse(isFile ? 'a part of it is not a directory' : `${above} may not be written`, cause);
  });
  if (!(await stat(above)).isDirectory()) throw refuse(`${above} is not a directory`);
}

async function lookInside(
  question: DoctorQuestion,
  cluster: Cluster,
  defaultPool: string,
  report: Report,
): Promise<void> {
  await attempt('pools', report, async () => {
    const pools = await cluster.pools();
    const text = pools.length === 0 ? 'there are none' : pools.map(printable).join(', ');
    report({ area: 'pools', state: pools.length === 0 ? 'note' : 'ok', text });
    if (pools.length > 0 && !pools.includes(defaultPool)) {
      report({ area: 'pools', text: `there is no default pool '${defaultPool}': specs must name theirs` });
    }
  });
  const { image } = question;
  if (image === null) return;
  const spec = { ...image, pool: image.pool ?? defaultPool };
  await attempt('image', report, async () => {
    const opened = await cluster.open(spec);
    try {
      const info = await opened.info();
      report({ area: 'image', text: `${printable(formatSpec(spec))} is ${info.size} bytes, format ${info.format}` });
      lookAtMaps(info, report);
    } finally {
      await opened.close();
    }
  });
}

async function lookAtFile(path: string, report: Report): Promise<void> {
  const image = await openFileImage(path);
  try {
    const { size } = await image.info();
    report({ area: 'image', text: `${printable(path)} is ${size} bytes; it can be read` });
  } finally {
    await image.close();
  }
  await access(path, constants.W_OK).catch(() => {
    const text = `${printable(path)} may not be written: import-diff cannot have it as its target`;
    report({ area: 'image', state: 'note', text });
  });
}

/** Whether diffs of the image will be fast. */
function lookAtMaps(info: ImageInfo, report: Report): void {
  const name = printable(formatSpec({ ...info, image: info.name, snap: null }));
  const needed = feature.exclusiveLock | feature.objectMap | feature.fastDiff;
  if ((info.features & needed) !== needed) {
    const hint = `rbd feature enable ${name} exclusive-lock object-map fast-diff && rbd object-map rebuild ${name}`;
    report({
      area: 'image',
      state: 'note',
      text: 'it has no object map: diffs ask for every object, which is slow',
      hint,
    });
    return;
  }
  const invalid = flag.objectMapInvalid | flag.fastDiffInvalid;
  const versions = [{ at: name, flags: info.flags }].concat(
    info.snapshots.map((snapshot) => ({ at: `${name}@${printable(snapshot.name)}`, flags: snapshot.flags })),
  );
  const bad = versions.filter(({ flags }) => (flags & invalid) !== 0).map(({ at }) => at);
  if (bad.length === 0) {
    report({
      area: 'image',
      text: `its object maps are valid, of ${info.snapshots.length} snapshots as well: diffs are fast`,
    });
  } else {
    const text = `object maps are invalid: ${bad.join(', ')}; diffs across them ask for every object, which is slow`;
    report({ area: 'image', state: 'note', text, hint: `rbdelta object-map rebuild ${bad[0]}` });
  }
}

async function lookAtZstd(report: Report): Promise<void> {
  const text = Buffer.from('the quick brown fox '.repeat(50));
  const back = Buffer.alloc(text.length);
  try {
    const { autoDecompress, zstdSink } = await import('../bytes/zstd.ts');
    const kept = memorySink();
    const sink = zstdSink(kept, { threads: 1 });
    await sink.write([text]);
    await sink.finish();
    const source = await autoDecompress(bytesSource(kept.bytes()));
    for (let at = 0; at < back.length; ) {
      const count = await source.read(back.subarray(at));
      if (count === 0) break;
      at += count;
    }
    await source.close();
  } catch (cause) {
    throw new RbdeltaError('unavailable', `zstd does not work: ${String(cause)}`, {
      hint: 'npm rebuild zstd-napi (where no prebuilt binary fits, it needs a C++ compiler: apt-get install g++ make)',
      cause,
    });
  }
  if (!back.equals(text)) throw new RbdeltaError('unavailable', 'zstd does not give back what it was given');
  report({ area: 'zstd', text: 'compresses and decompresses' });
}

function lookAtS3({ endpoint, region, credentials }: DoctorQuestion['s3'], report: Report): void {
  const where = `endpoint ${endpoint ?? 'of AWS'}, region ${region ?? 'not set'}`;
  if (credentials === null) {
    const text = `${where}, no credentials: s3:// paths will not work`;
    report({
      area: 's3',
      state: 'note',
      text,
      hint: 'set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE',
    });
  } else report({ area: 's3', text: `${where}, credentials from ${credentials}` });
}
