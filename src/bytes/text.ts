// Names as RBD keeps them, any bytes, as strings and back without loss (as PEP 383 does it).

import { isUtf8 } from 'node:buffer';
import { RbdeltaError } from '../error.ts';

const escapeBase = 0xdc00;

/** UTF-8; each byte that is not part of valid UTF-8 becomes the lone surrogate U+DC00 + byte (U+DC80..U+DCFF). */
export function nameFromBytes(bytes: Uint8Array): string {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (isUtf8(buffer)) return buffer.toString('utf8');
  let name = '';
  for (let i = 0; i < buffer.length; ) {
    const length = sequenceLength(buffer[i]!);
    const sequence = buffer.subarray(i, i + length);
    if (sequence.length === length && isUtf8(sequence)) {
      name += sequence.toString('utf8');
      i += length;
    } else {
      name += String.fromCharCode(escapeBase + buffer[i]!);
      i += 1;
    }
  }
  return name;
}

/** The opposite of `nameFromBytes`. A lone surrogate that is not one of its escapes is refused as `invalid`. */
export function nameToBytes(name: string): Buffer {
  if (!loneSurrogate.test(name)) return Buffer.from(name, 'utf8');
  const parts: Buffer[] = [];
  for (const character of name) {
    const code = character.charCodeAt(0);
    if (character.length > 1 || code < 0xd800 || code > 0xdfff) parts.push(Buffer.from(character, 'utf8'));
    else if (isEscape(code)) parts.push(Buffer.of(code - escapeBase));
    else throw new RbdeltaError('invalid', `the name "${printable(name)}" is not valid Unicode`);
  }
  return Buffer.concat(parts);
}

/** A name for a message or a terminal: one line, nothing that moves the cursor, cut at 256 characters. */
export function printable(name: string): string {
  const shown = name.length > printableLength ? `${name.slice(0, printableLength)}…` : name;
  return shown.replace(unprintable, (character) => {
    const code = character.codePointAt(0)!;
    if (isEscape(code)) return `\\x${(code - escapeBase).toString(16).padStart(2, '0')}`;
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u{${code.toString(16)}}`;
  });
}

/** `1 byte`, `2 bytes`. */
export const counted = (count: number | bigint, unit: string): string =>
  `${count} ${unit}${Number(count) === 1 ? '' : 's'}`;

const printableLength = 256;
const loneSurrogate = /\p{Surrogate}/u;
/** Control and format characters (among them those that change the direction of text), separators, lone surrogates. */
const unprintable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Surrogate}]/gu;

const isEscape = (code: number): boolean => code >= 0xdc80 && code <= 0xdcff;

function sequenceLength(lead: number): number {
  if (lead < 0x80) return 1;
  if (lead < 0xe0) return 2;
  return lead < 0xf0 ? 3 : 4;
}
