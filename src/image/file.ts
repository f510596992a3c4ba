// A raw file or block device as an image: source of a full, and target. No snapshots, no object map.

import type { Image, WritableImage } from './port.ts';

/** Opens to read. 'notFound', 'permission'. */
export const openFileImage = (path: string): Promise<Image> => {
  throw new Error(`not yet: ${path}`);
};

/**
 * Opens to write; a regular file that is not there is created, empty or with `size` bytes of holes. With `exclusive`,
 * one that is there is refused ('exists').
 */
export const openFileToWrite = (
  path: string,
  options: { size?: number; exclusive?: boolean } = {},
): Promise<WritableImage> => {
  throw new Error(`not yet: ${path} ${options.size}`);
};
