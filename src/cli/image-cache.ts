// What the commands of the image cache have in common: its place, its limits, what they print of a base.

import { printable } from '../bytes/text.ts';
import type { CacheEntry, CacheLimits, CacheSpace } from '../ops/image-cache.ts';
import type { Args } from './args.ts';
import { bytesText, object, optional, type Tree } from './print.ts';
import { rateFrom, wholeNumberFrom } from './values.ts';

export const limitOptions = ['max-count', 'max-size'] as const;

export const limitsFrom = (args: Args): CacheLimits => ({
  maxCount: args.value('max-count', wholeNumberFrom),
  maxBytes: args.value('max-size', rateFrom),
});

/** `POOL[/NAMESPACE]` */
export function spaceFrom(text: string): CacheSpace | null {
  const match = /^([^/@]+)(?:\/([^/@]+))?$/u.exec(text);
  return match === null ? null : { pool: match[1] ?? '', namespace: match[2] ?? '' };
}

export const entryTree = ({ image, source, state, size, clones, usedMs }: CacheEntry): Tree =>
  object(
    ['image', image],
    optional('source', source),
    ['state', state],
    ['size', size],
    ['clones', clones],
    ['last_used', new Date(usedMs).toISOString()],
  );

export const entryRow = ({ image, source, state, size, clones, usedMs }: CacheEntry): string[] => [
  image,
  bytesText(size),
  String(clones),
  `${new Date(usedMs).toISOString().slice(0, 19)}Z`,
  state,
  printable(source ?? ''),
];
