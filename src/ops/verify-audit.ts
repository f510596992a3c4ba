// The first level of `repo verify`: all that can be known of a chain without its payload.

import { ByteReader } from '../bytes/reader.ts';
import { bytesSource } from '../bytes/source.ts';
import { counted } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { indexMagic } from '../format/archive-index.ts';
import { openDiff } from '../format/rbd-diff.ts';
import { type Chain, type ChainPoint, damagedPointOf } from '../repo/chain.ts';
import { proveChain } from '../repo/chain-fingerprint.ts';
import { pointFolder } from '../repo/keys.ts';

/** What is wrong, of which point. */
export interface Damage {
  point: string;
  message: string;
}

/** What a failure says of a repository, and not of the way to it. */
export const isDamage = (error: unknown): error is RbdeltaError =>
  error instanceof RbdeltaError && ['corrupt', 'notFound', 'unsupported', 'tooLarge'].includes(error.code);

/**
 * Every file that a manifest of the chain names is there, with its length; each index is the one that its manifest means,
 * and of that image's size; header and end of each stream are right; together they show the newest point's state.
 */
export async function auditChain(chain: Chain): Promise<Damage[]> {
  const damages: Damage[] = [];
  for (const point of chain.points) {
    try {
      const wrong = await fileFault(chain, point);
      if (wrong !== null) damages.push({ point: point.id, message: wrong });
      else await auditEdges(chain, point);
    } catch (error) {
      if (!isDamage(error)) throw error;
      damages.push({ point: point.id, message: error.message });
    }
  }
  if (damages.length > 0) return damages;
  try {
    await proveChain(chain);
    return [];
  } catch (error) {
    if (!isDamage(error)) throw error;
    // Each can be read, but one of them may tell the wrong digests: which one, only reading the frames would show.
    return [{ point: damagedPointOf(error) ?? chain.points.at(-1)!.id, message: error.message }];
  }
}

async function fileFault({ repository, image }: Chain, { id, manifest }: ChainPoint): Promise<string | null> {
  const folder = pointFolder(image, id);
  const found = new Map<string, number>();
  for await (const { key, bytes } of repository.store.list(folder)) found.set(key.slice(folder.length), bytes);
  const wrong: string[] = [];
  for (const { name, bytes } of [...manifest.segments, manifest.index]) {
    const there = found.get(name);
    const file = repository.store.nameOf(folder + name);
    if (there === undefined) wrong.push(`${file} is missing`);
    else if (there !== bytes) wrong.push(`${file} has ${there} bytes, ${bytes} by the manifest`);
  }
  if (wrong.length === 0) return null;
  return wrong.length === 1 ? wrong[0]! : `${wrong[0]}; ${counted(wrong.length - 1, 'file')} more`;
}

/** The first bytes of the index, the sizes of image and stream, the header frame and the end frame. */
export async function auditEdges({ repository, image }: Chain, { id, manifest, archive }: ChainPoint): Promise<void> {
  const { store } = repository;
  const { directory } = await archive.index();
  const key = `${pointFolder(image, id)}${manifest.index.name}`;
  const name = store.nameOf(key);
  const damaged = (what: string): RbdeltaError => new RbdeltaError('corrupt', `${name}: ${what}`);
  const { header, end } = directory;
  const magic = Buffer.alloc(indexMagic.length);
  await store.read(key, 0, magic);
  if (!magic.equals(indexMagic)) throw damaged('it does not begin as an index does');
  if (directory.reached !== manifest.image.size)
    throw damaged(`it is of an image of ${directory.reached} bytes, ${manifest.image.size} by the manifest`);
  for (const [what, value, expected] of [
    ['records', directory.records, manifest.stream.records],
    ['bytes of data', directory.dataBytes, manifest.stream.dataBytes],
    ['bytes of zeros', directory.zeroBytes, manifest.stream.zeroBytes],
    ['bytes of the stream', directory.streamBytes, manifest.stream.bytes],
  ] as const) {
    if (value !== expected) throw damaged(`it tells of ${value} ${what}, the manifest of ${expected}`);
  }
  if (header === null || end === null) throw damaged('it has no header or no end: the point was never finished');
  const [first, last] = await Promise.all([archive.readFrame(header), archive.readFrame(end)]);
  const source = bytesSource(Buffer.concat([first, last]));
  const stream = await openDiff(new ByteReader(source));
  if (stream === null) throw damaged('its stream is empty');
  const { fromSnap, toSnap, size } = stream.header;
  const expected = { from: manifest.base?.snapshot ?? null, to: manifest.snapshot.name, size: manifest.image.size };
  if (fromSnap !== expected.from || toSnap !== expected.to || size !== expected.size) {
    const told = JSON.stringify({ from: fromSnap, to: toSnap, size });
    throw damaged(`the header of its stream is ${told}, ${JSON.stringify(expected)} by the manifest`);
  }
  for await (const _ of stream.records) throw damaged('a record stands in its header or end');
}
