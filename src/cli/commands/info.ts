// rbdelta info: what an image is, as rbd prints it.

import { geometryOf, objectCount } from '../../diff/striping.ts';
import { feature, namesOfFeatures, namesOfFlags, namesOfOpFeatures } from '../../format/rbd-features.ts';
import type { ImageInfo } from '../../image/port.ts';
import { formatSpec } from '../../image/spec.ts';
import { withImage } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageOrIdFrom } from '../names.ts';
import { cluster, output, snapNames } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { bytesText, type Field, list, object, optional, type Tree, timeText } from '../print.ts';

export const command: Command = {
  positionals: ['<image[@snap]>'],
  options: [...snapNames, 'image-id', ...output, ...cluster],
  examples: [
    ['info volumes/vm-1', 'size, features, parent'],
    ['info --json volumes/vm-1@monday', 'the snapshot, to be read by a program'],
  ],
  async run(call) {
    const named = imageOrIdFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const info = await withImage(call, named, (image) => image.info());
    await print(call, format, 'image', infoTree(info), () => infoText(info, nameText(call)));
  },
};

const isStriped = (info: ImageInfo): boolean => (info.features & feature.striping) !== 0;

function infoTree(info: ImageInfo): Tree {
  const { parent, snapshot } = info;
  const names = (item: string, texts: readonly string[]): Tree => list(item, texts);
  const time = (name: string, ms: number | null): Field | null => optional(name, ms === null ? null : timeText(ms));
  const newer: Field[] =
    info.format === 1
      ? []
      : [
          ['features', names('feature', namesOfFeatures(info.features))],
          ['op_features', names('op_feature', namesOfOpFeatures(info.opFeatures))],
          ['flags', names('flag', namesOfFlags(info.flags))],
        ];
  return object(
    ['name', info.name],
    optional('id', info.format === 1 ? null : info.id),
    ['size', info.size],
    ['objects', objectCount(geometryOf(info))],
    ['order', info.order],
    ['object_size', 2 ** info.order],
    ['snapshot_count', info.snapshots.length],
    optional('data_pool', info.dataPool),
    ['block_name_prefix', info.objectPrefix],
    ['format', info.format],
    ...newer,
    time('create_timestamp', info.createdMs),
    time('access_timestamp', info.accessedMs),
    time('modify_timestamp', info.modifiedMs),
    optional('protected', snapshot === null ? null : String(snapshot.protection === 'protected')),
    optional(
      'parent',
      parent === null
        ? null
        : object(
            ['pool', parent.pool],
            ['pool_namespace', parent.namespace],
            ['image', parent.image],
            ['id', parent.imageId],
            ['snapshot', parent.snap],
            ['trash', parent.inTrash ?? false],
            ['overlap', parent.overlap],
          ),
    ),
    optional('stripe_unit', isStriped(info) ? info.stripeUnit : null),
    optional('stripe_count', isStriped(info) ? info.stripeCount : null),
    optional('snapshot_limit', info.snapshotLimit),
  );
}

function infoText(info: ImageInfo, shown: (name: string) => string): string {
  const { parent, snapshot } = info;
  const lines = [
    `size ${bytesText(info.size)} in ${objectCount(geometryOf(info))} objects`,
    `order ${info.order} (${bytesText(2 ** info.order)} objects)`,
    `snapshot_count: ${info.snapshots.length}`,
  ];
  if (info.format !== 1) lines.push(`id: ${info.id}`);
  if (info.dataPool !== null) lines.push(`data_pool: ${shown(info.dataPool)}`);
  lines.push(`block_name_prefix: ${info.objectPrefix}`, `format: ${info.format}`);
  if (info.format !== 1) {
    lines.push(
      `features: ${namesOfFeatures(info.features).join(', ')}`,
      `op_features: ${namesOfOpFeatures(info.opFeatures).join(', ')}`,
      `flags: ${namesOfFlags(info.flags).join(', ')}`,
    );
  }
  if (info.createdMs !== null) lines.push(`create_timestamp: ${timeText(info.createdMs)}`);
  if (info.accessedMs !== null) lines.push(`access_timestamp: ${timeText(info.accessedMs)}`);
  if (info.modifiedMs !== null) lines.push(`modify_timestamp: ${timeText(info.modifiedMs)}`);
  if (snapshot !== null) lines.push(`protected: ${snapshot.protection === 'protected' ? 'True' : 'False'}`);
  if (parent !== null) {
    const trash = parent.inTrash === true ? ` (trash ${parent.imageId})` : '';
    lines.push(`parent: ${shown(formatSpec(parent))}${trash}`, `overlap: ${bytesText(parent.overlap)}`);
  }
  if (isStriped(info)) lines.push(`stripe unit: ${bytesText(info.stripeUnit)}`, `stripe count: ${info.stripeCount}`);
  if (info.snapshotLimit !== null) lines.push(`snapshot_limit: ${info.snapshotLimit}`);
  return `rbd image '${shown(info.name)}':\n${lines.map((line) => `\t${line}\n`).join('')}`;
}
