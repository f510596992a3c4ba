// rbdelta snap ls: the snapshots of an image, as rbd prints them.

import type { Snapshot } from '../../image/port.ts';
import { withImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrIdFrom } from '../names.ts';
import { cluster, imageNames, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { bytesText, type Column, list, object, optional, table, timeText } from '../print.ts';

export const command: Command = {
  positionals: ['<image>'],
  options: [...imageNames, 'image-id', 'all', ...output, ...cluster],
  examples: [['snap ls volumes/vm-1', 'its snapshots']],
  async run(call) {
    const named = imageOrIdFrom(call.args, call.positionals, { snap: 'none' });
    const format = outputFormat(call);
    const shown = nameText(call);
    const all = call.args.has('all');
    const info = await withImage(call, named, (image) => image.info());
    const snapshots = info.snapshots.filter((snapshot) => all || snapshot.namespace === 'user');
    const trees = snapshots.map((snapshot) =>
      object(
        ['id', snapshot.id],
        ['name', snapshot.name],
        ['size', snapshot.size],
        ['protected', String(isProtected(snapshot))],
        ['timestamp', timestamp(snapshot)],
        optional(
          'namespace',
          all ? object(['type', snapshot.namespace], optional('original_name', snapshot.originalName ?? null)) : null,
        ),
      ),
    );
    const plain = (): string =>
      snapshots.length === 0
        ? ''
        : table(
            columns(all),
            snapshots.map((one) => row(one, all, shown)),
          );
    await print(call, format, 'snapshots', list('snapshot', trees), plain);
  },
};

const columns = (all: boolean): Column[] => [
  { title: 'SNAPID', align: 'right' },
  { title: 'NAME', align: 'left' },
  { title: 'SIZE', align: 'right' },
  { title: 'PROTECTED', align: 'left' },
  { title: 'TIMESTAMP', align: 'left' },
  ...(all ? [{ title: 'NAMESPACE', align: 'left' } as const] : []),
];

const row = (snapshot: Snapshot, all: boolean, shown: (name: string) => string): string[] => [
  String(snapshot.id),
  shown(snapshot.name),
  bytesText(snapshot.size),
  isProtected(snapshot) ? 'yes' : '',
  timestamp(snapshot),
  ...(all ? [namespaceText(snapshot, shown)] : []),
];

const namespaceText = ({ namespace, originalName }: Snapshot, shown: (name: string) => string): string =>
  originalName === undefined ? namespace : `${namespace} (${shown(originalName)})`;

const isProtected = (snapshot: Snapshot): boolean => snapshot.protection === 'protected';
const timestamp = (snapshot: Snapshot): string => (snapshot.createdMs === null ? '' : timeText(snapshot.createdMs));
