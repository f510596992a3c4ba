// The words of the command line, as the bytes they are: a name in RBD need not be UTF-8.

import { readFileSync } from 'node:fs';
import { nameFromBytes } from '../bytes/text.ts';

/** The words after the program; bytes that are not UTF-8 as src/bytes/text.ts has them. */
export function commandLine(): string[] {
  const words = process.argv.slice(2);
  // Node has put U+FFFD where it could not decode.
  if (!words.some((word) => word.includes('\ufffd'))) return words;
  const bytes = readFileSync('/proc/self/cmdline');
  const raw: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = bytes.indexOf(0, at);
    raw.push(nameFromBytes(bytes.subarray(at, end)));
    at = end + 1;
  }
  return raw.slice(raw.length - words.length);
}
