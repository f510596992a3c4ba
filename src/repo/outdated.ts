// Readers take no lock: what they read may be rewritten or removed below them, and is whole all the same.

import { mapOrdered } from '../bytes/ordered.ts';
import type { Manifest } from '../format/manifest.ts';
import { isOfContent, readManifest } from './catalog.ts';
import type { ImageName } from './keys.ts';
import type { Repository } from './repository.ts';

/** Manifests fetched at the same time. */
const requests = 16;

/** Points of an image as they were when reading them began: a chain, or some of it. */
export interface ReadPoints {
  repository: Repository;
  image: ImageName;
  points: readonly { id: string; manifest: Manifest }[];
}

/** Whether one of the points is gone by now, or has other files: a failure to read the old ones tells nothing then. */
export async function isOutdated({ repository, image, points }: ReadPoints): Promise<boolean> {
  const looked = mapOrdered(points, requests, async ({ id, manifest }) => {
    try {
      const now = await readManifest(repository, image, id);
      return now?.index.directorySha256 !== manifest.index.directorySha256 || now.index.name !== manifest.index.name;
    } catch (error) {
      // Its manifest is damaged: that is no rewrite.
      if (!isOfContent(error)) throw error;
      return false;
    }
  });
  let found = false;
  for await (const differs of looked) found ||= differs;
  return found;
}
