// The image that a command reads from: one of the cluster, or a raw file or device (`file:PATH`).

import { openFileImage } from '../image/file.ts';
import type { Image } from '../image/port.ts';
import { closing, withImage } from './cluster.ts';
import type { Call } from './command.ts';
import { type ImageOrFile, imageOrFileFrom } from './names.ts';

export const sourceFrom = ({ args, positionals }: Call): ImageOrFile => imageOrFileFrom(args, positionals);

/** Opens, calls, and closes in any case. */
export async function withSource<T>(call: Call, source: ImageOrFile, use: (image: Image) => Promise<T>): Promise<T> {
  if ('file' in source) return closing(await openFileImage(source.file), use);
  return withImage(call, source.named, use);
}

/** As messages and summaries call it. */
export const nameOf = (source: ImageOrFile): string =>
  'file' in source ? source.file : source.named.image + (source.named.snap === null ? '' : `@${source.named.snap}`);
