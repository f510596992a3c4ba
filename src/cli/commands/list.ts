// rbdelta ls: the images of a pool, as rbd prints them.

import { RbdeltaError } from '../../error.ts';
import type { ImageInfo, Snapshot } from '../../image/port.ts';
import { formatSpec } from '../../image/spec.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { poolFrom } from '../names.ts';
import { cluster, output } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { bytesText, type Field, list, object, optional, table } from '../print.ts';

export const command: Command = {
  positionals: ['[pool[/namespace]]'],
  options: ['pool', 'namespace', 'long', ...output, ...cluster],
  examples: [
    ['ls volumes', 'names'],
    ['ls -l volumes', 'sizes and snapshots as well'],
  ],
  async run(call) {
    const named = poolFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const shown = nameText(call);
    await withCluster(call, async (cluster, defaultPool) => {
      const pool = named.pool ?? defaultPool;
      const names = await cluster.list(pool, named.namespace);
      if (!call.args.has('long')) {
        await print(call, format, 'images', list('name', names), () =>
          names.map((name) => `${shown(name)}\n`).join(''),
        );
        return;
      }
      const images: { info: ImageInfo; lock: Lock }[] = [];
      for (const image of names) {
        if (call.signal.aborted) throw call.signal.reason;
        const spec = { pool, namespace: named.namespace, image, snap: null };
        try {
          const image = await closing(await cluster.open(spec), async (one) => ({
            info: await one.info(),
            lock: (await one.lock?.()) ?? null,
          }));
          images.push(image);
        } catch (error) {
          // Somebody may have removed it since it was listed.
          if (!(error instanceof RbdeltaError && error.code === 'notFound')) throw error;
        }
      }
      const versions = images.flatMap(versionsOf);
      const items = versions.map((version): Field => [version.snapshot === null ? 'image' : 'snapshot', tree(version)]);
      await print(call, format, 'images', { items }, () =>
        versions.length === 0
          ? ''
          : table(
              columns,
              versions.map((version) => row(version, shown)),
            ),
      );
    });
  },
};

interface Version {
  info: ImageInfo;
  lock: Lock;
  /** null: the head. */
  snapshot: Snapshot | null;
}

type Lock = 'exclusive' | 'shared' | null;

/** Of the head first: only that can be locked. */
const versionsOf = ({ info, lock }: { info: ImageInfo; lock: Lock }): Version[] => [
  { info, lock, snapshot: null },
  ...info.snapshots.filter((one) => one.namespace === 'user').map((snapshot) => ({ info, lock: null, snapshot })),
];

/** A snapshot has a parent while it sees some of it. */
const parentOf = ({ info, snapshot }: Omit<Version, 'lock'>): ImageInfo['parent'] =>
  snapshot === null || snapshot.parentOverlap !== null ? info.parent : null;

const columns = [
  { title: 'NAME', align: 'left' },
  { title: 'SIZE', align: 'right' },
  { title: 'PARENT', align: 'left' },
  { title: 'FMT', align: 'right' },
  { title: 'PROT', align: 'left' },
  { title: 'LOCK', align: 'left' },
] as const;

function row(version: Version, shown: (name: string) => string): string[] {
  const { info, lock, snapshot } = version;
  const parent = parentOf(version);
  return [
    shown(snapshot === null ? info.name : `${info.name}@${snapshot.name}`),
    bytesText((snapshot ?? info).size),
    parent === null ? '' : shown(formatSpec(parent)),
    String(info.format),
    snapshot !== null && snapshot.protection !== 'unprotected' ? 'yes' : '',
    lock === null ? '' : lock === 'exclusive' ? 'excl' : 'shr',
  ];
}

function tree({ info, lock, snapshot }: Version) {
  const parent = parentOf({ info, snapshot });
  return object(
    ['image', info.name],
    ['id', info.id],
    optional('snapshot', snapshot?.name ?? null),
    optional('snapshot_id', snapshot?.id ?? null),
    ['size', (snapshot ?? info).size],
    optional(
      'parent',
      parent === null
        ? null
        : object(
            ['pool', parent.pool],
            ['pool_namespace', parent.namespace],
            ['image', parent.image],
            ['snapshot', parent.snap],
          ),
    ),
    ['format', info.format],
    optional('protected', snapshot === null ? null : String(snapshot.protection !== 'unprotected')),
    optional('lock_type', lock),
  );
}
