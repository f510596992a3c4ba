// rbdelta du: how much images and snapshots take, as rbd prints it.

import { RbdeltaError } from '../../error.ts';
import type { Cluster, ImageInfo } from '../../image/port.ts';
import type { ImageSpec } from '../../image/spec.ts';
import { usageOf } from '../../ops/usage.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Call, Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, output, snapNames } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { bytesText, list, object, optional, table } from '../print.ts';

interface Row {
  name: string;
  id: string;
  snapshot: { name: string; id: number } | null;
  provisionedBytes: number;
  usedBytes: number;
}

export const command: Command = {
  positionals: ['[image[@snap]]'],
  options: [...snapNames, 'from-snap', 'exact', 'merge-snapshots', ...output, ...cluster],
  examples: [
    ['du volumes/vm-1', 'what each snapshot and the head added'],
    ['du --pool volumes', 'all images of a pool'],
  ],
  async run(call) {
    const { args, positionals } = call;
    const format = outputFormat(call);
    const shown = nameText(call);
    const one = args.has('image') || positionals.peek() !== null;
    const named = one ? imageFrom(args, positionals) : null;
    if (!one && args.has('from-snap')) throw new RbdeltaError('invalid', 'image name was not specified');
    const [rows, versions] = await withCluster(call, async (cluster, defaultPool) => {
      if (named !== null) return merged(call, await rowsOf(call, cluster, inPool(named, defaultPool)));
      const [pool, namespace] = [args.text('pool') ?? defaultPool, args.text('namespace') ?? ''];
      const all: Row[] = [];
      let count = 0;
      for (const image of await cluster.list(pool, namespace)) {
        if (call.signal.aborted) throw call.signal.reason;
        const [rows, versions] = merged(call, await rowsOf(call, cluster, { pool, namespace, image, snap: null }));
        all.push(...rows);
        count += versions;
      }
      return [all, count] as const;
    });
    const heads = rows.filter(({ snapshot }) => snapshot === null);
    const sum = (some: readonly Row[], field: 'provisionedBytes' | 'usedBytes') =>
      some.reduce((bytes, row) => bytes + row[field], 0);
    const [provisioned, used] = [sum(heads, 'provisionedBytes'), sum(rows, 'usedBytes')];
    const trees = rows.map((row) =>
      object(
        ['name', row.name],
        ['id', row.id],
        optional('snapshot', row.snapshot?.name ?? null),
        optional('snapshot_id', row.snapshot?.id ?? null),
        ['provisioned_size', row.provisionedBytes],
        ['used_size', row.usedBytes],
      ),
    );
    const tree = object(
      ['images', list('image', trees)],
      optional('total_provisioned_size', one ? null : provisioned),
      optional('total_used_size', one ? null : used),
    );
    const line = (name: string, provisionedBytes: number, usedBytes: number) => [
      name,
      bytesText(provisionedBytes),
      bytesText(usedBytes),
    ];
    const plain = (): string => {
      if (rows.length === 0) return '';
      const lines = rows.map((row) => line(shown(labelOf(row)), row.provisionedBytes, row.usedBytes));
      if (versions > 1) lines.push(line('<TOTAL>', provisioned, used));
      return table(columns, lines);
    };
    await print(call, format, 'stats', tree, plain);
  },
};

const columns = [
  { title: 'NAME', align: 'left' },
  { title: 'PROVISIONED', align: 'right' },
  { title: 'USED', align: 'right' },
] as const;

const labelOf = ({ name, snapshot }: Row): string => (snapshot === null ? name : `${name}@${snapshot.name}`);

/** Of one image: its snapshots, oldest first, and its head; or the one snapshot that the spec names. */
async function rowsOf(call: Call, cluster: Cluster, spec: ImageSpec): Promise<Row[]> {
  const { args, signal, notice } = call;
  const info = await closing(await cluster.open(spec), (image) => image.info());
  const user = info.snapshots.filter(({ namespace }) => namespace === 'user');
  const rows: Row[] = [];
  let from = args.text('from-snap');
  if (from !== null && !user.some(({ name }) => name === from)) {
    throw new RbdeltaError('notFound', `image '${info.name}' has no snapshot '${from}'`);
  }
  const after = user.find(({ name }) => name === from)?.id ?? 0;
  const versions = [...user.filter(({ id }) => id > after), ...(spec.snap === null ? [null] : [])];
  for (const snapshot of versions) {
    if (spec.snap !== null && info.snapshot !== null && (snapshot?.id ?? 0) > info.snapshot.id) break;
    const image = await cluster.open({ ...spec, snap: snapshot?.name ?? null });
    const options = { fromSnap: from, exact: args.has('exact'), signal, onNotice: notice };
    const usage = await closing(image, (opened) => usageOf(opened, options));
    rows.push(rowOf(info, snapshot, usage));
    from = snapshot?.name ?? null;
  }
  return spec.snap === null ? rows : rows.slice(-1);
}

/** The rows of an image as they are shown, and how many versions they are of. */
function merged({ args }: Call, rows: Row[]): [shown: Row[], versions: number] {
  const head = rows.at(-1);
  if (!args.has('merge-snapshots') || head === undefined || head.snapshot !== null) return [rows, rows.length];
  return [[{ ...head, usedBytes: rows.reduce((bytes, { usedBytes }) => bytes + usedBytes, 0) }], rows.length];
}

const rowOf = (
  { name, id }: ImageInfo,
  snapshot: Row['snapshot'],
  usage: { provisionedBytes: number; usedBytes: number },
): Row => ({ name, id, snapshot: snapshot && { name: snapshot.name, id: snapshot.id }, ...usage });
