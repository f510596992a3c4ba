// rbdelta repo verify: proves that points can be restored.

import { tmpdir } from 'node:os';
import { exitStatus, RbdeltaError } from '../../error.ts';
import type { Manifest } from '../../format/manifest.ts';
import { openFileImage } from '../../image/file.ts';
import type { Cluster, Image } from '../../image/port.ts';
import { type VerifiedPoint, type VerifyOptions, Verifier, type VerifyTarget } from '../../ops/repo-verify.ts';
import { images, readPoints } from '../../repo/catalog.ts';
import { findPoint } from '../../repo/find-point.ts';
import { textOf } from '../../repo/keys.ts';
import type { Repository } from '../../repo/repository.ts';
import { usage } from '../args.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { cluster } from '../options.ts';
import { list, object, optional, type Tree, toJson } from '../print.ts';
import { repositoryFrom, withRepository } from '../repository.ts';
import { s3Options } from '../s3.ts';
import { oneOf, percentFrom } from '../values.ts';
import { version } from '../version.ts';

export const command: Command = {
  positionals: ['<repository>', '[point...]'],
  options: ['level', 'percent', 'command', 'all', 'json', 'max-rate', 'no-progress', ...s3Options, ...cluster],
  describe: {
    all: 'every point, not only the newest of each image',
    'max-rate': 'bytes a second at most that are fetched, as 50M',
  },
  examples: [
    ['repo verify s3://bucket/prod', 'the newest point of each image, by metadata'],
    ['repo verify --level scrub --percent 5 /backups', 'every day: in three weeks all of it was read'],
    ['repo verify --level source /backups volumes/vm-1@latest', 'against the snapshot it was made of'],
    ['repo verify --level rehearse /backups volumes/vm-1@latest', 'restore it to a file, and check its file system'],
    ["repo verify --level rehearse --command 'guestfish …' /backups vm-1@latest", 'the path is in $RBDELTA_IMAGE'],
  ],
  notes:
    'audit (the default): the chain is there, every file has its length, indexes are right and show the fingerprint. ' +
    'scrub: also every frame of the chain is fetched and decompressed; with --percent a share of each point, going on ' +
    'where the last one ended, and from the beginning when all was read. source: the blocks of the snapshot have the digests of the point; nothing is fetched. ' +
    'rehearse: restored to a file in TMPDIR, compared, and checked by --command, or by what checks its file system. ' +
    'Results are written to the repository. Status 74: something is damaged.',
  async run(call) {
    const where = repositoryFrom(call);
    const points = call.positionals.rest();
    const options = optionsFrom(call);
    return withRepository(call, where, async (repository) => {
      const targets = await targetsOf(call, repository, points);
      if (options.level !== 'source') return verifyAll(call, repository, targets, options);
      return withSources(call, targets, (openSource) =>
        verifyAll(call, repository, targets, { ...options, openSource }),
      );
    });
  },
};

function optionsFrom(call: Call): VerifyOptions {
  const { args } = call;
  const level = args.value('level', oneOf('audit', 'scrub', 'source', 'rehearse')) ?? 'audit';
  const percent = args.value('percent', percentFrom);
  const text = args.text('command');
  if (percent !== null && level !== 'scrub') throw usage('--percent is for --level scrub');
  if (text !== null && level !== 'rehearse') throw usage('--command is for --level rehearse');
  return {
    level,
    ...(percent !== null && { percent }),
    rehearse: { directory: call.env['TMPDIR'] ?? tmpdir(), env: call.env, ...(text !== null && { command: text }) },
    version,
    signal: call.signal,
    onNotice: call.notice,
  };
}

/** Those that are named; else the newest of each image, or all. */
async function targetsOf(call: Call, repository: Repository, names: readonly string[]): Promise<VerifyTarget[]> {
  const targets: VerifyTarget[] = [];
  for (const name of names) {
    const { image, entry, points } = await findPoint(repository, name, { nowMs: Date.now(), onDamaged: () => {} });
    targets.push({ image, point: entry.id, points });
  }
  if (names.length > 0) return targets;
  for await (const image of images(repository)) {
    // One whose manifest cannot be read is verified as well: that it cannot is what there is to tell.
    const unreadable: string[] = [];
    const points = await readPoints(repository, image, (point) => unreadable.push(point));
    const ids = [...points.map(({ id }) => id), ...unreadable].sort();
    targets.push(...(call.args.has('all') ? ids : ids.slice(-1)).map((point) => ({ image, point, points })));
  }
  return targets;
}

type Opener = NonNullable<VerifyOptions['openSource']>;

/** Connects to a cluster only where a point is of an image of one. */
async function withSources<T>(
  call: Call,
  targets: readonly VerifyTarget[],
  use: (openSource: Opener) => Promise<T>,
): Promise<T> {
  const opener =
    (cluster: Cluster | null): Opener =>
    async ({ image, snapshot }: Manifest): Promise<Image> => {
      if (image.id === '' || cluster === null) return openFileImage(image.name);
      return cluster.open({ pool: image.pool, namespace: image.namespace, image: image.name, snap: snapshot.name });
    };
  const isFile = ({ point, points }: VerifyTarget): boolean => points.find(({ id }) => id === point)?.imageId === '';
  if (targets.every(isFile)) return use(opener(null));
  return withCluster(call, (cluster) => use(opener(cluster)));
}

interface Outcome {
  target: VerifyTarget;
  found: VerifiedPoint | null;
  error: RbdeltaError | null;
}

async function verifyAll(
  call: Call,
  repository: Repository,
  targets: readonly VerifyTarget[],
  options: VerifyOptions,
): Promise<number> {
  const json = call.args.has('json');
  const outcomes: Outcome[] = [];
  let progress = call.progress('Verifying');
  const verifier = new Verifier(repository, {
    ...options,
    onProgress: (done, total) => progress.update(done, total),
  });
  await closing(verifier, async () => {
    for (const target of targets) {
      progress = call.progress(`Verifying ${nameOf(target)}`);
      const outcome: Outcome = { target, found: null, error: null };
      outcomes.push(outcome);
      try {
        outcome.found = await verifier.verify(target);
      } catch (error) {
        if (!(error instanceof RbdeltaError) || error.code === 'interrupted') throw error;
        outcome.error = error;
      }
      progress.clear();
      if (!json) await call.stdout.write(textOfOutcome(outcome));
    }
  });
  if (json) await call.stdout.write(toJson(list('point', outcomes.map(treeOf)), false));
  if (outcomes.some(({ found }) => found?.ok === false)) return exitStatus.corrupt;
  const failed = outcomes.find(({ error }) => error !== null)?.error;
  return failed ? exitStatus[failed.code] : 0;
}

const nameOf = ({ image, point }: VerifyTarget): string => `${textOf(image)}@${point}`;

function textOfOutcome({ target, found, error }: Outcome): string {
  if (found === null) {
    const hint = error?.hint === undefined ? '' : `\n  hint: ${error.hint}`;
    return `${nameOf(target)}: not verified: ${error?.message}${hint}\n`;
  }
  if (found.ok) return `${nameOf(target)}: ${found.level}: ok: ${found.what}\n`;
  const lines = [
    `${nameOf(target)}: ${found.level}: DAMAGED: ${found.what}`,
    ...found.damages.slice(1).map(({ point, message }) => `  also ${point}: ${message}`),
    `  cannot be restored: ${found.affected.join(' ') || 'none'}`,
    `  nothing is known against: ${found.unaffected.join(' ') || 'none'}`,
  ];
  return `${lines.join('\n')}\n`;
}

const treeOf = ({ target, found, error }: Outcome): Tree =>
  object(
    ['image', textOf(target.image)],
    ['point', target.point],
    ['ok', found?.ok ?? false],
    optional('error', error?.message ?? null),
    ...(found === null
      ? []
      : ([
          ['level', found.level],
          ['percent', found.percent],
          ['what', found.what],
          [
            'damages',
            list(
              'damage',
              found.damages.map((one) => object(['point', one.point], ['what', one.message])),
            ),
          ],
          ['affected', list('point', found.affected)],
          ['unaffected', list('point', found.unaffected)],
        ] as const)),
  );
