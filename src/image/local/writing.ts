// What the parts of an image that is open to write share, and how its header is changed.

import type { RbdHeader } from '../../format/rbd-header.ts';
import { loadHeader, storeHeader } from './header.ts';
import { ImageMaps } from './image-maps.ts';
import type { OpenImage } from './image.ts';
import type { Use } from './reserve.ts';
import type { SnapContext } from './snapset.ts';
import { ObjectWriter } from './writer.ts';

export interface Writing {
  opened: OpenImage;
  writer: ObjectWriter;
  maps: ImageMaps;
  /** Changes the header and whatever goes with it in one transaction. */
  change: (action: (header: RbdHeader) => void, use?: Use) => void;
}

/** By who holds the image's lock; `session` is the lock's. */
export function startWriting(opened: OpenImage, session: number): Writing {
  const { store, image } = opened;
  const header = loadHeader(store, image);
  const maps = new ImageMaps(store, image, header);
  const writer = new ObjectWriter(opened, session, maps, contextOf(header));
  const change = (action: (header: RbdHeader) => void, use?: Use): void => {
    store.transact(() => {
      const now = loadHeader(store, image);
      action(now);
      storeHeader(store, image, now);
    }, use);
    maps.forget();
    writer.context = contextOf(loadHeader(store, image));
  };
  return { opened, writer, maps, change };
}

function contextOf(header: RbdHeader): SnapContext {
  return { seq: header.snapSeq, snaps: header.snapshots.map((snap) => snap.id) };
}
