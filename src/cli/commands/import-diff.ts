// rbdelta import-diff: applies a diff stream, or a chain of them, to an image.

import { ByteReader } from '../../bytes/reader.ts';
import { printable } from '../../bytes/text.ts';
import { RbdeltaError } from '../../error.ts';
import { openFileToWrite } from '../../image/file.ts';
import type { Image, WritableImage } from '../../image/port.ts';
import { formatSpec } from '../../image/spec.ts';
import {
  type ImportDiffOptions,
  type ImportedDiff,
  type ImportPlan,
  type ImportResult,
  importDiff,
} from '../../ops/import-diff.ts';
import { withState } from '../../ops/undo.ts';
import { closing, withWritableImage } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { type ImageOrFile, imageOrFileFrom, pathFrom } from '../names.ts';
import { cluster, imageNames } from '../options.ts';
import { bytesText, list, object, optional, type Tree, toJson } from '../print.ts';
import { s3Options } from '../s3.ts';
import { lengthOf, sourceAt, sparseBytes } from '../streams.ts';

export const command: Command = {
  positionals: ['<path>', '<image>'],
  options: [
    'path',
    ...imageNames,
    'sparse-size',
    'rollback',
    'force',
    'skip-existing',
    'overwrite',
    'dry-run',
    'max-rate',
    'json',
    'no-progress',
    ...s3Options,
    ...cluster,
  ],
  examples: [
    ['import-diff mon-tue.rbdiff backups/vm-1', 'apply an increment; the image has the snapshot mon'],
    ['import-diff - backups/vm-1 < chain', 'apply several diffs in turn'],
    ['import-diff --dry-run s3://bucket/vm-1/tue.rbdiff.zst backups/vm-1', 'would it apply, and is it whole?'],
    ['import-diff full.rbdiff file:/dev/vg/lv', 'onto a raw file or block device'],
  ],
  notes:
    'Checked before the first write: the header, the size, the base snapshot, and that HEAD still equals it. ' +
    'A failure leaves the image as it was, unless --force or --overwrite. --dry-run prints what would be done. zstd is ' +
    'recognised. file:PATH has no snapshots: none is made; an increment must follow its base in the same input, or ' +
    'needs --force, and cannot be undone.',
  async run(call) {
    const path = pathFrom(call.args, call.positionals);
    const target = imageOrFileFrom(call.args, call.positionals, { snap: 'none' });
    const openSource = sourceAt(call, path);
    const sparse = sparseBytes(call);
    const result = await withTarget(call, target, async (image, openAtSnap, told) => {
      return closing(new ByteReader(await openSource()), async (reader) => {
        const total = await lengthOf(path);
        const progress = call.progress('Importing image diff');
        const done = await importDiff(image, openAtSnap, reader, {
          rollback: call.args.has('rollback'),
          force: call.args.has('force'),
          overwrite: call.args.has('overwrite'),
          skipExisting: call.args.has('skip-existing'),
          dryRun: call.args.has('dry-run'),
          ...sparse,
          ...told,
          signal: call.signal,
          onNotice: call.notice,
          onProgress: (bytes) => progress.update(bytes, total),
        });
        progress.finish(summary(done, call.args.has('dry-run')));
        return done;
      });
    });
    if (call.args.has('json')) await call.stdout.write(toJson(tree(result), false));
    else if (call.args.has('dry-run')) await call.stdout.write(result.diffs.map(planLine).join(''));
  },
};

type Use<T> = (
  image: WritableImage,
  openAtSnap: (snap: string) => Promise<Image>,
  told: Pick<ImportDiffOptions, 'name' | 'isNew' | 'onApplied'>,
) => Promise<T>;

function withTarget<T>(call: Call, target: ImageOrFile, use: Use<T>): Promise<T> {
  if ('file' in target) return withFile(target.file, use);
  return withWritableImage(call, target.named, (image, spec, cluster) =>
    use(image, (snap) => cluster.open({ ...spec, snap }), { name: formatSpec({ ...spec, snap: null }) }),
  );
}

/** A file that was not there before stays only when a whole diff was applied to it. */
async function withFile<T>(path: string, use: Use<T>): Promise<T> {
  const noSnapshots = (snap: string): Promise<Image> =>
    Promise.reject(new RbdeltaError('invalid', `'${path}' is a file and has no snapshot '${printable(snap)}'`));
  const file = await openFileToWrite(path);
  let applied = 0;
  const told = { name: `file:${path}`, isNew: file.created, onApplied: () => void (applied += 1) };
  const close = (): Promise<void> => (applied > 0 ? file.close() : file.discard());
  let result: T;
  try {
    result = await use(file, noSnapshots, told);
  } catch (error) {
    const failed = await close().then(
      () => null,
      (reason: unknown) => `closing it failed too: ${reason instanceof Error ? reason.message : String(reason)}`,
    );
    throw withState(error, failed);
  }
  await close();
  return result;
}

function summary({ diffs }: ImportResult, dry: boolean): string {
  const written = diffs.reduce((sum, diff) => sum + diff.writtenBytes, 0);
  const zeroed = diffs.reduce((sum, diff) => sum + diff.zeroedBytes, 0);
  const skipped = diffs.filter((diff) => diff.skipped).length;
  const count = diffs.length === 1 ? 'one diff' : `${diffs.length} diffs`;
  const what = `${bytesText(written)} written, ${bytesText(zeroed)} zeroed${skipped > 0 ? `, ${skipped} skipped` : ''}`;
  return dry ? `checked ${count}, nothing written` : `imported ${count}: ${what}`;
}

/** What would be done for one diff. */
function planLine({ plan }: ImportedDiff): string {
  const from = plan.fromSnap === null ? 'nothing' : `"${printable(plan.fromSnap)}"`;
  const to = plan.toSnap === null ? 'HEAD' : `"${printable(plan.toSnap)}"`;
  const steps: string[] = (['skip', 'rollback', 'clear', 'protect'] as const).filter((step) => plan[step]);
  if (!plan.skip && plan.toSnap !== null && !plan.createSnapshot) steps.push('no snapshot');
  const size = plan.skip ? plan.oldSize : plan.size;
  return `${[`${from} -> ${to}`, `size ${plan.oldSize} -> ${size}`, ...steps].join(', ')}\n`;
}

const planTree = (plan: ImportPlan): Tree =>
  object(
    ['old_size', plan.oldSize],
    ['size', plan.skip ? plan.oldSize : plan.size],
    ['skip', plan.skip],
    ['rollback', plan.rollback],
    ['clear', plan.clear],
    ['create_snapshot', plan.createSnapshot],
    ['protect', plan.protect],
  );

const tree = ({ diffs }: ImportResult): Tree =>
  object([
    'diffs',
    list(
      'diff',
      diffs.map((diff) =>
        object(
          optional('from_snap', diff.fromSnap),
          optional('to_snap', diff.toSnap),
          ['size', diff.size],
          ['skipped', diff.skipped],
          ['records', diff.records],
          ['written_bytes', diff.writtenBytes],
          ['zeroed_bytes', diff.zeroedBytes],
          ['plan', planTree(diff.plan)],
        ),
      ),
    ),
  ]);
