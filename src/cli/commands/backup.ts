// rbdelta backup: new points of images in a repository.

import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import type { Cluster } from '../../image/port.ts';
import { type BackupOptions, type BackupResult, backup, dryBackup } from '../../ops/backup.ts';
import type { BackupPlan } from '../../ops/backup-plan.ts';
import { type BackupSource, fileBackupSource, imageSource } from '../../ops/backup-source.ts';
import { matchImages } from '../../ops/match-images.ts';
import { parseCompress } from '../../ops/path.ts';
import type { Repository } from '../../repo/repository.ts';
import { withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { runHook } from '../hooks.ts';
import { cluster } from '../options.ts';
import { attempt, conclude, failed, type Outcome } from '../per-image.ts';
import { bytesText, type Field, object, optional } from '../print.ts';
import type { Moved } from '../progress.ts';
import { placeOf, storeOptions, withRepository } from '../repository.ts';
import { usage } from '../args.ts';
import { millisecondsFrom } from '../values.ts';
import { version } from '../version.ts';

export const command: Command = {
  positionals: ['<image>', '<repository...>'],
  options: [
    'full',
    'compare',
    'snap',
    'tag',
    'trim',
    'compress',
    'pre',
    'post',
    'hook-timeout',
    'wait',
    'dry-run',
    'json',
    'no-progress',
    ...storeOptions,
    ...cluster,
  ],
  examples: [
    ['backup volumes/vm-1 s3://bucket/prod', 'a full the first time, then increments'],
    ["backup 'volumes/vm-*' volumes/db /backups", 'several images; globs are matched by rbdelta'],
    ['backup --snap monday volumes/vm-1 /backups', 'a snapshot that is there, and stays'],
    ['backup --pre ./freeze.sh --post ./thaw.sh vm /backups', 'a consistent one: scripts around fsfreeze'],
    ['backup file:/dev/vg/lv /backups', 'a device or file: all of it is read, what differs is stored'],
  ],
  notes:
    'The snapshot that a backup makes stays until the next backup is complete; the image needs it to tell what changed. ' +
    'If it is lost, everything is read and compared, and only what differs is stored; --compare asks for that, after a ' +
    'rollback on an image with many snapshots, or whenever an object map is doubted. A run that was interrupted goes on ' +
    'when it is started again. A line for each image, and one for all, is printed on standard error; with --json the result goes to ' +
    'standard output. One image that fails does not keep the others from being backed up; the status is that of the first ' +
    'failure. The hooks get RBDELTA_IMAGE. They run around the making of the snapshot; of a file or device, around all of the ' +
    'reading. --post runs also when that, or --pre, has failed; when a hook fails, so does the backup.',
  async run(call) {
    const words = call.positionals.rest();
    const where = placeOf(words.length > 1 ? words.pop() : null);
    const { args } = call;
    const compress = args.text('compress');
    const waitMs = args.value('wait', millisecondsFrom);
    const snap = args.text('snap');
    if (args.has('full') && args.has('compare')) throw usage('--full and --compare exclude each other');
    for (const hook of ['pre', 'post'] as const) {
      if (snap === null || !args.has(hook)) continue;
      throw usage(`--${hook} and --snap exclude each other`, 'hooks run while a snapshot is made; that one is there');
    }
    const options = (source: BackupSource): BackupOptions => ({
      version,
      full: args.has('full'),
      compare: args.has('compare'),
      trim: args.has('trim'),
      tags: args.texts('tag'),
      ...(snap !== null && { snap }),
      ...(compress !== null && { level: parseCompress(compress) }),
      ...(waitMs !== null && { waitMs }),
      hooks: hooksFrom(call, source),
      signal: call.signal,
      onNotice: call.notice,
    });
    const outcomes: Outcome<Done>[] = [];
    await withRepository(call, where, async (repository) => {
      // Parts of an upload take memory of their own; to a directory the time is worth more.
      const returnsMemory = where.startsWith('s3://');
      await withSources(call, words, { outcomes, returnsMemory }, async (sources) => {
        if (snap !== null && sources.length > 1) throw usage('--snap names a snapshot of one image, not of several');
        const beganMs = performance.now();
        const run: Run = { count: sources.length, beganMs, bytesRead: 0, bytesChanged: 0, bytesStored: 0 };
        for (const [index, source] of sources.entries()) {
          let resumed: BackupResult | null = null;
          const onResumed = (result: BackupResult): void => {
            resumed = result;
            call.notice(resultText(source, result));
          };
          const work = async (): Promise<Done> => ({
            ...(await one(call, repository, source, { ...options(source), onResumed }, { ...run, index })),
            resumed,
          });
          const half = (): Done | null => resumed && { plan: null, result: null, resumed };
          const outcome = await attempt(call, source.name, work, half);
          outcomes.push(outcome);
          for (const made of [resumed, outcome.result?.result ?? null]) {
            if (made === null) continue;
            run.bytesRead += made.bytesRead;
            run.bytesChanged += made.dataBytes;
            run.bytesStored += made.storedBytes;
          }
        }
        tellAll(call, run, outcomes);
      });
    });
    return conclude(call, outcomes, ({ plan, result, resumed }) => [
      ...(plan === null ? [] : planFields(plan)),
      ...(result === null ? [] : resultFields(result)),
      optional('resumed', resumed && object(...resultFields(resumed))),
    ]);
  },
};

interface Done {
  result: BackupResult | null;
  plan: BackupPlan | null;
  /** The point of an interrupted run, which was made whole first. */
  resumed: BackupResult | null;
}

/** How many images there are, and what was done for those that are finished. */
interface Run extends Moved {
  count: number;
  beganMs: number;
}

/** One line about several images, where any was backed up. */
function tellAll(call: Call, run: Run, outcomes: readonly Outcome<Done>[]): void {
  const done = outcomes.filter(({ result }) => result?.result != null).length;
  if (done < 2) return;
  const { bytesRead, bytesChanged, bytesStored, beganMs } = run;
  const of = done === outcomes.length ? '' : ` of ${outcomes.length}`;
  call.notice(
    `${done}${of} images: ${bytesText(bytesRead)} read, ${bytesText(bytesChanged)} changed, ` +
      `${bytesText(bytesStored)} stored, ${((performance.now() - beganMs) / 1000).toFixed(1)} s`,
  );
}

/** Backs one image up, and says in one line what was done. */
async function one(
  call: Call,
  repository: Repository,
  source: BackupSource,
  options: BackupOptions,
  { count, beganMs, index, ...before }: Run & { index: number },
): Promise<Omit<Done, 'resumed'>> {
  if (call.args.has('dry-run')) {
    const plan = await dryBackup(repository, source, options);
    if (!call.args.has('json')) await call.stdout.write(`${planText(source, plan)}\n`);
    return { plan, result: null };
  }
  const progress = call.progress(`Backing up ${printable(source.name)}`);
  const backedUp = backup(repository, source, {
    ...options,
    onProgress(at) {
      const inAll = {
        images: count,
        done: index,
        elapsedMs: performance.now() - beganMs,
        bytesRead: before.bytesRead + at.bytesRead,
        bytesChanged: before.bytesChanged + at.bytesChanged,
        bytesStored: before.bytesStored + at.bytesStored,
      };
      progress.backup({ ...at, inAll: count === 1 ? null : inAll });
    },
  });
  const result = await backedUp.catch((error: unknown) => {
    if (!(error instanceof RbdeltaError) || error.code !== 'interrupted') throw error;
    const next = source.head === null ? 'the next run begins anew, and removes what is left' : 'the next run goes on';
    throw new RbdeltaError(error.code, error.message, { hint: next, cause: error });
  });
  progress.clear();
  call.notice(resultText(source, result));
  return { plan: null, result };
}

async function withSources(
  call: Call,
  words: readonly string[],
  { outcomes, returnsMemory }: { outcomes: Outcome<Done>[]; returnsMemory: boolean },
  use: (sources: BackupSource[]) => Promise<void>,
): Promise<void> {
  const files = words.filter((word) => word.startsWith('file:'));
  const rest = words.filter((word) => !word.startsWith('file:'));
  const fileSources = files.map((word) => fileBackupSource(word.slice('file:'.length)));
  if (rest.length === 0) return use(fileSources);
  const backUp = async (cluster: Cluster, pool: string): Promise<void> => {
    const specs = await matchImages(cluster, rest, pool, (word, error) => outcomes.push(failed(call, word, error)));
    await use([...specs.map((spec) => imageSource(cluster, spec)), ...fileSources]);
  };
  await withCluster(call, backUp, { returnsMemory });
}

function hooksFrom(call: Call, source: BackupSource): NonNullable<BackupOptions['hooks']> {
  const timeoutMs = call.args.value('hook-timeout', millisecondsFrom) ?? 300_000;
  const env = { ...call.env, RBDELTA_IMAGE: source.name };
  const hook = (option: 'pre' | 'post', more: { signal?: AbortSignal }) => {
    const command = call.args.text(option);
    return command === null ? {} : { [option]: () => runHook({ option, command, env, timeoutMs, ...more }) };
  };
  // An interrupt does not end --post: it undoes what --pre did.
  return { ...hook('pre', { signal: call.signal }), ...hook('post', {}) };
}

const resultText = ({ name }: BackupSource, result: BackupResult): string => {
  const { point, method, base, bytesRead, dataBytes, storedBytes, resumedBytes, seconds } = result;
  const kind = method === 'full' ? 'full' : method === 'increment' ? `since ${base}` : `compared with ${base}`;
  const resumed = resumedBytes > 0 ? `, ${bytesText(resumedBytes)} of it before it was interrupted` : '';
  return (
    `${name}: ${point} (${kind}), ${bytesText(bytesRead)} read, ${bytesText(dataBytes)} changed, ` +
    `${bytesText(storedBytes)} stored${resumed}, ${seconds.toFixed(1)} s`
  );
};

const planText = ({ name }: BackupSource, { method, base, snapshot, notice }: BackupPlan): string => {
  const kind = {
    full: 'a full',
    increment: `an increment on ${base?.id}`,
    compare: `an increment on ${base?.id}, by reading everything`,
  }[method];
  const from = snapshot.ours ? 'a snapshot that is made for it' : `the snapshot ${snapshot.name}`;
  return `${name}: ${kind}, of ${from}${notice === null ? '' : `\n  ${notice}`}`;
};

const planFields = ({ method, base, snapshot }: BackupPlan): (Field | null)[] => [
  ['method', method],
  optional('base', base?.id ?? null),
  optional('snapshot', snapshot.ours ? null : snapshot.name),
];

const resultFields = (result: BackupResult): (Field | null)[] => [
  ['point', result.point],
  ['method', result.method],
  optional('base', result.base),
  ['snapshot', result.snapshot],
  ['size', result.size],
  ['read_bytes', result.bytesRead],
  ['data_bytes', result.dataBytes],
  ['zero_bytes', result.zeroBytes],
  ['stored_bytes', result.storedBytes],
  ['resumed_bytes', result.resumedBytes],
  ['fingerprint', result.fingerprint],
  ['seconds', result.seconds],
];
