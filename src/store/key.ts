// What a key of a store may be, the same for every adapter: names that mean nothing to a file system or to S3.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';

/** No part is empty, `.`, `..`, or hidden: hidden names are for the files of an adapter. */
const part = /^[A-Za-z0-9_%+-][A-Za-z0-9_.%+-]*$/;

/** Whether it can be the key of an object. What is not is invisible in lists: nothing of ours is called so. */
export const isKey = (key: string): boolean => key.split('/').every((name) => part.test(name));

/** Refuses what is no key as `invalid`: keys are made of names that were read from the store, too. */
export function checkKey(key: string): void {
  if (!isKey(key)) throw new RbdeltaError('invalid', `"${printable(key)}" cannot be the name of an object`);
}

/** Refuses as `invalid` what no key can begin with. '' is the beginning of all of them. */
export function checkPrefix(prefix: string): void {
  if (prefix === '' || isKey(prefix) || (prefix.endsWith('/') && isKey(prefix.slice(0, -1)))) return;
  throw new RbdeltaError('invalid', `"${printable(prefix)}" cannot be the beginning of names of objects`);
}

/** The folder of a key or of a folder, with its `/`; '' is the store itself. */
export const folderOf = (key: string): string => key.slice(0, key.lastIndexOf('/', key.length - 2) + 1);
