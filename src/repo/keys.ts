// Names of pools, images and points as keys of a store, and back. Spec: formats/repository/spec.md

import { randomBytes } from 'node:crypto';
import { resolve } from 'node:path';
import { nameFromBytes, nameToBytes, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';

/** An image as a repository names it. */
export interface ImageName {
  pool: string;
  /** '' is the default namespace. */
  namespace: string;
  image: string;
}

/** What file systems take. An image's name has at most 96 bytes in RBD. */
const limits = { partBytes: 255 } as const;

const plain = /[A-Za-z0-9_.-]/;

/** One name as one part of a key; `unsupported` if that gets too long. */
export function partOf(name: string): string {
  let part = '';
  for (const byte of nameToBytes(name)) {
    const letter = String.fromCharCode(byte);
    const isPlain = byte < 0x80 && plain.test(letter) && !(letter === '.' && part === '');
    part += isPlain ? letter : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  if (part.length <= limits.partBytes) return part;
  throw new RbdeltaError(
    'unsupported',
    `the name "${printable(name)}" takes ${part.length} bytes in a repository, which file systems do not take: at most ${limits.partBytes}`,
    { hint: 'each byte that is not a letter, digit, "-", "_" or "." takes three; rename it' },
  );
}

/** The name that a part of a key stands for. */
export function nameOfPart(part: string): string {
  const bytes: number[] = [];
  for (let i = 0; i < part.length; i++) {
    const [, hex] = /^%([0-9A-F]{2})/.exec(part.slice(i, i + 3)) ?? [];
    bytes.push(hex === undefined ? part.charCodeAt(i) : Number.parseInt(hex, 16));
    if (hex !== undefined) i += 2;
  }
  return nameFromBytes(Buffer.from(bytes));
}

/** `pool/image/` or `pool+namespace/image/`. */
export const imageFolder = ({ pool, namespace, image }: ImageName): string =>
  `${poolFolder(pool, namespace)}${partOf(image)}/`;

export const poolFolder = (pool: string, namespace: string): string =>
  `${partOf(pool)}${namespace === '' ? '' : `+${partOf(namespace)}`}/`;

/** What the two folders above an image's points say. */
export function imageOfFolders(poolPart: string, imagePart: string): ImageName {
  const [pool = '', namespace = ''] = poolPart.split('+');
  return { pool: nameOfPart(pool), namespace: nameOfPart(namespace), image: nameOfPart(imagePart) };
}

export const pointFolder = (image: ImageName, point: string): string => `${imageFolder(image)}${point}/`;

/** As a person would write it. An image of a cluster has no `/` in its name: what begins with one is a raw file. */
export const textOf = ({ pool, namespace, image }: ImageName): string =>
  pool === 'file' && image.startsWith('/')
    ? `file:${image}`
    : `${pool}/${namespace === '' ? '' : `${namespace}/`}${image}`;

/** The name of a raw file, which `file:PATH` means; null for any other text. */
export const rawFile = (text: string): ImageName | null =>
  text.startsWith('file:') ? { pool: 'file', namespace: '', image: resolve(text.slice('file:'.length)) } : null;

const pointForm = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z-[0-9a-f]{6}$/;

export const isPointId = (text: string): boolean => pointForm.test(text);

/** A new point's id: its time in UTC, to the second, and three random bytes. Ids of an image rise: see `backup`. */
export function newPointId(nowMs: number): string {
  const time = new Date(nowMs).toISOString().replaceAll(/[-:]|\.\d+/g, '');
  return `${time}-${randomBytes(3).toString('hex')}`;
}

/** The time that an id tells. */
export function timeOfPoint(id: string): number {
  const [, year, month, day, hour, minute, second] = pointForm.exec(id) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}

/** The snapshot that a backup makes for its point; only those of this repository begin with `snapshotPrefix`. */
export const snapshotOfPoint = (repository: string, point: string): string => snapshotPrefix(repository) + point;

/** `repository` is its id: another one may keep snapshots of the same image. */
export const snapshotPrefix = (repository: string): string => `rbdelta-${repository.slice(0, 8)}-`;
