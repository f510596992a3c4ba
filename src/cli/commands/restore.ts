// rbdelta restore: a point of a repository becomes an image, a file or a stream of bytes.

import { counted } from '../../bytes/text.ts';
import { openFileImage } from '../../image/file.ts';
import type { Image } from '../../image/port.ts';
import {
  dryRestore,
  dryRestoreToFile,
  dryRestoreToImage,
  type Restored,
  type RestoreOptions,
  restoreOverFile,
  restoreOverImage,
  restoreToFile,
  restoreToImage,
  restoreToSink,
} from '../../ops/restore.ts';
import { withSteadyChain } from '../../ops/restore-again.ts';
import { createSink } from '../../ops/path.ts';
import type { Chain } from '../../repo/chain.ts';
import { chainIds, findPoint } from '../../repo/find-point.ts';
import { textOf } from '../../repo/keys.ts';
import { RbdeltaError } from '../../error.ts';
import { usage } from '../args.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { creationFrom } from '../creation.ts';
import { imageFrom, inPool, type NamedImage } from '../names.ts';
import { cluster, creation } from '../options.ts';
import { bytesText, list, object, type Tree, toJson } from '../print.ts';
import { pointFrom, repositoryFrom, withRepository } from '../repository.ts';
import { s3Options } from '../s3.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>', '<target>'],
  options: ['in-place', 'force', 'dry-run', 'json', 'max-rate', 'no-progress', ...s3Options, ...creation, ...cluster],
  describe: {
    force: 'in place: also below clients that have the image open',
    'dry-run': 'say what would be fetched and written, write nothing',
    'max-rate': 'bytes a second at most that are fetched, as 50M',
  },
  examples: [
    ['restore s3://bucket/prod volumes/vm-1@latest volumes/vm-1-restored', 'a new image'],
    ['restore --in-place /backups volumes/vm-1@3d volumes/vm-1', 'back to three days ago: only what differs'],
    ['restore /backups vm-1@2026-11-20 file:vm-1.raw', 'a new file; file:/dev/vg/lv with --in-place'],
    ['restore /backups 20261120T020000Z-3fa90c - | qemu-img convert …', 'raw bytes, in order'],
  ],
  notes:
    'A point is pool/image@latest, @2026-11-20, @2026-11-20T13:05, @3d (at least three days old), @SNAPSHOT, or its id; ' +
    'times are UTC. Its chain is proved from the indexes before anything is written, and each frame when it is fetched. A ' +
    'new image gets the properties and the metadata of the old one, as far as the cluster has them; it is removed again ' +
    'if the restore fails. --in-place overwrites the head, reads it, and writes blocks of 64 KiB that differ; snapshots ' +
    'stay. If that fails, the target is a mixture, and the same command goes on.',
  async run(call) {
    const { args } = call;
    const where = repositoryFrom(call);
    const point = pointFrom(call);
    const target = targetFrom(call);
    if ('stdout' in target && args.has('json')) throw usage('--json and a stream cannot both go to standard output');
    if (args.has('force') && !args.has('in-place')) throw usage('--force is for --in-place');
    if ('stdout' in target && args.has('in-place')) throw usage('--in-place is for images, files and devices');
    await withRepository(call, where, async (repository) => {
      const { image, entry, points } = await findPoint(repository, point, {
        nowMs: Date.now(),
        // one that does not concern this point is no reason to keep it back
        onDamaged: (_, error) => call.notice(`${error.message} (rbdelta repo check)`),
      });
      const chainOf = { image, point: entry.id, expected: chainIds(points, entry.id) };
      const act = args.has('dry-run') ? showPlan : restore;
      await withSteadyChain(repository, chainOf, (chain) => act(call, chain, target), call.notice);
    });
  },
};

type Target = { stdout: true } | { file: string } | { named: NamedImage };

function targetFrom({ args, positionals }: Call): Target {
  const text = positionals.peek();
  if (text === '-') return { stdout: true };
  if (text?.startsWith('file:')) return { file: text.slice('file:'.length) };
  if (text !== null && /^\.{0,2}\//u.test(text)) {
    throw new RbdeltaError('invalid', `'${text}' is not the name of an image`, { hint: `a file is file:${text}` });
  }
  const rules = args.has('in-place') ? 'existing' : 'new';
  if (text?.includes('@')) {
    throw new RbdeltaError('invalid', `'${text}' is a snapshot: a point is restored to an image`, {
      hint: `${text.slice(0, text.indexOf('@'))}, or another name; rbdelta snap create makes a snapshot of it then`,
    });
  }
  return { named: imageFrom(args, positionals, { snap: 'none', rules }) };
}

async function restore(call: Call, chain: Chain, target: Target): Promise<void> {
  const inPlace = call.args.has('in-place');
  const { options, finish } = shown(call);
  const result = await (async (): Promise<Restored> => {
    if ('stdout' in target) return restoreToSink(chain, await createSink('-', { signal: call.signal }), options);
    if ('file' in target) return (inPlace ? restoreOverFile : restoreToFile)(chain, target.file, options);
    const create = creationFrom(call);
    return withCluster(call, (cluster, pool) => {
      const spec = inPool(target.named, pool);
      return inPlace
        ? restoreOverImage(chain, cluster, spec, options)
        : restoreToImage(chain, cluster, spec, create, options);
    });
  })();
  // Whoever takes the bytes from a pipe takes them as from rbd.
  if ('stdout' in target) finish(summary(chain, result));
  else call.notice(`${summary(chain, result)}, ${result.seconds.toFixed(1)} s`);
  if (call.args.has('json')) await call.stdout.write(toJson(resultTree(chain, result), false));
}

/** Progress of the steps, one after the other. */
function shown(call: Call): { options: RestoreOptions; finish: (summary: string) => void } {
  let step: 'compare' | 'write' = 'write';
  let progress = call.progress('Restoring');
  return {
    options: {
      signal: call.signal,
      force: call.args.has('force'),
      onNotice: call.notice,
      onProgress: (now, done, total) => {
        if (now !== step) {
          progress.clear();
          progress = call.progress(now === 'compare' ? 'Comparing' : 'Restoring');
          step = now;
        }
        progress.update(done, total);
      },
    },
    finish: (text) => progress.finish(text),
  };
}

const summary = (chain: Chain, { compared, fetchedBytes, writtenBytes, zeroedBytes }: Restored): string =>
  `restored ${chain.points.at(-1)?.id} of ${textOf(chain.image)}: ${bytesText(fetchedBytes)} fetched, ` +
  `${bytesText(writtenBytes)} written${zeroedBytes > 0 ? `, ${bytesText(zeroedBytes)} zeroed` : ''}` +
  `${compared === null ? '' : `, ${bytesText(compared.bytesRead)} compared`}`;

/** What would be done: of a target in place it is read what differs. */
async function showPlan(call: Call, chain: Chain, target: Target): Promise<void> {
  const { options } = shown(call);
  const dry = (image: Image | null) => dryRestore(chain, image, options);
  const plan = await (async () => {
    if ('stdout' in target) return dry(null);
    const inPlace = call.args.has('in-place');
    if ('file' in target)
      return inPlace ? closing(await openFileImage(target.file), dry) : dryRestoreToFile(chain, target.file, options);
    const create = creationFrom(call);
    return withCluster(call, async (cluster, pool) => {
      const spec = inPool(target.named, pool);
      return inPlace
        ? closing(await cluster.open(spec), dry)
        : dryRestoreToImage(chain, cluster, spec, create, options);
    });
  })();
  const used = plan.points.filter(({ frames }) => frames > 0);
  if (call.args.has('json')) {
    const points = used.map(({ id, frames, bytes }) => object(['point', id], ['frames', frames], ['bytes', bytes]));
    const tree = object(
      ['point', chain.points.at(-1)?.id ?? ''],
      ['image', textOf(chain.image)],
      ['target', targetText(target)],
      ['size', plan.size],
      ['chain', chain.points.length],
      ['frames', plan.frames],
      ['fetch_bytes', plan.fetchBytes],
      ['write_bytes', plan.dataBytes],
      ['differing_blocks', plan.compared?.blocks ?? 0],
      ['compared_bytes', plan.compared?.bytesRead ?? 0],
      ['from', list('point', points)],
    );
    await call.stdout.write(toJson(tree, false));
    return;
  }
  const lines = [
    `${textOf(chain.image)} at ${chain.points.at(-1)?.id}: ${bytesText(plan.size)}, a chain of ${chain.points.length}`,
    `${call.args.has('in-place') ? 'over' : 'to a new'} ${targetText(target)}`,
    ...(plan.compared === null ? [] : [`${plan.compared.blocks} blocks of 64 KiB differ from it`]),
    `to fetch: ${bytesText(plan.fetchBytes)} in ${counted(plan.frames, 'frame')}; to write: ${bytesText(plan.dataBytes)}`,
    ...used.map(({ id, frames, bytes }) => `  ${id}: ${bytesText(bytes)} in ${counted(frames, 'frame')}`),
  ];
  await call.stdout.write(`${lines.join('\n')}\n`);
}

function targetText(target: Target): string {
  if ('stdout' in target) return 'stream';
  if ('file' in target) return `file:${target.file}`;
  const { pool, namespace, image } = target.named;
  return [pool, namespace, image].filter((part) => part !== null && part !== '').join('/');
}

const resultTree = (chain: Chain, result: Restored): Tree =>
  object(
    ['point', chain.points.at(-1)?.id ?? ''],
    ['image', textOf(chain.image)],
    ['size', result.size],
    ['chain', result.points],
    ['frames', result.frames],
    ['fetched_bytes', result.fetchedBytes],
    ['written_bytes', result.writtenBytes],
    ['zeroed_bytes', result.zeroedBytes],
    ['differing_blocks', result.compared?.blocks ?? 0],
    ['compared_bytes', result.compared?.bytesRead ?? 0],
    ['seconds', result.seconds],
  );
