// What is backed up: an image of a cluster, at a snapshot; or a raw file or block device, as it is.

import { resolve } from 'node:path';
import { openFileImage } from '../image/file.ts';
import type { Cluster, Image, WritableImage } from '../image/port.ts';
import type { ImageSpec } from '../image/spec.ts';
import { formatSpec } from '../image/spec.ts';
import type { ImageName } from '../repo/keys.ts';

export interface BackupSource {
  /** As the repository names it. */
  image: ImageName;
  /** As messages name it. */
  name: string;
  /** null where there can be no snapshots. The caller closes what it opens. */
  head: (() => Promise<WritableImage>) | null;
  /** The image at a snapshot; where there are none, as it is. */
  open(snap: string): Promise<Image>;
  metadata(): Promise<Map<string, string>>;
}

/** `spec.snap` is left out: a backup chooses its own. The cluster stays open. */
export const imageSource = (cluster: Cluster, spec: ImageSpec): BackupSource => ({
  image: { pool: spec.pool, namespace: spec.namespace, image: spec.image },
  name: formatSpec({ ...spec, snap: null }),
  head: () => cluster.openToWrite({ ...spec, snap: null }),
  open: (snap) => cluster.open({ ...spec, snap }),
  metadata: () => cluster.metadata({ ...spec, snap: null }),
});

/** The caller sees to it that nobody writes to it meanwhile. */
export const fileBackupSource = (path: string): BackupSource => ({
  image: { pool: 'file', namespace: '', image: resolve(path) },
  name: `file:${path}`,
  head: null,
  open: () => openFileImage(path),
  metadata: async () => new Map(),
});
