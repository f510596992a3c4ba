// rbdelta children: the clones of an image or snapshot, as rbd prints them.

import { RbdeltaError } from '../../error.ts';
import type { Child, Cluster } from '../../image/port.ts';
import { formatSpec, type ImageSpec } from '../../image/spec.ts';
import { closing, withCluster } from '../cluster.ts';
import type { Command } from '../command.ts';
import { imageFrom, inPool } from '../names.ts';
import { cluster, output, snapNames } from '../options.ts';
import { nameText, outputFormat, print } from '../output.ts';
import { list, object, optional } from '../print.ts';
import { wholeNumberFrom } from '../values.ts';

export const command: Command = {
  positionals: ['<image[@snap]>'],
  options: [...snapNames, 'snap-id', 'all', 'descendants', ...output, ...cluster],
  describe: { all: 'those in the trash as well' },
  examples: [
    ['children volumes/base@v1', 'what was cloned from the snapshot'],
    ['children --descendants volumes/base', 'from any of its snapshots, and from those clones'],
  ],
  async run(call) {
    const named = imageFrom(call.args, call.positionals);
    const format = outputFormat(call);
    const shown = nameText(call);
    const all = call.args.has('all');
    const snapId = call.args.value('snap-id', wholeNumberFrom);
    if (snapId !== null && named.snap !== null) {
      throw new RbdeltaError('invalid', 'trying to access snapshot using both name and id');
    }
    const found = await withCluster(call, async (cluster, pool) => {
      const spec = inPool(named, pool);
      if (snapId !== null) spec.snap = await snapshotName(cluster, spec, snapId);
      return call.args.has('descendants') ? descendants(cluster, spec) : cluster.children(spec);
    });
    const children = found.filter((child) => all || !child.inTrash);
    const trees = children.map((child) =>
      object(
        ['pool', child.pool],
        ['pool_namespace', child.namespace],
        ['image', child.image],
        optional('id', all ? child.id : null),
        optional('trash', all ? child.inTrash : null),
      ),
    );
    const line = (child: Child): string =>
      `${shown(formatSpec({ pool: child.pool, namespace: child.namespace, image: child.image, snap: null }))}${child.inTrash ? ` (trash ${child.id})` : ''}\n`;
    await print(call, format, 'children', list('child', trees), () => children.map(line).join(''));
  },
};

async function snapshotName(cluster: Cluster, spec: ImageSpec, id: number): Promise<string | null> {
  const { snapshots } = await closing(await cluster.open(spec), (image) => image.info());
  const found = snapshots.find((snapshot) => snapshot.id === id);
  if (found === undefined) throw new RbdeltaError('notFound', `there is no snapshot with the id ${id}`);
  return found.name;
}

async function descendants(cluster: Cluster, spec: ImageSpec): Promise<Child[]> {
  const found: Child[] = [];
  for (const child of await cluster.children(spec)) {
    const { pool, namespace, id } = child;
    found.push(child, ...(await descendants(cluster, { pool, namespace, image: '', id, snap: null })));
  }
  return found;
}
