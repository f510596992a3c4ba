// rbdelta repo cat: the diff stream of a point, or between two points.

import { RbdeltaError } from '../../error.ts';
import { catBetween, catPoint } from '../../ops/repo-cat.ts';
import { entryAt, findPoint, type FoundPoint } from '../../repo/find-point.ts';
import { textOf } from '../../repo/keys.ts';
import type { Repository } from '../../repo/repository.ts';
import { usage } from '../args.ts';
import type { Command } from '../command.ts';
import { bytesText, object, toJson } from '../print.ts';
import { pointFrom, repositoryFrom, storeOptions, withRepository } from '../repository.ts';
import { printsResult, sinkAt } from '../streams.ts';

export const command: Command = {
  positionals: ['<repository>', '<point>', '[path]'],
  options: ['path', 'from', 'full', 'compress', 'json', 'no-progress', ...storeOptions],
  describe: { full: 'the whole image at that point, as a diff from nothing' },
  examples: [
    ['repo cat /backups vm-1@latest | rbd import-diff - volumes/vm-1', 'what the point changed, as it was stored'],
    ['repo cat --from 2026-11-01 /backups vm-1@latest november.rbdiff', 'what several points changed, as one diff'],
    ['repo cat --full /backups vm-1@3d - | rbd import-diff - volumes/new', 'all of it, for an empty image'],
  ],
  notes:
    'The path is standard output unless it is given. Without --from and --full the stream is, byte for byte, what the ' +
    'segments of the point decompress to. --from names a point of the same image: its id, a day, an age, a snapshot.',
  async run(call) {
    const { args } = call;
    const where = repositoryFrom(call);
    const point = pointFrom(call);
    const path = args.text('path') ?? call.positionals.take() ?? '-';
    const from = args.text('from');
    if (from !== null && args.has('full')) throw usage('--from and --full exclude each other');
    const json = printsResult(call, path);
    const openSink = sinkAt(call, path);
    const progress = call.progress('Reading point');
    const options = {
      signal: call.signal,
      onNotice: call.notice,
      onProgress: (done: number, total: number | null) => progress.update(done, total),
    };
    const result = await withRepository(call, where, async (repository) => {
      const nowMs = Date.now();
      const onDamaged = (_: string, error: RbdeltaError): void => call.notice(error.message);
      const found = await findPoint(repository, point, { nowMs, onDamaged });
      if (from === null && !args.has('full')) return catPoint(repository, found, openSink, options);
      const start = from === null ? null : await startOf(repository, found, from, nowMs);
      return catBetween(repository, found, start, openSink, options);
    });
    const { streamBytes, dataBytes, zeroBytes, records } = result;
    progress.finish(`wrote ${records} records, ${bytesText(dataBytes)} of data, ${bytesText(zeroBytes)} of zeros`);
    if (!json) return;
    const tree = object(
      ['records', records],
      ['data_bytes', dataBytes],
      ['zero_bytes', zeroBytes],
      ['stream_bytes', streamBytes],
    );
    await call.stdout.write(toJson(tree, false));
  },
};

/** `text` is what may follow the @ of a point, or a whole name of a point of the same image. */
async function startOf(
  repository: Repository,
  { image, points }: FoundPoint,
  text: string,
  nowMs: number,
): Promise<string> {
  if (!text.includes('@')) return entryAt(points, text, image, nowMs).id;
  const other = await findPoint(repository, text, { nowMs, onDamaged: () => {} });
  if (textOf(other.image) === textOf(image)) return other.entry.id;
  throw new RbdeltaError('invalid', `${text} is a point of ${textOf(other.image)}, not of ${textOf(image)}`);
}
