// A JSON file of a repository: its schema, its limit, and the words for what is wrong with it. Spec: formats/repository/spec.md

import { isUtf8 } from 'node:buffer';
import * as v from 'valibot';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';

/** All files are of this format; a later one may have another. */
const knownFormat = 1;

/** The message of a schema whose other values are of a later rbdelta: `unsupported`, not `corrupt`. */
export const later = 'of a later version';

export interface JsonFile<T> {
  /** What breaks a rule of the spec is a bug (RangeError), but for the size of the whole: `tooLarge`. */
  encode: (value: T) => Buffer;
  /** `name` is the file's in messages. Throws `corrupt`, or `unsupported` for what a newer rbdelta wrote. */
  decode: (bytes: Uint8Array, name: string) => T;
}

/** `what` says what kind of file it is, `indent` by how many spaces a person sees its structure. */
export const jsonFile = <T>(
  what: string,
  schema: v.GenericSchema<unknown, T>,
  maxBytes: number,
  indent: number,
): JsonFile<T> => ({
  encode(value) {
    const result = v.safeParse(schema, value, { abortEarly: true });
    if (!result.success) throw new RangeError(`${what} that must not be: ${sentence(result.issues[0])}`);
    const bytes = Buffer.from(`${JSON.stringify(result.output, null, indent)}\n`);
    if (bytes.length <= maxBytes) return bytes;
    throw new RbdeltaError('tooLarge', `${what} of ${bytes.length} bytes; ${maxBytes} is the most`);
  },
  decode(bytes, name) {
    const file = `${what} ${name}`;
    const value = parse(bytes, file, maxBytes);
    if (!isObject(value)) throw new RbdeltaError('corrupt', `${file} is damaged: it is ${shown(value)}, not an object`);
    const found = value.format;
    if (found !== knownFormat && Number.isSafeInteger(found)) {
      throw unsupported(`${file} has format ${shown(found)}; this rbdelta knows format ${knownFormat}`);
    }
    const result = v.safeParse(schema, value, { abortEarly: true });
    if (result.success) return result.output;
    const [issue] = result.issues;
    if (issue.message === later && issue.input !== undefined) throw unsupported(`${file}: ${sentence(issue)}`);
    throw new RbdeltaError('corrupt', `${file} is damaged: ${sentence(issue)}`);
  },
});

const parse = (bytes: Uint8Array, file: string, maxBytes: number): unknown => {
  if (bytes.length > maxBytes) {
    throw new RbdeltaError('corrupt', `${file} is damaged: it has ${bytes.length} bytes; ${maxBytes} is the most`);
  }
  if (!isUtf8(bytes)) throw new RbdeltaError('corrupt', `${file} is damaged: it is not UTF-8`);
  try {
    return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString());
  } catch (error) {
    const how = error instanceof Error ? printable(error.message) : 'it cannot be parsed';
    throw new RbdeltaError('corrupt', `${file} is cut off or damaged: it is not JSON: ${how}`, { cause: error });
  }
};

const unsupported = (message: string): RbdeltaError =>
  new RbdeltaError('unsupported', message, { hint: 'a newer rbdelta may read it' });

const sentence = (issue: v.BaseIssue<unknown>): string => {
  const field = v.getDotPath(issue) ?? 'the whole';
  if (issue.input === undefined) return `${printable(field)} is missing`;
  // Our own words, where the library has only a name for the rule.
  const expected = ['check', 'custom'].includes(issue.type) ? issue.message : (issue.expected ?? issue.message);
  return `${printable(field)} must be ${expected}, not ${shown(issue.input)}`;
};

const shown = (value: unknown): string => printable(JSON.stringify(value) ?? String(value));

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

// What fields are made of.

const matching = (pattern: RegExp, what: string): v.GenericSchema<string> =>
  v.pipe(
    v.string(),
    v.check((text) => pattern.test(text), what),
  );

export const format = v.literal(knownFormat);
export const size = v.pipe(
  v.number(),
  v.check((value) => Number.isSafeInteger(value) && value >= 0, 'a whole number from 0 to 2^53 - 1'),
);
export const positive = v.pipe(
  v.number(),
  v.check((value) => Number.isSafeInteger(value) && value > 0, 'a whole number from 1 to 2^53 - 1'),
);
/** A duration: fractions of seconds tell something. */
export const seconds = v.pipe(
  v.number(),
  v.check((value) => value >= 0 && Number.isFinite(value), 'at least 0'),
);
export const percent = v.pipe(
  v.number(),
  v.check((value) => value >= 0 && value <= 100, 'from 0 to 100'),
);
export const filled = v.pipe(
  v.string(),
  v.check((text) => text !== '', 'not empty'),
);
export const sha256Hex = matching(/^[0-9a-f]{64}$/, '64 hex digits');
export const uuid = matching(/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, 'a UUID');
/** `20261122T130501Z-3fa90c` */
export const pointId = matching(/^\d{8}T\d{6}Z-[0-9a-f]{6}$/, 'the id of a point');
/** ISO 8601 in UTC with milliseconds, as `Date.toISOString` has it. */
export const time = v.pipe(
  v.string(),
  v.check((text) => {
    const ms = Date.parse(text);
    return !Number.isNaN(ms) && new Date(ms).toISOString() === text;
  }, 'a time such as 2026-11-22T13:05:01.000Z'),
);
/** A name in the point's own folder: nothing that leaves it, nothing hidden. */
export const fileName = matching(/^[\w%+-][\w.%+-]{0,63}$/, 'the name of a file: letters, digits, -_.%+, at most 64');
/** Any own keys: a record of the schema library would leave out `constructor` and its like. */
export const texts = v.custom<Record<string, string>>(
  (value) => isObject(value) && Object.values(value).every((text) => typeof text === 'string'),
  'an object of strings',
);
export const anything = v.custom<Record<string, unknown>>(isObject, 'an object');
export const tags = v.pipe(
  v.array(
    v.pipe(
      filled,
      v.check((tag) => Buffer.byteLength(tag) <= 128, 'a tag of at most 128 bytes'),
    ),
  ),
  v.check((list) => list.length <= 1000, 'at most 1000 tags'),
);

/** Whether each is behind the one before it, by the order of code units. */
export const rising = (names: readonly string[]): boolean => names.every((name, i) => i === 0 || names[i - 1]! < name);
